//! Formats a report as text. Pure.

use std::collections::BTreeMap;

use super::assess::{self, Verdict};
use super::estimate::EXAMPLE;
use super::ledger::Row;
use super::reason::Reason;
use super::report::{Report, Source};
use super::workload::{Count, Pods, Workload};
use crate::config::Check;

/// Above this number of pods, the report recommends a shared tier.
const MANY: u64 = 1000;

/// The text report: installation, table of workloads, reasons, errors, totals, estimate.
pub fn page(report: &Report, settings: &Check) -> String {
    let as_if = if report.as_if_enabled { ", as if every namespace were opted in" } else { "" };
    let mut page = format!("Checked {}{as_if}.\n", report.source);
    page.push_str(&installation(report));
    page.push_str(&table(report, settings.all));
    if settings.verbose {
        page.push_str(&changes(report));
    }
    page.push_str(&reasons(report));
    page.push_str(&refused(report));
    page.push_str(&errors(report));
    page.push_str(&sum(report));
    page.push_str(&estimate(report, settings.names));
    printable(&page)
}

/// Escapes control characters: names in documents must not control a terminal.
fn printable(page: &str) -> String {
    let is_ours = |character: char| !character.is_control() || character == '\n';
    page.chars()
        .map(|one| if is_ours(one) { one.to_string() } else { one.escape_default().to_string() })
        .collect()
}

/// Whether a workload is listed: in a cluster, workloads that are not opted in are listed only with `all`.
fn is_listed(report: &Report, row: &Row, all: bool) -> bool {
    let is_cluster = matches!(report.source, Source::Cluster { .. });
    let is_silent = matches!(row.assessment.verdict, Verdict::Not(reason) if reason.is_not_opted_in());
    all || !is_cluster || !is_silent
}

fn installation(report: &Report) -> String {
    let mut text = String::new();
    if !report.installation.is_empty() {
        text.push_str("\nInstallation\n");
    }
    for finding in &report.installation {
        text.push_str(&format!("  {:<8} {}\n", finding.state.name(), finding.what));
        if let Some(next) = &finding.next {
            text.push_str(&format!("           next: {next}\n"));
        }
    }
    for note in &report.notes {
        text.push_str(&format!("\nNote: {note}.\n"));
    }
    text
}

fn table(report: &Report, all: bool) -> String {
    let mut lines = vec![["NAMESPACE", "KIND/NAME", "PODS", "VERDICT", "CHANGES"].map(str::to_owned)];
    for (workload, row) in report.ledger.rows().filter(|(_, row)| is_listed(report, row, all)) {
        let mut changes = row.assessment.changes.clone();
        let ignored = row.assessment.errors.len();
        if ignored > 0 {
            changes.push(format!("{ignored} {} ignored", plural(ignored as u64, "setting")));
        }
        let changes = if changes.is_empty() { "-".to_owned() } else { changes.join(", ") };
        let pods = match row.pods {
            Pods::Count(count) => count.to_string(),
            Pods::OneEachNode => "1/node".to_owned(),
        };
        lines.push([
            workload.namespace.clone(),
            name(workload),
            pods,
            verdict(row.assessment.verdict),
            changes,
        ]);
    }
    if lines.len() == 1 {
        return String::new();
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut text = "\n".to_owned();
    for [namespace, name, pods, verdict, changes] in &lines {
        let [a, b, c, d] = widths;
        text.push_str(&format!("{namespace:<a$}  {name:<b$}  {pods:>c$}  {verdict:<d$}  {changes}\n"));
    }
    text
}

fn changes(report: &Report) -> String {
    let mut text = String::new();
    for (workload, row) in report.ledger.rows().filter(|(_, row)| !row.assessment.diff.is_empty()) {
        // The paths are those of the pod template in documents, and of a pod in a cluster.
        let of = match (&report.source, workload.kind.as_str()) {
            (_, "Pod") => "",
            (Source::Documents { .. }, _) => " (pod template)",
            (Source::Cluster { .. }, _) => " (pods)",
        };
        text.push_str(&format!("\n{} {}{of}\n", workload.namespace, name(workload)));
        for line in &row.assessment.diff {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if !text.is_empty() {
        let whole = match report.source {
            Source::Documents { .. } => "podlocal-webhook inject -f FILE",
            Source::Cluster { .. } => "kubectl get pod NAME -o yaml | podlocal-webhook inject -f -",
        };
        text.push_str(&format!("\nTo see the whole pod: {whole} --cluster-dns {}\n", report.cluster_dns));
    }
    text
}

/// Every reason once, with the number of workloads and the next step.
fn reasons(report: &Report) -> String {
    let mut found: BTreeMap<Reason, Count> = BTreeMap::new();
    for (_, row) in report.ledger.rows() {
        if let Verdict::Not(reason) = row.assessment.verdict {
            let count = found.entry(reason).or_default();
            *count = count.and(row.pods);
        }
    }
    let mut text = String::new();
    if !found.is_empty() {
        text.push_str("\nNot injected\n");
    }
    for (reason, count) in found {
        text.push_str(&format!("  {}, {}: {}\n", reason.label(), counted(count), reason.sentence()));
        text.push_str(&format!("    next: {}\n", reason.next_step()));
    }
    text
}

fn refused(report: &Report) -> String {
    if report.refused.is_empty() {
        return String::new();
    }
    let lines = report.refused.iter().map(|(place, error)| format!("  {place}: {error}\n"));
    let next = "    next: correct them; `kubectl apply --dry-run=server -f FILE` reports further errors\n";
    format!("\nDocuments that the API server rejects\n{}{next}", lines.collect::<String>())
}

fn errors(report: &Report) -> String {
    let mut lines = Vec::new();
    for (namespace, namespace_metadata) in &report.namespaces_metadata {
        lines.extend(
            assess::of_namespace(namespace_metadata, &report.cluster_domain)
                .iter()
                .map(|error| format!("  namespace {namespace}: {error}\n")),
        );
    }
    for (workload, row) in report.ledger.rows() {
        let place = format!("{} {}", workload.namespace, name(workload));
        lines.extend(row.assessment.errors.iter().map(|error| format!("  {place}: {error}\n")));
    }
    if lines.is_empty() {
        return String::new();
    }
    lines.push(
        "    next: correct them; docs/settings.md and `podlocal-webhook --help` list all settings\n"
            .to_owned(),
    );
    format!("\nIgnored settings\n{}", lines.concat())
}

fn sum(report: &Report) -> String {
    let count = |wanted: &dyn Fn(Verdict) -> bool| {
        let Count { workloads, pods, on_each_node } = report.ledger.count(wanted);
        match on_each_node {
            0 => format!("{workloads} ({pods})"),
            each => format!("{workloads} ({pods} + {each}/node)"),
        }
    };
    let all = report.ledger.count(|_| true).workloads;
    if all == 0 && !report.is_whole {
        return "\nThe pods could not be read; the reason is listed above.\n".to_owned();
    }
    if all == 0 {
        let next = match report.source {
            Source::Documents { .. } => {
                "\nNo document contains a pod or a pod template.\n  next: pass files that contain workloads"
            }
            Source::Cluster { .. } => "\nNo pod found.\n  next: check workloads without pods with -f FILE",
        };
        return format!("{next}\n");
    }
    let mut text = format!(
        "\nWorkloads (pods): {} in total: injected {}, already {}, not {}.\n",
        count(&|_| true),
        count(&|verdict| verdict == Verdict::Injected),
        count(&|verdict| verdict == Verdict::Already),
        count(&|verdict| matches!(verdict, Verdict::Not(_))),
    );
    let requests = report.ledger.requests();
    if requests.pods > 0 {
        let of = match requests.pods {
            1 => "sidecar of 1 pod".to_owned(),
            pods => format!("sidecars of {pods} pods"),
        };
        text.push_str(&format!("Resource requests of the {of}: {}.\n", requests.words()));
    }
    if matches!(report.source, Source::Cluster { .. }) {
        let silent = report.ledger.count(|verdict| verdict == Verdict::Not(Reason::NotOptedIn)).workloads;
        if silent > 0 && !report.as_if_enabled {
            text.push_str(
                "Workloads that are not opted in: --all lists them, --as-if-enabled checks them as well.\n",
            );
        }
        if report.ledger.count(|verdict| verdict == Verdict::Injected).workloads > 0 {
            text.push_str(
                "Running pods are not changed; a pod gets the sidecar when it is created: kubectl rollout restart.\n",
            );
        }
    }
    text
}

/// The cost of the cold start of all injected workloads, in queries to cluster DNS.
fn estimate(report: &Report, names: u32) -> String {
    let total = report.total(names);
    if total.pods == 0 {
        return String::new();
    }
    let tier = match report.source {
        _ if report.has_tier => "the shared tier",
        Source::Documents { .. } => "a shared tier",
        Source::Cluster { .. } => "a shared tier (there is none)",
    };
    let pods = match total.pods {
        1 => "one pod starts with a cold cache and".to_owned(),
        pods => format!("{pods} pods start at the same time with cold caches; each"),
    };
    let names = match names {
        1 => format!("one name, {EXAMPLE}"),
        names => format!("{names} names such as {EXAMPLE}"),
    };
    let mut text = format!(
        "\nEstimate: {pods} looks up {names}.\nQueries to cluster DNS (A and AAAA):\n  \
         {:>10}  without the sidecar\n  {:>10}  with the sidecar, at most\n  \
         {:>10}  with the sidecar and {tier}, if the pods of a workload look up the same names\n\
         Computed from the search list and ndots of each pod, not measured. Not part of the estimate: warm caches, which save\n\
         queries, and lost queries, which are sent again. {}\n\
         The formula is in docs/check.md; --names sets the number of names.\n",
        total.direct,
        total.proxied,
        total.shared,
        each_asks(report, total.pods),
    );
    let injected = report.ledger.count(|verdict| verdict == Verdict::Injected);
    if injected.on_each_node > 0 {
        text.push_str("A workload with one pod on each node (1/node) counts as one pod here.\n");
    }
    text
}

/// Whether the sidecars share a cache; for many pods with a recommendation.
fn each_asks(report: &Report, pods: u64) -> &'static str {
    match pods {
        _ if report.has_tier => "The sidecars share the cache of the shared tier.",
        0..=MANY => "Each sidecar queries cluster DNS on its own.",
        _ => {
            "Each sidecar queries cluster DNS on its own:\n\
             for so many pods, use a shared tier, which sends each query once for all of them: docs/shared-tier.md."
        }
    }
}

fn verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Injected => "injected".to_owned(),
        Verdict::Already => "already".to_owned(),
        Verdict::Not(reason) => format!("not: {}", reason.label()),
    }
}

fn name(workload: &Workload) -> String {
    format!("{}/{}", workload.kind, workload.name)
}

fn counted(Count { workloads, pods, on_each_node }: Count) -> String {
    let pods = match (pods, on_each_node) {
        (0, 1..) => format!("{on_each_node} {} on each node", plural(on_each_node, "pod")),
        (_, 0) => format!("{pods} {}", plural(pods, "pod")),
        _ => format!("{pods} {}, and {on_each_node} on each node", plural(pods, "pod")),
    };
    format!("{workloads} {} ({pods})", plural(workloads, "workload"))
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
