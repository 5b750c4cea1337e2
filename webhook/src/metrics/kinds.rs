//! The kinds of metrics, and the macro that declares metrics.

use std::marker::PhantomData;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::count::Count;
use crate::labels::Labels;

/// From 50 µs, a parse and a few edits, to the API server's time-out.
const DURATION_BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// A metric that begins at zero.
pub(super) trait Kind: Default {
    /// Adds the metric to the page.
    fn register(&self, registry: &mut Registry, name: &str, help: &str);
}

impl<M: Metric + Clone + Default> Kind for M {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.clone());
    }
}

/// A counter for each value of `L`.
#[derive(Debug)]
pub(crate) struct Counters<L>(Family<Vec<(&'static str, &'static str)>, Count>, PhantomData<fn(L)>);

impl<L: Labels> Counters<L> {
    /// Counts one.
    pub(crate) fn add(&self, labels: L) {
        self.add_many(labels, 1);
    }

    /// Counts several at once.
    pub(crate) fn add_many(&self, labels: L, number: usize) {
        self.0.get_or_create(&labels.pairs()).inc_by(number as u64);
    }
}

impl<L: Labels> Default for Counters<L> {
    fn default() -> Self {
        let family = Family::default();
        for labels in L::all() {
            let _: &Count = &family.get_or_create(&labels.pairs());
        }
        Self(family, PhantomData)
    }
}

impl<L: Labels> Kind for Counters<L> {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}

/// A histogram of durations, in seconds.
#[derive(Debug)]
pub(crate) struct Durations(Histogram);

impl Durations {
    /// Adds a duration.
    pub(crate) fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

impl Default for Durations {
    fn default() -> Self {
        Self(Histogram::new(DURATION_BUCKETS))
    }
}

impl Kind for Durations {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}

/// Declares a struct of metrics, and how they are registered: one row is all that a metric needs.
macro_rules! metrics {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($metric:ident: $kind:ty = $text:literal, $help:literal;)+
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            registry: Registry,
            $(#[doc = $help] pub(crate) $metric: $kind,)+
        }

        impl $name {
            /// All metrics at zero, after which `others` registers those without a handle.
            fn registered(mut registry: Registry, others: impl FnOnce(&mut Registry)) -> Self {
                $(
                    let $metric = <$kind>::default();
                    $crate::metrics::kinds::Kind::register(&$metric, &mut registry, $text, $help);
                )+
                others(&mut registry);
                Self { registry, $($metric,)+ }
            }
        }
    };
}

pub(super) use metrics;
