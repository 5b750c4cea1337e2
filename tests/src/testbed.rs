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

/// A test on a node.
pub struct Test {
    name: String,
    ignored: Option<String>,
    body: Box<dyn Fn(Testbed) -> Outcome + Send + Sync>,
}

impl Test {
    /// A test; with a reason it is reported as ignored.
    pub fn new(
        name: impl Into<String>,
        ignored: Option<String>,
        body: impl Fn(Testbed) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), ignored, body: Box::new(body) }
    }
}

/// Makes [`Test`]s of async functions that take a [`Testbed`]; each is named after its function.
#[macro_export]
macro_rules! tests {
    ($($test:ident),+ $(,)?) => {
        vec![$($crate::testbed::Test::new(stringify!($test), None, |testbed| Box::pin($test(testbed)))),+]
    };
}

/// Whether the tests are only to be listed.
pub fn is_listing() -> bool {
    Arguments::from_args().list
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
    let trial = |test: Test| {
        let bed = Arc::clone(bed);
        Trial::ignorable_test(test.name, move || match &*bed {
            Bed::Ready { .. } if test.ignored.is_some() => {
                Ok(Completion::ignored_with(test.ignored.unwrap_or_default()))
            }
            Bed::Ready { testbed, runtime } => match runtime.block_on((test.body)(testbed.clone())) {
                Ok(()) => Ok(Completion::Completed),
                Err(failure) => Err(Failed::from(failure.to_string())),
            },
            Bed::Refused(refused) => Ok(Completion::ignored_with(refused)),
            Bed::Listed => Ok(Completion::ignored()),
        })
    };
    tests.into_iter().map(trial).collect()
}
