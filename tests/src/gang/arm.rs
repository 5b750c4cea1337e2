//! The ways in which the gang is run.

use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::Between;

/// How the pods are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// As they are: dnsPolicy ClusterFirst, `ndots:5`, straight to the cluster DNS.
    Direct,
    /// The same with `ndots:2` in their dnsConfig.
    Ndots2,
    /// As they are, with one caching forwarder for all, as NodeLocal DNSCache is.
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

    /// What stands between its pods and the cluster DNS.
    pub fn between(self) -> Between {
        match self {
            Self::Direct | Self::Ndots2 => Between::Nothing,
            Self::NodeLocal => Between::NodeLocal,
            Self::Injected => Between::Sidecars,
            Self::Shared => Between::SidecarsAndTier,
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
