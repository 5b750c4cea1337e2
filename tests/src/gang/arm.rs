//! The ways in which the gang is run.

use clap::ValueEnum as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::Between;
use crate::failure::Failure;

/// How the pods are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// As they are: dnsPolicy ClusterFirst, `ndots:5`, straight to the cluster DNS.
    Direct,
    /// The same with `ndots:2` in their dnsConfig.
    Ndots2,
    /// As they are, behind NodeLocal DNSCache; on a real cluster only.
    NodeLocal,
    /// Through the webhook, with the sidecar.
    Injected,
    /// The same, with one shared tier between the sidecars and the cluster DNS.
    Shared,
}

impl Arm {
    /// The arms, in the order in which they are run and printed.
    pub const ALL: [Self; 5] = [Self::Direct, Self::Ndots2, Self::NodeLocal, Self::Injected, Self::Shared];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct, ndots:5",
            Self::Ndots2 => "direct, ndots:2",
            Self::NodeLocal => "NodeLocal-style cache",
            Self::Injected => "with PodLocal DNS",
            Self::Shared => "sidecar and shared tier",
        }
    }

    /// What stands between its pods and the model of cluster DNS; `None`: there is no model of it.
    pub fn between(self) -> Option<Between> {
        match self {
            Self::Direct | Self::Ndots2 => Some(Between::Nothing),
            Self::NodeLocal => None,
            Self::Injected => Some(Between::Sidecars),
            Self::Shared => Some(Between::SidecarsAndTier),
        }
    }

    /// The arms to run: those that are wanted, by default all that there are. An error names the one that needs a real cluster.
    pub fn choose(wanted: &[Self], on_cluster: bool) -> Result<Vec<Self>, Failure> {
        let is_there = |arm: &Self| on_cluster || arm.between().is_some();
        if wanted.is_empty() {
            return Ok(Self::ALL.into_iter().filter(is_there).collect());
        }
        match wanted.iter().find(|arm| !is_there(arm)) {
            None => Ok(wanted.to_vec()),
            Some(arm) => {
                let name =
                    arm.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
                Err(Failure::new(format!(
                    "the arm {name} needs a real cluster, because a model of it would not fail as the real one does: add --cluster"
                )))
            }
        }
    }

    /// Whether its pods pass through the webhook.
    pub fn is_injected(self) -> bool {
        matches!(self, Self::Injected | Self::Shared)
    }

    /// The pod as its owner would write it for this arm.
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
        let refused = choose(&[Arm::Direct, Arm::NodeLocal], false).expect_err("there is no model");
        assert!(refused.contains("node-local ") && refused.contains("--cluster"), "{refused}");
    }
}
