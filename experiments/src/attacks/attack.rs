//! The attacks: the target and the method of each.

use clap::ValueEnum;
use serde::Serialize;

/// The kind of target, which also decides who the victim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A shared tier; the victim is another pod that sends queries to it.
    Tier,
    /// The sidecar of a pod; the victim is the application in that pod.
    Sidecar,
    /// The webhook; the victims are the pods that are created during the attack.
    Webhook,
}

/// An attack. The attacks run in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// one source keeps 200 connections to the tier's admin port and sends nothing
    AdminIdle,
    /// one source requests /metrics on 200 connections and reads no response
    AdminUnread,
    /// 64 sources with 32 connections each ask for large answers and read none
    TcpUnread,
    /// 64 sources with 64 connections each send two bytes of a query
    TcpUnfinished,
    /// one source asks for 100 names a second whose answers of 64 KiB are costly to parse
    CostlyAnswers,
    /// one source asks for 100 names a second that no server answers
    UnansweredNames,
    /// 5,000 queries a second from forged sources: cached large answers, and names that miss
    ForgedSources,
    /// 20,000 forged responses a second to a query that is in flight
    ForgedAnswers,
    /// one source keeps 200 connections to a sidecar's admin port
    SidecarAdminIdle,
    /// a process in the pod sends queries on 100 connections and reads no answer
    SidecarTcpUnread,
    /// four reviews of 4 MiB at a time, of the most expensive JSON
    ReviewBodies,
    /// reviews of a Pod of 1 MB with 349,000 empty objects, four at a time
    ReviewElements,
    /// 100 reviews of 2 MiB whose last byte is never sent
    ReviewUnfinished,
    /// 50 forged reviews a second that would write Events into kube-system
    ReviewForged,
}

impl Attack {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What the attacker does, as in the help of the command line.
    pub fn description(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// The kind of its target.
    pub fn target_kind(self) -> TargetKind {
        match self {
            Self::SidecarAdminIdle | Self::SidecarTcpUnread => TargetKind::Sidecar,
            Self::ReviewBodies | Self::ReviewElements | Self::ReviewUnfinished | Self::ReviewForged => {
                TargetKind::Webhook
            }
            _ => TargetKind::Tier,
        }
    }

    /// Whether the attacker runs in the attacked pod.
    pub fn is_from_within(self) -> bool {
        self == Self::SidecarTcpUnread
    }
}
