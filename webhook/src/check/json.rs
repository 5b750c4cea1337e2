//! Formats a report as JSON. Pure. docs/check.md lists the fields; new fields may be added, existing ones do
//! not change.

use podlocal_settings::read::SettingError;
use serde_json::{Value, json};

use super::assess::{self, Verdict};
use super::estimate::EXAMPLE;
use super::ledger::Row;
use super::report::Report;
use super::requests::Requests;
use super::workload::{Pods, Workload};
use crate::config::Check;

/// The JSON document; it contains every workload, even those that the text report does not list.
pub fn document(report: &Report, settings: &Check) -> Value {
    let findings = report
        .installation
        .iter()
        .map(|finding| json!({"state": finding.state.name(), "what": finding.what, "next": finding.next}));
    let namespaces = report.namespaces_metadata.iter().filter_map(|(name, namespace_metadata)| {
        let errors = assess::of_namespace(namespace_metadata, &report.cluster_domain);
        (!errors.is_empty()).then(|| json!({"name": name, "ignored": ignored(&errors)}))
    });
    let count = |wanted: &dyn Fn(Verdict) -> bool| {
        let count = report.ledger.count(wanted);
        json!({"workloads": count.workloads, "pods": count.at_least()})
    };
    let requests = report.ledger.requests();
    let total = report.total(settings.names);
    json!({
        "source": report.source.to_string(),
        "installation": findings.collect::<Vec<_>>(),
        "notes": report.notes,
        "refused": report.refused.iter().map(refused).collect::<Vec<_>>(),
        "namespaces": namespaces.collect::<Vec<_>>(),
        "workloads": report.ledger.rows().map(workload).collect::<Vec<_>>(),
        "summary": {
            "injected": count(&|verdict| verdict == Verdict::Injected),
            "already": count(&|verdict| verdict == Verdict::Already),
            "not": count(&|verdict| matches!(verdict, Verdict::Not(_))),
            "requests": {
                "pods": requests.pods, "cpuMillis": requests.cpu_millis, "memoryBytes": requests.memory_bytes,
            },
            "isFine": report.is_fine(),
        },
        "estimate": {
            "pods": total.pods, "namesPerPod": settings.names, "example": EXAMPLE,
            "direct": total.direct, "proxied": total.proxied, "sharedTier": total.shared,
            "hasSharedTier": report.has_tier,
        },
    })
}

fn workload((workload, row): (&Workload, &Row)) -> Value {
    let Row { pods, assessment } = row;
    let (verdict, reason) = match assessment.verdict {
        Verdict::Injected => ("injected", None),
        Verdict::Already => ("already", None),
        Verdict::Not(reason) => ("not", Some(reason)),
    };
    let pods = match pods {
        Pods::Count(count) => json!(count),
        Pods::OneEachNode => Value::Null,
    };
    let cost = assessment.cost.map(|cost| json!({"direct": cost.direct, "proxied": cost.proxied}));
    json!({
        "namespace": workload.namespace, "kind": workload.kind, "name": workload.name,
        "pods": pods,
        "verdict": verdict,
        "reason": reason.map(|reason| {
            json!({"label": reason.label(), "sentence": reason.sentence(), "next": reason.next_step()})
        }),
        "changes": assessment.changes,
        "diff": assessment.diff,
        "ignored": ignored(&assessment.errors),
        "requests": assessment.requests.as_ref().map(Requests::json),
        "questionsPerName": cost,
    })
}

fn refused((object, SettingError { origin, text, expected, .. }): &(String, SettingError)) -> Value {
    json!({"object": object, "origin": origin, "value": text, "expected": expected})
}

fn ignored(errors: &[SettingError]) -> Vec<Value> {
    let ignored = errors
        .iter()
        .map(|error| json!({"origin": error.origin, "value": error.text, "expected": error.expected}));
    ignored.collect()
}
