//! A counter as Prometheus' text format 0.0.4 shows it. The sidecar has the same: neither program links the
//! other, and what both link, `settings`, knows no metrics.

use std::fmt;
use std::ops::Deref;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A counter, registered by its full name. prometheus-client writes OpenMetrics, where a counter's `_total`
/// is no part of the name that its help and type stand under; in the text format it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Counter);

impl Deref for Count {
    type Target = Counter;

    fn deref(&self) -> &Counter {
        &self.0
    }
}

impl TypedMetric for Count {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Count {
    /// As a gauge: that is a name, its labels and a value.
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
