//! A counter in the Prometheus text format 0.0.4. The sidecar has the same code: neither program links the
//! other, and the crate that both link, `settings`, has no metrics.

use std::fmt;
use std::ops::Deref;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A counter, registered with its full name. prometheus-client writes OpenMetrics, where HELP and TYPE omit
/// the suffix `_total` of a counter; the text format includes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Counter);

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
    /// Encoded as a gauge: a name, its labels and a value.
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
