//! Reads pages of metrics in Prometheus' text format 0.0.4.
//!
//! The crate `prometheus-parse` loses label values that contain `=` or a comma, such as the zones of CoreDNS.

use std::collections::{BTreeMap, BTreeSet};

/// A line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// The name with its labels, as in the line.
    pub series: &'a str,
    /// The name without labels.
    pub name: &'a str,
    /// The labels, each with its value.
    pub labels: Vec<(&'a str, &'a str)>,
    /// The value.
    pub value: f64,
}

impl<'a> Sample<'a> {
    /// Reads a line; `None` for a comment or another format. Escapes in a label's value are not decoded.
    pub fn read(line: &'a str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok().filter(|_| !line.starts_with('#'))?;
        let Some((name, rest)) = series.split_once('{') else {
            return Some(Self { series, name: series, labels: Vec::new(), value });
        };
        let pairs = rest.strip_suffix('}')?.split_inclusive("\",").filter(|pair| !pair.is_empty());
        let labels =
            pairs.map(|pair| pair.strip_suffix(',').unwrap_or(pair).strip_suffix('"')?.split_once("=\""));
        Some(Self { series, name, labels: labels.collect::<Option<_>>()?, value })
    }
}

/// The samples of a page.
pub fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines().filter_map(Sample::read)
}

/// The sum of the series of a metric that have at least these labels; 0 when there is none.
pub fn sum(page: &str, metric: &str, labels: &[(&str, &str)]) -> f64 {
    let is_meant = |sample: &Sample<'_>| {
        sample.name == metric && labels.iter().all(|label| sample.labels.contains(label))
    };
    // The sum of an empty iterator is -0.0.
    samples(page).filter(is_meant).map(|sample| sample.value).sum::<f64>() + 0.0
}

/// The same for a counter, which is whole.
#[expect(clippy::cast_sign_loss, reason = "what is counted is not negative")]
pub fn count(page: &str, counter: &str, labels: &[(&str, &str)]) -> u64 {
    sum(page, counter, labels) as u64
}

/// A metric of a page.
#[derive(Debug, Clone, Default)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The HELP text, without the period.
    pub help: String,
    /// The names of its samples; those of a histogram have suffixes.
    pub samples: BTreeSet<String>,
    /// Each label with its values.
    pub labels: BTreeMap<String, BTreeSet<String>>,
}

/// The metrics of a page, or of several pages one after the other, by name. `promtool check metrics` checks the format.
pub fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = "";
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.trim_end_matches('.').clone_into(&mut families.entry(name.to_owned()).or_default().help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            kind.clone_into(&mut families.entry(name.to_owned()).or_default().kind);
            current = name;
        } else if let Some(sample) = Sample::read(line) {
            let family = families.entry(current.to_owned()).or_default();
            family.samples.insert(sample.name.to_owned());
            for (label, value) in sample.labels {
                family.labels.entry(label.to_owned()).or_default().insert(value.to_owned());
            }
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_spans_the_series_of_one_metric_that_have_the_labels() {
        let page =
            "# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"y z\",w=\"1\"} 3\na_total_b 9\nb 1\n";
        let sums = [("a_total", &[][..]), ("a_total", &[("x", "y z")]), ("b", &[]), ("c", &[])];
        let sums = sums.map(|(metric, labels)| sum(page, metric, labels).to_bits());
        assert_eq!(sums, [5.0, 3.0, 1.0, 0.0].map(f64::to_bits));
    }

    #[test]
    fn labels_may_be_empty_and_have_commas() {
        let line = r#"a{server="dns://:53",view="",zones="a,b"} 1e3"#;
        let sample = Sample::read(line).unwrap();
        assert_eq!(sample.labels, [("server", "dns://:53"), ("view", ""), ("zones", "a,b")]);
        for line in ["# HELP a 1", "a one", "a{b=\"c\" 1", "a{b} 1"] {
            assert_eq!(Sample::read(line), None, "{line}");
        }
    }
}
