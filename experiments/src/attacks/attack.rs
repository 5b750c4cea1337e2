//! The attacks: what each aims at, and what it does.

use clap::ValueEnum;
use serde::Serialize;

/// What is attacked, and so who the victim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// A shared tier; the victim is another pod that asks it.
    Tier,
    /// The sidecar of a pod; the victim is the application in that pod.
    Sidecar,
    /// The webhook; the victims are pods that are created meanwhile.
    Webhook,
}

/// An attack. They are run in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "`what` has a sentence for each")]
pub enum Attack {
    AdminIdle,
    AdminUnread,
    TcpUnread,
    TcpUnfinished,
    CostlyAnswers,
    UnansweredNames,
    ForgedSources,
    ForgedAnswers,
    SidecarAdminIdle,
    SidecarTcpUnread,
    ReviewBodies,
    ReviewElements,
    ReviewUnfinished,
    ReviewForged,
}

impl Attack {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it does, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::AdminIdle => "one source keeps 200 connections to the tier's admin port and sends nothing",
            Self::AdminUnread => "one source requests /metrics on 200 connections and reads no response",
            Self::TcpUnread => "64 sources with 32 connections each ask for large answers and read none",
            Self::TcpUnfinished => "64 sources with 64 connections each send two bytes of a query",
            Self::CostlyAnswers => {
                "one source asks for 100 names a second whose answers of 64 KiB are costly to read"
            }
            Self::UnansweredNames => "one source asks for 100 names a second that nobody answers",
            Self::ForgedSources => {
                "5,000 queries a second from forged sources: cached large answers, and names that miss"
            }
            Self::ForgedAnswers => "20,000 forged responses a second to a query that is in flight",
            Self::SidecarAdminIdle => "one source keeps 200 connections to a sidecar's admin port",
            Self::SidecarTcpUnread => "a process of the pod asks on 100 connections and reads no answer",
            Self::ReviewBodies => "four reviews of 4 MiB at a time, of the most expensive JSON",
            Self::ReviewElements => "reviews of a Pod of 1 MB with 349,000 empty objects, four at a time",
            Self::ReviewUnfinished => "100 reviews of 2 MiB whose last byte never comes",
            Self::ReviewForged => "50 forged reviews a second that would write Events into kube-system",
        }
    }

    /// What it aims at.
    pub fn aim(self) -> Aim {
        match self {
            Self::AdminIdle
            | Self::AdminUnread
            | Self::TcpUnread
            | Self::TcpUnfinished
            | Self::CostlyAnswers
            | Self::UnansweredNames
            | Self::ForgedSources
            | Self::ForgedAnswers => Aim::Tier,
            Self::SidecarAdminIdle | Self::SidecarTcpUnread => Aim::Sidecar,
            Self::ReviewBodies | Self::ReviewElements | Self::ReviewUnfinished | Self::ReviewForged => {
                Aim::Webhook
            }
        }
    }

    /// Whether it comes from within the attacked pod.
    pub fn is_from_within(self) -> bool {
        self == Self::SidecarTcpUnread
    }
}
