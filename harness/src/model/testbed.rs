//! The environment of integration tests with pods: a node, and a runner that reports the tests as ignored,
//! with the reason, when the machine does not allow a node.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;

use crate::failure::{Failure, WithContext};
use crate::model::cluster::{Cluster, DnsPath};
use crate::model::cluster_dns::World;
use crate::model::node::{self, Node, Refused};
use crate::programs::Programs;

/// The arguments of a test.
#[derive(Debug, Clone)]
pub struct Testbed {
    /// The node, which all tests of a program share.
    pub node: Node,
    /// The programs under test.
    pub programs: Programs,
}

impl Testbed {
    /// A separate cluster for the test with the real webhook, so that its pods are injected.
    pub async fn cluster_with_webhook(&self) -> Result<Cluster, Failure> {
        Cluster::start(DnsPath::Sidecars, &self.node, &self.programs, World::example()).await
    }
}

/// The future of a test.
pub type Outcome = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// A test on a node.
pub struct Test {
    name: String,
    ignored: Option<String>,
    body: Box<dyn Fn(Testbed) -> Outcome + Send + Sync>,
}

impl Test {
    /// A test. With a reason it is reported as ignored.
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
        vec![$($crate::model::testbed::Test::new(stringify!($test), None, |testbed| Box::pin($test(testbed)))),+]
    };
}

/// Whether the command line only asks for the list of tests.
pub fn is_listing() -> bool {
    Arguments::from_args().list
}

/// Runs the tests in parallel, as `cargo test` does. Call it first in `main`, before any thread starts.
pub fn run(tests: Vec<Test>) -> ExitCode {
    let arguments = Arguments::from_args();
    let prepared = if arguments.list { Ok(None) } else { prepare().map(Some) };
    let prepared = match prepared {
        Ok(prepared) => Arc::new(prepared),
        Err(failure) => {
            eprintln!("the tests cannot run: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |test: Test| {
        let prepared = Arc::clone(&prepared);
        Trial::ignorable_test(test.name, move || match (&*prepared, test.ignored) {
            (None, _) => Ok(Completion::ignored()),
            (Some(Err(refused)), _) => Ok(Completion::ignored_with(refused)),
            (Some(Ok(_)), Some(reason)) => Ok(Completion::ignored_with(reason)),
            (Some(Ok((testbed, runtime))), None) => {
                let ended = runtime.block_on((test.body)(testbed.clone()));
                ended.map(|()| Completion::Completed).map_err(|failure| Failed::from(failure.to_string()))
            }
        })
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}

/// Builds the programs outside the node, where cargo can work, and enters the node.
fn prepare() -> Result<Result<(Testbed, Runtime), Refused>, Failure> {
    if !node::is_inside() {
        Programs::build()?;
    }
    let node = match node::enter() {
        Ok(node) => node,
        Err(refused) => return Ok(Err(refused)),
    };
    let testbed = Testbed { node, programs: Programs::built()? };
    let runtime = Runtime::new().with_context("starting a tokio runtime")?;
    Ok(Ok((testbed, runtime)))
}
