//! The attacker: a process that attacks until it is stopped.
//!
//! ```text
//!   streams   TCP connections that stay open, unread or unfinished
//!   queries   queries at a fixed rate, and datagrams with forged addresses
//!   reviews   requests to the webhook
//! ```

mod queries;
mod reviews;
mod streams;

use std::net::Ipv4Addr;

use hickory_proto::rr::RecordType;
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::loopback::client::question;

use super::attack::Attack;

/// A word in every text of the attacker, by which the experiment finds its Events.
pub const ATTACKER: &str = "attackers-text";

/// The port of the webhook.
const WEBHOOK_PORT: u16 = 8443;

/// Attacks these addresses until the process is killed.
pub async fn attack(attack: Attack, targets: &[Ipv4Addr]) -> Result<(), Failure> {
    let Some(&target) = targets.first() else {
        return Err(Failure::new("expected the address of a target"));
    };
    match attack {
        Attack::AdminIdle | Attack::SidecarAdminIdle => streams::idle(target).await,
        Attack::AdminUnread => streams::unread_metrics(target).await,
        Attack::TcpUnread => streams::unread_answers(target, 64, 32).await,
        Attack::SidecarTcpUnread => streams::unread_answers(Ipv4Addr::LOCALHOST, 1, 100).await,
        Attack::TcpUnfinished => streams::unfinished_queries(target, 64, 64).await,
        Attack::CostlyAnswers => queries::query_names(target, "costly.test").await,
        Attack::UnansweredNames => queries::query_names(target, "silent.test").await,
        Attack::ForgedSources => queries::forged_sources(target).await,
        Attack::ForgedAnswers => queries::forged_answers(target).await,
        Attack::ReviewBodies => reviews::large_bodies(targets).await,
        Attack::ReviewElements => reviews::many_elements(targets).await,
        Attack::ReviewUnfinished => reviews::unfinished(targets).await,
        Attack::ReviewForged => reviews::forged(targets).await,
    }
}

/// A query without EDNS, with id 1.
fn query(name: &str, rtype: RecordType) -> Result<Vec<u8>, Failure> {
    question(name, rtype)?.to_vec().with_context(|| format!("asking for {name}"))
}

/// An attacking pod's address.
fn source(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 250, 1 + high, low)
}
