//! The check whether a silent tier is alive, as in the sidecar's `upstream/probe.rs`.

use std::time::Instant;

use podlocal_dns::upstream::guard::{GuardAction, PROBE_TIMEOUT};
use podlocal_dns::upstream::liveness::Finding;

use super::proxy::{Exchange, Proxy};
use super::{Event, Model, Origin, Query};

/// The number of queries in a check.
const CHECKS: usize = 5;

impl Model {
    /// Handles a silent tier. Returns whether another server is used instead.
    pub(super) fn check_tier(&mut self, exchange: usize) -> bool {
        let (now, chance) = (self.now, self.random.u16(..));
        let Exchange { proxy, guard: Some(guard), .. } = &mut self.exchanges[exchange] else { return false };
        let (proxy, liveness) = (*proxy, &mut self.proxies[*proxy].liveness);
        if let Some(GuardAction::Leave(server)) = guard.due_action(liveness, now, chance) {
            self.leave(exchange, server);
            return true;
        }
        self.begin_check(proxy);
        false
    }

    /// Starts a check of the tier, if it is needed and none is in flight.
    pub(super) fn begin_check(&mut self, proxy: usize) {
        let (now, state) = (self.now, &mut self.proxies[proxy]);
        if state.check.is_some() || state.liveness.begin_probe(now).is_none() {
            return;
        }
        state.check = Some((now, 0));
        // The name does not matter.
        let (origin, question) = (Origin::Check(proxy), self.plan[0][0][0]);
        for _ in 0..CHECKS {
            let server = self.tier_server(proxy);
            self.send(Query { origin, question, server, is_tcp: false, sent_at: now });
        }
        self.schedule(now + PROBE_TIMEOUT, Event::CheckEnds { proxy, began: now });
    }

    /// A query of a check is answered.
    pub(super) fn check_answered(&mut self, proxy: usize, query: usize, is_good: bool) {
        let sent_at = self.queries[query].sent_at;
        if let Some((began, answered)) = &mut self.proxies[proxy].check
            && *began == sent_at
        {
            *answered += usize::from(is_good);
            if *answered == CHECKS {
                self.end_check(proxy, sent_at);
            }
        }
    }

    pub(super) fn end_check(&mut self, proxy: usize, began: Instant) {
        let Proxy { check, liveness, policy: Some(policy), .. } = &mut self.proxies[proxy] else { return };
        let Some((_, answered)) = check.take_if(|(at, _)| *at == began) else { return };
        let finding = Finding::of(answered, CHECKS);
        liveness.end_probe(0, finding);
        policy.record_probe(0, finding, began, self.now);
        self.begin_check(proxy);
    }
}
