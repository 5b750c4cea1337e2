//! The upstream of all subjects: it answers every name with an address, without delay, but for those that
//! begin with a word.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use super::subject::free_port;
use podlocal_harness::failure::{Failure, WithContext};

/// Threads that answer over UDP and TCP, on the cores of the thread that has started them, until the program ends.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
}

/// Names that begin like this get no answer.
pub(super) const SILENT: &str = "silent";

/// A TTL in seconds that is longer than any measurement.
const TTL: u32 = 3600;

impl Upstream {
    pub(super) fn start() -> Result<Self, Failure> {
        let starting = "starting the upstream";
        let address = free_port().with_context(starting)?;
        let socket = UdpSocket::bind(address).with_context(starting)?;
        let listener = TcpListener::bind(address).with_context(starting)?;
        thread::spawn(move || datagrams(&socket));
        thread::spawn(move || connections(&listener));
        Ok(Self { address })
    }
}

fn datagrams(socket: &UdpSocket) {
    let (mut question, mut out) = ([0; 4096], Vec::with_capacity(4096));
    loop {
        // An error means that an answer was sent to a closed port.
        let Ok((length, client)) = socket.recv_from(&mut question) else { continue };
        if answer(&question[..length], &mut out).is_ok() {
            let _ = socket.send_to(&out, client);
        }
    }
}

/// Serves each connection in a separate thread, which ends with the client.
fn connections(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || connection(stream));
    }
}

/// Two bytes of length before each message (RFC 1035 section 4.2.2).
fn connection(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut length, mut out) = ([0; 2], Vec::new());
    loop {
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        answer(&question, &mut out)?;
        stream.write_all(&[&(out.len() as u16).to_be_bytes(), &out[..]].concat())?;
    }
}

/// Writes the answer, unless there is none ([`SILENT`]): the address 10.0.0.1 for an A query, no record for any
/// other type; with EDNS when the query has EDNS.
fn answer(question: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let cut_off = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut at = 12;
    while let length @ 1.. = *question.get(at).ok_or_else(cut_off)? {
        at += 1 + usize::from(length);
    }
    if question.get(13..).is_some_and(|name| name.starts_with(SILENT.as_bytes())) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let end = at + 5;
    out.clear();
    out.extend_from_slice(question.get(..end).ok_or_else(cut_off)?);
    let is_address = out[at + 1..at + 3] == [0, 1];
    let has_edns = question[11] == 1;
    // QR, RD and RA are set, RCODE is NOERROR; then the counts (RFC 1035 section 4.1.1).
    out[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, u8::from(has_edns)]);
    if is_address {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        out.extend_from_slice(&TTL.to_be_bytes());
        out.extend_from_slice(&[0, 4, 10, 0, 0, 1]);
    }
    if has_edns {
        out.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::query as question;
    use hickory_proto::op::Message;
    use hickory_proto::rr::RecordType;

    #[test]
    fn every_name_has_an_address_and_nothing_else() {
        for (kind, records) in [(RecordType::A, 1), (RecordType::AAAA, 0), (RecordType::NS, 0)] {
            let (question, mut out) = (question(7, "www.example.com", kind).unwrap(), Vec::new());
            answer(&question, &mut out).unwrap();
            let message = Message::from_vec(&out).unwrap();
            assert_eq!((message.metadata.id, message.answers.len()), (7, records));
            assert!(message.edns.is_some());
        }
    }
}
