//! Creates pods one after the other while a fault affects the webhook, and records whether each was injected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use podlocal_harness::cluster::client::unscheduled_pod;
use podlocal_harness::cluster::namespace::Namespace;
use podlocal_harness::cluster::{name_of, product};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::time::now;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Two pods are created at a time, with this pause after each.
const CREATORS: usize = 2;
const PAUSE: Duration = Duration::from_millis(40);

/// Creates pods until [`Creations::finish`].
pub(crate) struct Creations {
    is_over: Arc<AtomicBool>,
    creators: Vec<JoinHandle<Result<Vec<Creation>, Failure>>>,
}

struct Creation {
    name: String,
    begin: f64,
    ms: f64,
    is_injected: bool,
}

impl Creations {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let creators = (0..CREATORS).map(|_| tokio::spawn(create(namespace.clone(), Arc::clone(&is_over))));
        Self { creators: creators.collect(), is_over }
    }

    /// Stops the creations, prints the slowest answer of the API server, and fails unless every pod was
    /// injected.
    pub(crate) async fn finish(self, what: &str) -> Result<(), Failure> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut creations = Vec::new();
        for creator in self.creators {
            creations.extend(creator.await.with_context("creating pods")??);
        }
        let slowest = creations.iter().map(|creation| creation.ms).fold(0.0, f64::max);
        eprintln!("{what}: pods {}, slowest creation {slowest:.0} ms", creations.len());
        assert!(!creations.is_empty(), "{what}: no pod was created");
        let first = creations.iter().map(|creation| creation.begin).fold(f64::INFINITY, f64::min);
        let missed = creations.iter().filter(|creation| !creation.is_injected);
        let missed = missed.map(|creation| format!("{} at {:.2} s", creation.name, creation.begin - first));
        let missed: Vec<_> = missed.collect();
        assert!(missed.is_empty(), "{what}: not injected: {missed:?}");
        Ok(())
    }
}

async fn create(namespace: Namespace, is_over: Arc<AtomicBool>) -> Result<Vec<Creation>, Failure> {
    let mut creations = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let begin = now();
        let pod = namespace.apply(unscheduled_pod()).await?.object;
        let (name, is_injected) = (name_of(&pod).to_owned(), product::sidecar(&pod).is_some());
        creations.push(Creation { name, begin, ms: (now() - begin) * 1e3, is_injected });
        sleep(PAUSE).await;
    }
    Ok(creations)
}
