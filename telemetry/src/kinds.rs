//! The kinds of metrics, the macro that declares metrics, and the page of `/metrics`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::labels::Labels;

/// Declares a struct of metrics: one row is all that a metric needs. A row has:
///
/// - the field, with which callers count;
/// - the kind: [`Count`], [`Counters`], or a gauge or histogram of `prometheus_client`;
/// - the name without the prefix, and the help text;
/// - the buckets, of a histogram.
///
/// The struct starts at zero (`default`), and `register` adds all its metrics to a registry.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $metrics:ident {
            $($of_field:vis $field:ident: $kind:ty = $name:literal, $help:literal $(, $buckets:expr)?;)+
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $metrics {
            $(#[doc = $help] $of_field $field: $kind,)+
        }

        impl Default for $metrics {
            fn default() -> Self {
                Self { $($field: $crate::metrics!(@new $kind $(, $buckets)?),)+ }
            }
        }

        impl $metrics {
            fn register(&self, registry: &mut ::prometheus_client::registry::Registry) {
                $(registry.register($name, $help, self.$field.clone());)+
            }
        }
    };
    (@new $kind:ty) => { <$kind>::default() };
    (@new $kind:ty, $buckets:expr) => { <$kind>::new($buckets) };
}

/// A counter, registered with its full name. The counter of prometheus-client writes OpenMetrics, where HELP
/// and TYPE omit the suffix `_total`; the text format 0.0.4 includes it.
#[derive(Debug, Clone, Default)]
pub struct Count(Arc<AtomicU64>);

impl Count {
    /// Counts one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Counts several at once.
    pub fn inc_by(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl EncodeMetric for Count {
    /// Encoded as a gauge: a name, its labels and a value.
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A counter for each value of `L`.
#[derive(Debug, Clone)]
pub struct Counters<L>(Arc<[AtomicU64]>, PhantomData<fn(L)>);

impl<L: Labels> Default for Counters<L> {
    fn default() -> Self {
        Self(L::all().map(|_| AtomicU64::default()).collect(), PhantomData)
    }
}

impl<L: Labels> Counters<L> {
    /// Counts one.
    pub fn inc(&self, labels: L) {
        self.inc_by(labels, 1);
    }

    /// Counts several at once.
    pub fn inc_by(&self, labels: L, number: u64) {
        if let Some(counter) = self.0.get(labels.index()) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = (L, u64)> {
        L::all().zip(&*self.0).map(|(labels, counter)| (labels, counter.load(Ordering::Relaxed)))
    }
}

impl<L: Labels> EncodeMetric for Counters<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let mut values = self.values();
        values.try_for_each(|(labels, value)| encoder.encode_family(&labels.pairs())?.encode_gauge(&value))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A metric that is always 1; its labels are the information.
#[derive(Debug)]
pub struct Info<const N: usize>(pub [(&'static str, &'static str); N]);

impl<const N: usize> EncodeMetric for Info<N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_family(&self.0)?.encode_gauge(&1_u64)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// The content type of [`page`]: the text format 0.0.4 of Prometheus, which every scraper accepts, whatever
/// its `Accept` header prefers.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page of `/metrics`.
pub fn page(registry: &Registry) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = encode_registry(&mut page, registry);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named;
    use prometheus_client::metrics::histogram::Histogram;

    named! {
        enum Color as "color" { Red = "red", Blue = "blue", }
    }

    named! {
        enum Size as "size" { Small = "small", Medium = "medium", Large = "large", }
    }

    metrics! {
        #[derive(Debug)]
        struct Metrics {
            balls: Counters<(Color, Size)> = "balls_total", "Balls";
            games: Count = "games_total", "Games";
            weight: Histogram = "weight_grams", "Weights", [1.0];
        }
    }

    #[test]
    fn every_series_is_there_from_the_start_and_is_counted_for_its_own_labels() {
        let (metrics, mut registry) = (Metrics::default(), Registry::with_prefix("test"));
        metrics.register(&mut registry);
        registry.register("build_info", "Always 1", Info([("version", "1.2.3")]));
        metrics.balls.inc_by((Color::Blue, Size::Small), 3);
        metrics.balls.inc((Color::Red, Size::Large));
        metrics.games.inc();
        metrics.weight.observe(0.5);
        let expected = "\
# HELP test_balls_total Balls.
# TYPE test_balls_total counter
test_balls_total{color=\"red\",size=\"small\"} 0
test_balls_total{color=\"red\",size=\"medium\"} 0
test_balls_total{color=\"red\",size=\"large\"} 1
test_balls_total{color=\"blue\",size=\"small\"} 3
test_balls_total{color=\"blue\",size=\"medium\"} 0
test_balls_total{color=\"blue\",size=\"large\"} 0
# HELP test_games_total Games.
# TYPE test_games_total counter
test_games_total 1
# HELP test_weight_grams Weights.
# TYPE test_weight_grams histogram
test_weight_grams_sum 0.5
test_weight_grams_count 1
test_weight_grams_bucket{le=\"1.0\"} 1
test_weight_grams_bucket{le=\"+Inf\"} 1
# HELP test_build_info Always 1.
# TYPE test_build_info gauge
test_build_info{version=\"1.2.3\"} 1
";
        assert_eq!(page(&registry), expected);
    }
}
