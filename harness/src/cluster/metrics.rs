//! What pods export to Prometheus, read through the API server.

use super::{Cluster, kubectl};
use crate::failure::Failure;

/// The port of the sidecar and of the shared tier.
pub const SIDECAR_PORT: u16 = 9353;

impl Cluster {
    /// Everything that a pod exports on this port, in Prometheus's text format.
    pub async fn scrape(&self, namespace: &str, pod: &str, port: u16) -> Result<String, Failure> {
        kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics")])
            .await
    }
}

/// The sum of the series of a metric that have these labels, whatever others they have; 0 where there is none.
pub fn sum(text: &str, metric: &str, labels: &[(&str, &str)]) -> f64 {
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, pairs) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| pairs.contains(&format!("{label}=\"{value}\""));
        if name == metric && labels.iter().all(has) { value.parse::<f64>().ok() } else { None }
    });
    // The sum of nothing is -0.0.
    values.sum::<f64>() + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_spans_the_series_of_one_metric_that_have_the_labels() {
        let text =
            "# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"y z\",w=\"1\"} 3\na_total_b 9\nb 1\n";
        let sums = [("a_total", &[][..]), ("a_total", &[("x", "y z")]), ("b", &[]), ("c", &[])];
        let sums = sums.map(|(metric, labels)| sum(text, metric, labels).to_bits());
        assert_eq!(sums, [5.0, 3.0, 1.0, 0.0].map(f64::to_bits));
    }
}
