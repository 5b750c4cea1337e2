//! Queries at a fixed rate, and datagrams whose source is forged.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use hickory_proto::op::MessageType;
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use podlocal_harness::failure::{Failure, WithContext as _};
use podlocal_harness::loopback::client::question;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::interval;

use super::super::UPSTREAM;
use super::{query, source};

/// The number of groups per second in which datagrams are sent.
const GROUPS: u64 = 100;

/// Sends queries for 100 names of a zone per second.
pub(super) async fn query_names(target: Ipv4Addr, zone: &str) -> Result<(), Failure> {
    let asking = || format!("asking {target}");
    let socket = UdpSocket::bind((source(1), 0)).await.with_context(asking)?;
    socket.connect((target, 53)).await.with_context(asking)?;
    let mut ticks = interval(Duration::from_millis(10));
    for number in 0_u64.. {
        ticks.tick().await;
        let mut query = query(&format!("n{number}-{}.{zone}", std::process::id()), RecordType::A)?;
        query[..2].copy_from_slice(&(number as u16).to_be_bytes());
        // After a refusal the next query has another name.
        let _ = socket.send(&query).await;
    }
    Ok(())
}

/// 5,000 queries per second, each from another address; every tenth query is for a new name.
pub(super) async fn forged_sources(target: Ipv4Addr) -> Result<(), Failure> {
    let target = SocketAddrV4::new(target, 53);
    let hit = query("hit.large.test", RecordType::TXT)?;
    forge(5_000, |number| {
        let [_, a, b, c] = (number as u32).wrapping_mul(2_654_435_761).to_be_bytes();
        let source = SocketAddrV4::new(Ipv4Addr::new(10, 128 | a, b, c), 1024 | number as u16);
        let query = match number % 10 {
            0 => query(&format!("f{number}.victim.test"), RecordType::A)?,
            _ => hit.clone(),
        };
        Ok((source, target, query))
    })
    .await
}

/// Sends a query for a name that no server answers, and 20,000 forged responses per second to all ports with
/// all ids.
pub(super) async fn forged_answers(target: Ipv4Addr) -> Result<(), Failure> {
    let upstream = SocketAddrV4::new(UPSTREAM, 53);
    let mut answer = question("forged.silent.test", RecordType::A)?;
    answer.metadata.message_type = MessageType::Response;
    let data = RData::A(A(Ipv4Addr::new(203, 0, 113, 1)));
    answer.answers =
        answer.queries.iter().map(|of| Record::from_rdata(of.name().clone(), 3600, data.clone())).collect();
    let answer = answer.to_vec().with_context("forging an answer")?;
    tokio::try_join!(
        query_names(target, "silent.test"),
        forge(20_000, |number| {
            let random = (number as u32).wrapping_mul(2_654_435_761);
            let (port, id) = ((random >> 16) as u16, random as u16);
            let mut answer = answer.clone();
            answer[..2].copy_from_slice(&id.to_be_bytes());
            Ok((upstream, SocketAddrV4::new(target, port | 0x8000), answer))
        })
    )
    .map(drop)
}

/// Sends datagrams at a fixed rate per second. The function returns the source, the destination and the
/// contents of the n-th datagram.
async fn forge(
    rate: u64,
    datagram: impl Fn(u64) -> Result<(SocketAddrV4, SocketAddrV4, Vec<u8>), Failure>,
) -> Result<(), Failure> {
    // IPPROTO_RAW, raw(7): the caller supplies the IP header, and the kernel fills in lengths and checksum.
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)));
    let socket = socket.with_context("opening a raw socket")?;
    let mut ticks = interval(Duration::from_millis(1000 / GROUPS));
    let mut number = 0;
    loop {
        ticks.tick().await;
        for _ in 0..rate / GROUPS {
            let (from, to, contents) = datagram(number)?;
            let packet = packet(from, to, &contents);
            socket
                .send_to(&packet, &SocketAddr::from(to).into())
                .with_context(|| format!("sending to {to}"))?;
            number += 1;
        }
    }
}

/// The headers of IPv4 (RFC 791) and UDP (RFC 768, without a checksum), and the contents.
fn packet(from: SocketAddrV4, to: SocketAddrV4, contents: &[u8]) -> Vec<u8> {
    let length = contents.len() as u16 + 8;
    let mut packet = vec![0x45, 0];
    packet.extend((length + 20).to_be_bytes());
    // No fragments; 64 hops; UDP.
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    for field in [from.port(), to.port(), length, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(contents);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_both_headers() {
        let packet = packet("10.0.0.1:5".parse().unwrap(), "10.0.0.2:53".parse().unwrap(), b"abc");
        assert_eq!(packet.len(), 31);
        assert_eq!(packet[2..4], [0, 31]);
        assert_eq!(packet[12..28], [10, 0, 0, 1, 10, 0, 0, 2, 0, 5, 0, 53, 0, 11, 0, 0]);
    }
}
