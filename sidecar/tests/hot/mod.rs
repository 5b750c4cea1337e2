//! A service with a full cache and queries that it answers from there: bytes in, bytes out, no socket.

#![allow(unreachable_pub, reason = "a test and an example use it")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use podlocal_dns::key::Key;
use podlocal_settings::Settings;
use podlocal_sidecar::metrics::{Metrics, Transport};
use podlocal_sidecar::resolver::Resolver;
use podlocal_sidecar::server::{Service, Step};
use podlocal_sidecar::upstream::{Failed, Upstream};

/// The number of names in the cache.
pub const NAMES: usize = 1000;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The service, with the settings of a pod.
pub struct Hot {
    service: Arc<Service<AtOnce>>,
    questions: Vec<Vec<u8>>,
    next: usize,
    now: Instant,
    out: Vec<u8>,
}

impl Hot {
    /// Queries every name, so that the next query for each is a hit.
    pub fn new() -> Self {
        let (settings, (metrics, _)) = (Settings::defaults(), Metrics::new());
        let resolver = Resolver::new(&settings, 1, AtOnce, metrics.clone());
        let service = Service::new(&settings, resolver, metrics, Instant::now());
        let mut hot = Self {
            service,
            questions: (0..NAMES).map(question).collect(),
            next: 0,
            now: Instant::now(),
            out: Vec::with_capacity(4096),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            for _ in 0..NAMES {
                let Step::Wait(query, _, _places) = hot.step() else { panic!("a miss") };
                let key = Arc::new(query.key.clone());
                hot.service.resolve(&key, SOURCE).await;
            }
        });
        hot.now = Instant::now();
        hot
    }

    /// Queries the next name; returns the answer.
    pub fn hit(&mut self) -> &[u8] {
        let step = self.step();
        assert!(matches!(step, Step::Answer(_)), "a hit");
        &self.out
    }

    fn step(&mut self) -> Step<'_> {
        let question = &self.questions[self.next];
        self.next = (self.next + 1) % NAMES;
        self.service.step(question, SOURCE, Transport::Udp, self.now, &mut self.out)
    }
}

/// Type A, class IN, RD, EDNS with 1232 bytes.
fn question(number: usize) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    bytes.extend_from_slice(format!("\x0aname{number:06}\x07example\x03com\x00\x00\x01\x00\x01").as_bytes());
    bytes.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    bytes
}

/// An upstream that has an address for every name, immediately.
#[derive(Debug)]
pub struct AtOnce;

impl Upstream for AtOnce {
    async fn ask(&self, key: &Key, _deadline: tokio::time::Instant) -> Result<Vec<u8>, Failed> {
        let mut bytes = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        bytes.extend_from_slice(key.question());
        bytes.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x0a\x00\x00\x01");
        Ok(bytes)
    }
}
