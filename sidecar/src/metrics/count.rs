//! A counter in the text format 0.0.4 of Prometheus.

use std::fmt;
use std::ops::Deref;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A counter that is registered with its full name. prometheus-client writes OpenMetrics, where the lines
/// `HELP` and `TYPE` of a counter have its name without `_total`; in the text format they have the full name.
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
    /// Encoded as a gauge, which is written as a name, labels and a value.
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
