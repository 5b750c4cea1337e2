//! A load generator for DNS servers, which uses less CPU time than the server.
//!
//! ```text
//!   closed   closed loop: queries over UDP or TCP, as fast as they are answered
//!   open     open loop: queries over UDP at a fixed rate, whether they are answered or not
//!   batch    datagrams in batches: recvmmsg(2), UDP_SEGMENT
//! ```

pub(crate) mod batch;
pub(crate) mod closed;
pub(crate) mod open;

use hickory_proto::op::Edns;
use hickory_proto::rr::RecordType;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client;
use podlocal_harness::process::Pinned;

/// Queries for the A records of different names, as a sidecar or a C library sends them. All have the same
/// length.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: &'static str,
    first: Vec<u8>,
}

impl Names {
    pub(crate) fn new(prefix: &'static str) -> Result<Self, Failure> {
        let first = query(0, &format!("{}.example.com", label(prefix, 0)), RecordType::A)?;
        Ok(Self { prefix, first })
    }

    pub(crate) fn name(&self, number: usize) -> String {
        label(self.prefix, number) + ".example.com"
    }

    /// The query for a name; its id is the number.
    pub(crate) fn query(&self, number: usize) -> Vec<u8> {
        // After the header and the length of the label.
        const LABEL: usize = 12 + 1;
        let (mut query, label) = (self.first.clone(), label(self.prefix, number));
        query[..2].copy_from_slice(&(number as u16).to_be_bytes());
        query[LABEL..LABEL + label.len()].copy_from_slice(label.as_bytes());
        query
    }

    pub(crate) fn queries(&self, names: usize) -> Vec<Vec<u8>> {
        (0..names).map(|number| self.query(number)).collect()
    }
}

/// The label for a number: different for ten million numbers, and in random order.
fn label(prefix: &str, number: usize) -> String {
    format!("{prefix}-{:07}", number * 7_654_321 % 10_000_000)
}

/// A query as a sidecar sends it, with EDNS and a UDP size of 1232 bytes.
pub(crate) fn query(id: u16, name: &str, rtype: RecordType) -> Result<Vec<u8>, Failure> {
    let mut message = client::question(name, rtype)?;
    message.metadata.id = id;
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message.to_vec().with_context(|| format!("asking for {name}"))
}

/// The RCODE of a message.
pub(crate) fn rcode(message: &[u8]) -> Option<u8> {
    message.get(3).map(|byte| byte & 0x0f)
}

/// Runs a load in a separate thread, on one core or on any.
pub(crate) async fn in_thread<T: Send + 'static>(
    core: Option<usize>,
    load: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let thread = tokio::task::spawn_blocking(move || {
        let _pinned = core.map(Pinned::to).transpose()?;
        load()
    });
    thread.await.with_context("generating load")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_ask_for_their_names() {
        let names = Names::new("hot").unwrap();
        let expected = |number: usize| query(number as u16, &names.name(number), RecordType::A).unwrap();
        assert_eq!(names.queries(3), [0, 1, 2].map(expected));
    }
}
