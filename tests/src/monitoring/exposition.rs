//! Reads a page of metrics in Prometheus' text format 0.0.4.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use podlocal_harness::metrics::Sample;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::proxy::{Proxy, get};
use podlocal_harness::programs::Programs;

use super::stage;

/// The families of a page, by name.
pub type Families = BTreeMap<String, Family>;

/// The samples with one name; those of a histogram have suffixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The HELP text.
    pub help: String,
    /// The names of its samples.
    pub samples: BTreeSet<String>,
    /// Each label with its values, including `le` of a histogram.
    pub labels: BTreeMap<String, BTreeSet<String>>,
    /// The number of series.
    pub series: usize,
}

/// Reads a page.
///
/// # Errors
///
/// A line has another format, or a sample comes before its family.
pub fn read(page: &str) -> Result<Families, Failure> {
    let mut families = Families::new();
    let mut current = String::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        let wrong = |what: &str| Failure::new(format!("{what}: {line:?}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("a family without a help"))?;
            help.trim_end_matches('.').clone_into(&mut families.entry(name.to_owned()).or_default().help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("a family without a type"))?;
            kind.clone_into(&mut families.entry(name.to_owned()).or_default().kind);
            name.clone_into(&mut current);
        } else if !line.starts_with('#') {
            let family = families.get_mut(&current).ok_or_else(|| wrong("a sample before any family"))?;
            let Sample { name, labels, .. } = Sample::read(line).ok_or_else(|| wrong("not a sample"))?;
            let suffix = name.strip_prefix(current.as_str()).ok_or_else(|| wrong("another family's"))?;
            let is_one = match family.kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                _ => suffix.is_empty(),
            };
            if !is_one {
                return Err(wrong("another family's"));
            }
            family.samples.insert(name.to_owned());
            family.series += 1;
            for (label, value) in labels {
                family.labels.entry(label.to_owned()).or_default().insert(value.to_owned());
            }
        }
    }
    Ok(families)
}

/// A program with metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    /// A pod's proxy, with a shared tier and a forward zone.
    Sidecar,
    /// The shared tier.
    Tier,
    /// The webhook.
    Webhook,
}

/// The metrics of a program just after its start.
pub async fn page(program: Program, programs: &Programs) -> Result<String, Failure> {
    // An address where no process listens.
    let nobody = ([127, 0, 0, 1], 9).into();
    let proxy = async |flags: &[&str]| {
        let proxy = Proxy::start(&programs.sidecar, nobody, flags).await?;
        body(proxy.admin).await
    };
    match program {
        Program::Sidecar => {
            proxy(&["--shared-tier", "127.0.0.1:9", "--forward-zones", "consul=127.0.0.1:9"]).await
        }
        Program::Tier => proxy(&["--role", "shared"]).await,
        Program::Webhook => {
            let folder = tempfile::tempdir().with_context(|| "creating a folder".to_owned())?;
            body(stage::webhook(&programs.webhook, folder.path()).await?.admin).await
        }
    }
}

async fn body(admin: SocketAddr) -> Result<String, Failure> {
    let answer = get(admin, "/metrics").await.with_context(|| "reading metrics".to_owned())?;
    Ok(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

/// The metrics of all programs.
pub async fn families_of_programs(programs: &Programs) -> Result<Families, Failure> {
    let mut families = Families::new();
    for program in [Program::Sidecar, Program::Tier, Program::Webhook] {
        for (name, family) in read(&page(program, programs).await?)? {
            let known = families.entry(name).or_insert_with(|| family.clone());
            for (label, values) in family.labels {
                known.labels.entry(label).or_default().extend(values);
            }
        }
    }
    Ok(families)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_their_labels_with_every_value() {
        let page = "# HELP a_total How many.\n# TYPE a_total counter\na_total{b=\"c\",d=\"e\"} 1\na_total{b=\"f\",d=\"e\"} 0\n\
                    # HELP t_seconds How long.\n# TYPE t_seconds histogram\nt_seconds_sum 0.5\nt_seconds_count 1\n\
                    t_seconds_bucket{le=\"+Inf\"} 1\n";
        let families = read(page).unwrap();
        let counter = &families["a_total"];
        assert_eq!(
            (counter.kind.as_str(), counter.help.as_str(), counter.series),
            ("counter", "How many", 2)
        );
        assert_eq!(counter.labels["b"], ["c", "f"].map(str::to_owned).into());
        assert_eq!(families["t_seconds"].samples.len(), 3);
    }

    #[test]
    fn a_page_in_another_format_is_refused() {
        for page in ["a 1\n", "# TYPE a counter\na_total 1\n", "# TYPE a gauge\na one\n"] {
            assert!(read(page).is_err(), "{page}");
        }
    }
}
