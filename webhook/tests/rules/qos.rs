//! The QoS class of a pod as the kubelet sees it: `ComputePodQOS` in
//! `kubernetes/pkg/apis/core/v1/helper/qos/qos.go`, line by line, after the API server's defaulting of
//! requests from limits.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    BestEffort,
    Burstable,
    Guaranteed,
}

pub(crate) fn class(spec: &Value) -> Class {
    let mut requests: BTreeMap<&str, f64> = BTreeMap::new();
    let mut limits: BTreeMap<&str, f64> = BTreeMap::new();
    let mut is_guaranteed = true;
    let of_pod = &spec["resources"];
    if ["requests", "limits"]
        .iter()
        .any(|kind| of_pod[kind].as_object().is_some_and(|amounts| !amounts.is_empty()))
    {
        is_guaranteed = add(of_pod, &mut requests, &mut limits);
    } else {
        for kind in ["containers", "initContainers"] {
            for container in spec[kind].as_array().into_iter().flatten() {
                is_guaranteed &= add(&container["resources"], &mut requests, &mut limits);
            }
        }
    }
    if requests.is_empty() && limits.is_empty() {
        return Class::BestEffort;
    }
    // Equal up to the last millicore and byte.
    let is_same = |(name, request): (&&str, &f64)| {
        limits.get(*name).is_some_and(|limit| (limit - request).abs() < 1e-6)
    };
    if is_guaranteed && requests.len() == limits.len() && requests.iter().all(is_same) {
        Class::Guaranteed
    } else {
        Class::Burstable
    }
}

/// Adds the resources of a container or of the pod; returns whether it limits both resources.
fn add<'a>(
    resources: &'a Value,
    requests: &mut BTreeMap<&'a str, f64>,
    limits: &mut BTreeMap<&'a str, f64>,
) -> bool {
    let mut limited = 0;
    for name in ["cpu", "memory"] {
        let (limit, request) = (amount(&resources["limits"][name]), amount(&resources["requests"][name]));
        // `SetDefaults_Pod`: a request that is absent is the limit.
        let request = if resources["requests"][name].is_null() { limit } else { request };
        if request > 0.0 {
            *requests.entry(name).or_default() += request;
        }
        if limit > 0.0 {
            limited += 1;
            *limits.entry(name).or_default() += limit;
        }
    }
    limited == 2
}

/// A quantity as a number; 0 for none.
fn amount(value: &Value) -> f64 {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return 0.0,
    };
    let digits =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let factor = match &text[digits..] {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        other => panic!("{other} of {text} is not known here"),
    };
    text[..digits].parse::<f64>().unwrap_or_else(|error| panic!("{text}: {error}")) * factor
}
