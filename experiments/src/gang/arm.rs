//! The arms of the gang experiment.

use clap::ValueEnum as _;
use serde::Serialize;
use serde_json::{Value, json};

use podlocal_harness::failure::Failure;
use podlocal_harness::model::cluster::DnsPath;

/// The DNS configuration of the pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// Unchanged pods: dnsPolicy ClusterFirst, `ndots:5`, queries go directly to cluster DNS.
    #[default]
    Direct,
    /// The same with `ndots:2` in their dnsConfig.
    Ndots2,
    /// Unchanged pods behind NodeLocal DNSCache; on a real cluster only.
    NodeLocal,
    /// Injected by the webhook with the sidecar.
    Injected,
    /// The same, with a shared tier between the sidecars and cluster DNS.
    Shared,
}

impl Arm {
    /// All arms, in the order in which they run and are printed.
    pub const ALL: [Self; 5] = [Self::Direct, Self::Ndots2, Self::NodeLocal, Self::Injected, Self::Shared];

    /// Its name in tables and charts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct, ndots:5",
            Self::Ndots2 => "direct, ndots:2",
            Self::NodeLocal => "NodeLocal-style cache",
            Self::Injected => "with PodLocal DNS",
            Self::Shared => "sidecar and shared tier",
        }
    }

    /// The way from its pods to the model of cluster DNS; `None`: this arm has no model.
    pub fn dns_path(self) -> Option<DnsPath> {
        match self {
            Self::Direct | Self::Ndots2 => Some(DnsPath::Direct),
            Self::NodeLocal => None,
            Self::Injected => Some(DnsPath::Sidecars),
            Self::Shared => Some(DnsPath::SidecarsAndTier),
        }
    }

    /// The arms to run: the wanted ones, by default all that are possible. The error names an arm that needs
    /// a real cluster.
    pub fn choose(wanted: &[Self], on_cluster: bool) -> Result<Vec<Self>, Failure> {
        let is_there = |arm: &Self| on_cluster || arm.dns_path().is_some();
        if wanted.is_empty() {
            return Ok(Self::ALL.into_iter().filter(is_there).collect());
        }
        let Some(arm) = wanted.iter().find(|arm| !is_there(arm)) else { return Ok(wanted.to_vec()) };
        let name = arm.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        Err(Failure::new(format!(
            "the arm {name} needs a real cluster, because a model of it would not fail as the real one does: add --cluster"
        )))
    }

    /// Whether the webhook injects its pods.
    pub fn is_injected(self) -> bool {
        matches!(self, Self::Injected | Self::Shared)
    }

    /// The manifest of the pod for this arm, before injection.
    pub fn pod(self, mut pod: Value) -> Value {
        if self == Self::Ndots2 {
            pod["spec"]["dnsConfig"]["options"] = json!([{ "name": "ndots", "value": "2" }]);
        }
        pod
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arm_without_a_model_is_run_on_a_cluster_only() {
        let choose =
            |wanted: &[Arm], on_cluster| Arm::choose(wanted, on_cluster).map_err(|error| error.to_string());
        assert_eq!(choose(&[], true), Ok(Arm::ALL.to_vec()));
        assert_eq!(choose(&[], false), Ok(vec![Arm::Direct, Arm::Ndots2, Arm::Injected, Arm::Shared]));
        assert_eq!(choose(&[Arm::NodeLocal], true), Ok(vec![Arm::NodeLocal]));
        let refused = choose(&[Arm::Direct, Arm::NodeLocal], false).expect_err("the arm has no model");
        assert!(refused.contains("node-local ") && refused.contains("--cluster"), "{refused}");
    }
}
