//! Runs the tests in parallel: each in a namespace of its own, and those that change the installation alone.
//!
//! | a test | runs beside | needs |
//! |---|---|---|
//! | `tests![..]` | all others, until it calls [`Context::release_installation`]; from then on also `exclusive!` | the product, installed from `manifests/base` |
//! | `exclusive![..]` | tests that have released the installation; it leaves `manifests/base` installed | nothing: it may install and remove |
//! | `exclusive![..].breaks_the_node()` | none | the same |
//!
//! They begin in this order: a long test that soon releases the installation costs no time of its own.

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
use podlocal_harness::failure::{Failure, Tried as _};
use podlocal_settings::names::{INJECT_ENABLED, INJECT_LABEL};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// So many tests run at once: most of them wait for a kubelet with two cores.
const PARALLEL: usize = 12;

/// What a test gets.
#[derive(Clone)]
pub(crate) struct Context {
    /// The cluster.
    pub cluster: Cluster,
    /// A namespace of the test's own, which is opted in.
    pub namespace: Namespace,
    name: &'static str,
    others: Arc<Mutex<Vec<Namespace>>>,
    installation: Arc<Mutex<Option<OwnedRwLockReadGuard<()>>>>,
}

impl Context {
    /// Says that the rest of the test creates no pod that must be injected: exclusive tests may begin. What runs already
    /// needs no webhook.
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

/// What becomes of a test.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// What a test runs beside. They begin in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Shared,
    Exclusive,
    BreaksNode,
}

/// A test.
pub(crate) struct Test {
    name: &'static str,
    body: fn(Context) -> Outcome,
    place: Place,
    needs_node: bool,
}

impl Test {
    pub(crate) fn new(name: &'static str, body: fn(Context) -> Outcome, is_exclusive: bool) -> Self {
        let place = if is_exclusive { Place::Exclusive } else { Place::Shared };
        Self { name, body, place, needs_node: false }
    }

    /// It runs commands on the node, and is ignored where nothing says how.
    pub(crate) fn on_the_node(mut self) -> Self {
        self.needs_node = true;
        self
    }

    /// It breaks what every running pod needs, and runs when all others are over.
    pub(crate) fn breaks_the_node(mut self) -> Self {
        self.place = Place::BreaksNode;
        self.on_the_node()
    }
}

/// Makes [`Test`]s of async functions that take a [`Context`] and run beside others; each is named after its function.
macro_rules! tests {
    ($($test:ident $(.$mark:ident())*),+ $(,)?) => {
        vec![$($crate::runner::Test::new(stringify!($test), |context| Box::pin($test(context)), false)
            $(.$mark())*),+]
    };
}

/// The same for tests that run alone.
macro_rules! exclusive {
    ($($test:ident $(.$mark:ident())*),+ $(,)?) => {
        vec![$($crate::runner::Test::new(stringify!($test), |context| Box::pin($test(context)), true)
            $(.$mark())*),+]
    };
}

pub(crate) use {exclusive, tests};

/// Runs the tests that the command line selects.
pub(crate) fn run(tests: Vec<Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(PARALLEL);
    let bed = if arguments.list { None } else { Some(prepare()) };
    let bed = match bed.transpose() {
        Ok(bed) => bed.map(Arc::new),
        Err(failure) => {
            eprintln!("the tests cannot run: {failure}");
            return ExitCode::FAILURE;
        }
    };
    // The place of an assertion that fails, without a backtrace through the runtime.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let mut tests = tests;
    tests.sort_by_key(|test| test.place);
    let trials = tests.into_iter().map(|test| {
        let bed = bed.clone();
        Trial::ignorable_test(test.name, move || match &bed {
            Some(_) if test.needs_node && !has_node_access() => Ok(Completion::ignored_with(format!(
                "{NODE_EXEC_VARIABLE} does not say how to reach the node"
            ))),
            Some(bed) => bed.runtime.block_on(bed.run(&test)).map(|()| Completion::Completed),
            None => Ok(Completion::ignored()),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

struct Bed {
    runtime: Runtime,
    cluster: Cluster,
    /// Held for reading by tests that need the installation, for writing by those that change it.
    installation: Arc<RwLock<()>>,
    /// Held for reading by every test, for writing by those that break the node.
    node: RwLock<()>,
}

fn prepare() -> Result<Bed, Failure> {
    let runtime = Runtime::new().tried(|| "starting a tokio runtime".to_owned())?;
    let cluster = runtime.block_on(async {
        let cluster = Cluster::connect().await?;
        product::install(&cluster).await?;
        Ok::<_, Failure>(cluster)
    })?;
    Ok(Bed { runtime, cluster, installation: Arc::default(), node: RwLock::default() })
}

impl Bed {
    async fn run(&self, test: &Test) -> Result<(), Failed> {
        let (_node, _broken) = match test.place {
            Place::BreaksNode => (None, Some(self.node.write().await)),
            Place::Shared | Place::Exclusive => (Some(self.node.read().await), None),
        };
        let (shared, _alone) = match test.place {
            Place::Shared => (Some(Arc::clone(&self.installation).read_owned().await), None),
            Place::Exclusive | Place::BreaksNode => (None, Some(self.installation.write().await)),
        };
        let begin = Instant::now();
        let labels = json!({ INJECT_LABEL: INJECT_ENABLED });
        let namespace = Namespace::create(&self.cluster, test.name, labels, &json!({})).await;
        let namespace = namespace.map_err(|failure| Failed::from(failure.to_string()))?;
        let others = Arc::default();
        let installation = Arc::new(Mutex::new(shared));
        let context =
            Context { cluster: self.cluster.clone(), namespace, name: test.name, others, installation };
        // An assertion that fails is a failure like any other: it has diagnostics.
        let outcome = AssertUnwindSafe((test.body)(context.clone())).catch_unwind().await;
        let failure = match outcome {
            Ok(result) => result.err().map(|failure| failure.to_string()),
            Err(panic) => Some(text_of(panic.as_ref())),
        };
        if test.place != Place::Shared {
            eprintln!("{}: kept others from running for {:.1} s", test.name, begin.elapsed().as_secs_f64());
        }
        let verdict = failure.map_or(Ok(()), |failure| Err(Failed::from(failure)));
        if verdict.is_err() && test.place != Place::Shared {
            // What it has left half installed is not the fault of the next test.
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
