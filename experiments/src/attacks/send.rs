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

use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::rr::RecordType;
use podlocal_harness::cluster::metrics::SIDECAR_PORT;
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::framing::framed;
use podlocal_harness::loopback::client::question;

use self::streams::{Sent, keep};
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
    let [admin, dns] = [SIDECAR_PORT, 53].map(|port| SocketAddr::from((target, port)));
    let inside = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
    let metrics = b"GET /metrics HTTP/1.1\r\nHost: tier\r\n\r\n".to_vec();
    // The answer is large.
    let query = framed(&query("hit.large.test", RecordType::TXT)?);
    match attack {
        Attack::AdminIdle | Attack::SidecarAdminIdle => keep(1, 200, admin, Sent::Once(Vec::new())).await,
        Attack::AdminUnread => keep(1, 200, admin, Sent::Unread(metrics)).await,
        Attack::TcpUnread => keep(64, 32, dns, Sent::Unread(query)).await,
        Attack::SidecarTcpUnread => keep(1, 100, inside, Sent::Unread(query)).await,
        // Only the two bytes with the length of a query.
        Attack::TcpUnfinished => keep(64, 64, dns, Sent::Once(u16::MAX.to_be_bytes().into())).await,
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
