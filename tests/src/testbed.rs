//! What integration tests with pods run on: a node, and a runner that reports them as ignored, with the reason,
//! where the machine does not let the program make one.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;

use crate::cluster::Cluster;
use crate::cluster_dns::World;
use crate::failure::{Failure, Tried};
use crate::node::{self, Node, Refused};
use crate::programs::Programs;

/// What a test gets.
#[derive(Debug, Clone)]
pub struct Testbed {
    /// The node, which all tests of a program share.
    pub node: Node,
    /// The programs under test.
    pub programs: Programs,
}

impl Testbed {
    /// A cluster of the test's own with the example world, without the webhook.
    pub async fn cluster(&self) -> Result<Cluster, Failure> {
        Cluster::start(&self.node, &self.programs, World::example()).await
    }

    /// The same with the real webhook: its pods are injected.
    pub async fn cluster_with_webhook(&self) -> Result<Cluster, Failure> {
        Cluster::start_with_webhook(&self.node, &self.programs, World::example()).await
    }
}

/// What becomes of a test.
pub type Outcome = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// A test: its name, and what it does.
pub type Test = (&'static str, fn(Testbed) -> Outcome);

/// Makes [`Test`]s of async functions that take a [`Testbed`]; each is named after its function.
#[macro_export]
macro_rules! tests {
    ($($test:ident),+ $(,)?) => {
        vec![$((stringify!($test), {
            let test: fn($crate::testbed::Testbed) -> $crate::testbed::Outcome = |testbed| Box::pin($test(testbed));
            test
        })),+]
    };
}

/// Runs the tests in parallel, as `cargo test` does. To be called first in `main`, before any thread starts.
pub fn run(tests: Vec<Test>) -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(tests, &Arc::new(Bed::Listed))).exit_code();
    }
    let bed = match prepare() {
        Ok(bed) => bed,
        Err(failure) => {
            eprintln!("the tests cannot run: {failure}");
            return ExitCode::FAILURE;
        }
    };
    libtest_mimic::run(&arguments, trials(tests, &Arc::new(bed))).exit_code()
}

enum Bed {
    Ready {
        testbed: Testbed,
        runtime: Runtime,
    },
    Refused(Refused),
    /// Nothing is run, only listed.
    Listed,
}

/// Builds outside, where cargo can work, and goes on inside.
fn prepare() -> Result<Bed, Failure> {
    if !node::is_inside() {
        Programs::build()?;
    }
    let node = match node::enter() {
        Ok(node) => node,
        Err(refused) => return Ok(Bed::Refused(refused)),
    };
    let testbed = Testbed { node, programs: Programs::built()? };
    let runtime = Runtime::new().tried(|| "starting a tokio runtime".to_owned())?;
    Ok(Bed::Ready { testbed, runtime })
}

fn trials(tests: Vec<Test>, bed: &Arc<Bed>) -> Vec<Trial> {
    let trial = |(name, test): Test| {
        let bed = Arc::clone(bed);
        Trial::ignorable_test(name, move || match &*bed {
            Bed::Ready { testbed, runtime } => match runtime.block_on(test(testbed.clone())) {
                Ok(()) => Ok(Completion::Completed),
                Err(failure) => Err(Failed::from(failure.to_string())),
            },
            Bed::Refused(refused) => Ok(Completion::ignored_with(refused)),
            Bed::Listed => Ok(Completion::ignored()),
        })
    };
    tests.into_iter().map(trial).collect()
}
