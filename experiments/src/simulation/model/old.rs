//! The old sidecars, apart from their hedges: they probed a silent server, and sent all queries again when it
//! answered.

use std::time::Duration;

use podlocal_dns::upstream::{Reason, Target, Transmission, Transport, fraction_of, round_trip};

use super::{Event, Model};
use crate::simulation::proxy::{Control, Schedule};

/// The time without an answer after which a server counts as silent.
const SILENCE: Duration = Duration::from_millis(400);

/// The interval of probes.
const PROBES: Duration = Duration::from_millis(500);

impl Model {
    /// A query was sent.
    pub(super) fn expect_answer(&mut self, proxy: usize) {
        let state = &mut self.proxies[proxy];
        let probes = matches!(state.control, Control::Schedule(Schedule { probes: true, .. }, _));
        if probes && state.waiting_since.is_none() {
            state.waiting_since = Some(self.now);
            let jitter = fraction_of(PROBES / 5, self.chance());
            self.schedule(self.now + SILENCE + jitter, Event::Probe { proxy });
        }
    }

    /// Probes a server that is silent, every second time over TCP.
    pub(super) fn probe(&mut self, proxy: usize) {
        let state = &mut self.proxies[proxy];
        if state.waiting_since.is_some_and(|since| self.now >= since + SILENCE) {
            state.probes += 1;
            let is_tcp = state.probes.is_multiple_of(2);
            self.outcome.again += 1;
            self.send_check(proxy, 0, is_tcp);
            self.schedule(self.now + PROBES, Event::Probe { proxy });
        }
    }

    /// A server has answered a query or a probe.
    pub(super) fn old_response(&mut self, proxy: usize, elapsed: Duration) {
        let state = &mut self.proxies[proxy];
        if let Control::Schedule(_, budget) = &mut state.control
            && elapsed <= round_trip::INITIAL_TIMER
        {
            budget.record_fast_answer();
        }
        if state.waiting_since.take().is_some_and(|since| self.now >= since + SILENCE) {
            let target = Target { server: 0, transport: Transport::Udp };
            for exchange in self.proxies[proxy].flights() {
                self.transmit(exchange, Transmission { target, reason: Reason::Recovery });
            }
        }
    }
}
