//! What an exchange does about a silent server of the shared tier.

use podlocal_dns::upstream::guard::GuardAction;
use podlocal_dns::upstream::liveness::Finding;
use podlocal_dns::upstream::{Target, Transport};
use tokio::time::Instant;

use super::{Outcome, Race};
use crate::metrics::FallbackReason;
use crate::upstream::network::Network;
use crate::upstream::random;

impl<N: Network> Race<'_, N> {
    /// Does what the guard says about a silent server of the tier. Returns whether another server was queried
    /// in its place.
    pub(super) fn guard_tier(&mut self, now: Instant) -> bool {
        let Some(guard) = &mut self.begun.guard else { return false };
        match guard.due_action(now.into_std()) {
            Some(GuardAction::Probe { server, since }) => self.state.request_probe(server, since),
            Some(GuardAction::Leave { server, unless_alive_since }) => {
                let finding = self.state.lock().liveness.finding(server, unless_alive_since);
                match finding {
                    Some(Finding::Alive) => **guard = guard.rearmed(now.into_std(), random::chance()),
                    None if guard.postpone(now.into_std()) => {
                        self.state.request_probe(server, unless_alive_since);
                    }
                    _ => {
                        self.leave(server, FallbackReason::Timeout, now);
                        return true;
                    }
                }
            }
            None => {}
        }
        false
    }

    /// Leaves a server of the shared tier whose TCP connection has brought nothing of the truncated answer.
    /// Any other server ends the exchange.
    pub(super) fn leave_tier_without_tcp(&mut self, now: Instant) -> Option<Outcome> {
        let is_tcp_to_tier = |Target { server, transport }: &Target| {
            *transport == Transport::Tcp && self.state.is_tier_server(*server)
        };
        let tcp = self.attempts.0.iter().map(|attempt| attempt.sent.target).find(is_tcp_to_tier);
        let Some(Target { server, .. }) = tcp else { return Some(self.give_up(now)) };
        self.state.record_tcp_fetch(server, false, now);
        self.settles_at = None;
        self.drop_attempts(now, |of| of == server);
        self.leave(server, FallbackReason::Timeout, now)
    }
}
