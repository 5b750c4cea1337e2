//! Runs the tests in parallel, each in a separate namespace. Tests that change the installation run alone.
//!
//! | test | runs in parallel with | needs |
//! |---|---|---|
//! | `test(..)` | all others, until it calls [`Context::release_installation`]; from then on also tests that are `alone` | the product, installed from `manifests/base` |
//! | `test(..).alone()` | tests that have released the installation; it leaves `manifests/base` installed | nothing: it may install and remove |
//! | `test(..).breaks_the_node()` | none | the same |
//!
//! The tests start in this order, so that a long test that releases the installation early does not prolong
//! the run.

use std::any::type_name;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use podlocal_harness::cluster::load;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{Cluster, NODE_EXEC_VARIABLE, has_node_access, product};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// The number of tests that run in parallel. Most of them wait for a kubelet with two cores.
const PARALLEL: usize = 12;

/// The arguments of a test.
#[derive(Clone)]
pub(crate) struct Context {
    /// The cluster.
    pub cluster: Cluster,
    /// A separate namespace for the test, which is opted in.
    pub namespace: Namespace,
    name: &'static str,
    others: Arc<Mutex<Vec<Namespace>>>,
    installation: Arc<Mutex<Option<OwnedRwLockReadGuard<()>>>>,
}

impl Context {
    /// Declares that the rest of the test creates no pod that must be injected, so that exclusive tests may
    /// start. Running pods need no webhook.
    pub(crate) fn release_installation(&self) {
        self.installation.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Another namespace, with these labels and annotations (JSON objects).
    pub(crate) async fn namespace_with(
        &self,
        labels: Value,
        annotations: Value,
    ) -> Result<Namespace, Failure> {
        let namespace = Namespace::create(&self.cluster, self.name, labels, &annotations).await?;
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.clone());
        Ok(namespace)
    }

    fn namespaces(&self) -> Vec<Namespace> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        [vec![self.namespace.clone()], others.clone()].concat()
    }
}

/// The future of a test.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// The isolation that a test needs. The tests start in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Isolation {
    Shared,
    Exclusive,
    BreaksNode,
}

/// A test, named after its function.
pub(crate) struct Test {
    name: &'static str,
    body: Box<dyn Fn(Context) -> Outcome + Send + Sync>,
    place: Isolation,
    needs_node: bool,
}

/// A test that runs in parallel with others.
pub(crate) fn test<F, O>(body: F) -> Test
where
    F: Fn(Context) -> O + Send + Sync + 'static,
    O: Future<Output = Result<(), Failure>> + 'static,
{
    let name = type_name::<F>().rsplit("::").next().unwrap_or_default();
    let body = Box::new(move |context| -> Outcome { Box::pin(body(context)) });
    Test { name, body, place: Isolation::Shared, needs_node: false }
}

impl Test {
    /// Marks a test that may change the installation.
    pub(crate) fn alone(mut self) -> Self {
        self.place = Isolation::Exclusive;
        self
    }

    /// Marks a test that runs commands on the node. It is ignored when [`NODE_EXEC_VARIABLE`] is not set.
    pub(crate) fn on_the_node(mut self) -> Self {
        self.needs_node = true;
        self
    }

    /// Marks a test that breaks a part of the node that every pod needs. It runs after all others.
    pub(crate) fn breaks_the_node(mut self) -> Self {
        self.place = Isolation::BreaksNode;
        self.on_the_node()
    }
}

/// Runs the tests that the command line selects.
pub(crate) fn run(tests: Vec<Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(PARALLEL);
    let fixture = if arguments.list { None } else { Some(prepare()) };
    let fixture = match fixture.transpose() {
        Ok(fixture) => fixture.map(Arc::new),
        Err(failure) => {
            eprintln!("the tests cannot run: {failure}");
            return ExitCode::FAILURE;
        }
    };
    // Prints the location of a failed assertion, without a backtrace through the runtime.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let mut tests = tests;
    tests.sort_by_key(|test| test.place);
    let trials = tests.into_iter().map(|test| {
        let fixture = fixture.clone();
        Trial::ignorable_test(test.name, move || match &fixture {
            Some(_) if test.needs_node && !has_node_access() => Ok(Completion::ignored_with(format!(
                "{NODE_EXEC_VARIABLE} is not set: it is the command that runs commands on the node"
            ))),
            Some(fixture) => fixture.runtime.block_on(fixture.run(&test)).map(|()| Completion::Completed),
            None => Ok(Completion::ignored()),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

struct Fixture {
    runtime: Runtime,
    cluster: Cluster,
    /// Held for reading by tests that need the installation, for writing by those that change it.
    installation: Arc<RwLock<()>>,
    /// Held for reading by every test, for writing by those that break the node.
    node: RwLock<()>,
}

fn prepare() -> Result<Fixture, Failure> {
    let runtime = Runtime::new().with_context("starting a tokio runtime")?;
    let cluster = runtime.block_on(async {
        let cluster = Cluster::connect().await?;
        product::install(&cluster).await?;
        Ok::<_, Failure>(cluster)
    })?;
    Ok(Fixture { runtime, cluster, installation: Arc::default(), node: RwLock::default() })
}

impl Fixture {
    async fn run(&self, test: &Test) -> Result<(), Failed> {
        let (_node, _broken) = match test.place {
            Isolation::BreaksNode => (None, Some(self.node.write().await)),
            Isolation::Shared | Isolation::Exclusive => (Some(self.node.read().await), None),
        };
        let (shared, _alone) = match test.place {
            Isolation::Shared => (Some(Arc::clone(&self.installation).read_owned().await), None),
            Isolation::Exclusive | Isolation::BreaksNode => (None, Some(self.installation.write().await)),
        };
        let begin = Instant::now();
        let labels = json!({ INJECT_LABEL: INJECT_ENABLED });
        let namespace = Namespace::create(&self.cluster, test.name, labels, &json!({})).await;
        let namespace = namespace.map_err(|failure| Failed::from(failure.to_string()))?;
        let others = Arc::default();
        let installation = Arc::new(Mutex::new(shared));
        let context =
            Context { cluster: self.cluster.clone(), namespace, name: test.name, others, installation };
        // A failed assertion is reported with diagnostics, like any other failure.
        let outcome = AssertUnwindSafe((test.body)(context.clone())).catch_unwind().await;
        let failure = match outcome {
            Ok(result) => result.err().map(|failure| failure.to_string()),
            Err(panic) => Some(text_of(panic.as_ref())),
        };
        if test.place != Isolation::Shared {
            eprintln!("{}: blocked other tests for {:.1} s", test.name, begin.elapsed().as_secs_f64());
        }
        let verdict = failure.map_or(Ok(()), |failure| Err(Failed::from(failure)));
        if verdict.is_err() && test.place != Isolation::Shared {
            // A partial installation that it left behind must not fail the next test.
            let restored = product::install(&self.cluster).await;
            restored.unwrap_or_else(|failure| eprintln!("after {}: {failure}", test.name));
        }
        for namespace in context.namespaces() {
            if verdict.is_ok() {
                namespace.delete().await.map_err(|failure| Failed::from(failure.to_string()))?;
            } else {
                eprintln!("{}, kept:\n{}", namespace.name, namespace.describe().await);
                let stopped = load::stop(&namespace).await;
                stopped.unwrap_or_else(|failure| eprintln!("{}: {failure}", namespace.name));
            }
        }
        verdict
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
