//! What a response is worth.

use podlocal_dns::upstream::backup::Answer;
use podlocal_dns::upstream::{Step, Transport};
use tokio::time::Instant;

use super::state::State;
use crate::cache::key::Key;
use crate::metrics::AttemptResult;
use crate::wire::{self, Flags, Message, Rcode};

/// What that server's response to the question of that key is worth: a backup server is not believed everything.
pub fn judge_of(state: &State, key: &Key, step: Step, response: &[u8], now: Instant) -> AttemptResult {
    let result = judge(response, step.transport);
    if result != AttemptResult::Answer || !state.is_backup(step.server) {
        return result;
    }
    let is_cluster_name = wire::end_at(key.name(), state.zone()).is_some();
    let is_believed = state.is_believed(backup_answer(response, is_cluster_name), now);
    if is_believed { AttemptResult::Answer } else { AttemptResult::NegativeIgnored }
}

/// What a response, without its OPT record ([`super::question::whole`]), says of itself: everything but NOERROR and NXDOMAIN may be known better by another server.
pub fn judge(response: &[u8], transport: Transport) -> AttemptResult {
    let Some(message) = Message::new(response) else { return AttemptResult::Failure };
    let flags = message.flags();
    if !matches!(flags.rcode(), Rcode::NO_ERROR | Rcode::NXDOMAIN) {
        AttemptResult::Failure
    } else if flags.has(Flags::TC) && transport == Transport::Udp {
        AttemptResult::Truncated
    } else {
        AttemptResult::Answer
    }
}

/// What a backup server has answered.
///
/// | RCODE | answer records | it is |
/// |---|---|---|
/// | NXDOMAIN | any: an alias of a name that does not exist | no name |
/// | NOERROR | none | no data |
/// | NOERROR | some | records |
fn backup_answer(response: &[u8], is_cluster_name: bool) -> Answer {
    let message = Message::new(response);
    match message.map(|message| (message.flags().rcode(), message.record_counts())) {
        Some((Rcode::NO_ERROR, [0, ..])) => Answer::NoData { is_cluster_name },
        Some((Rcode::NO_ERROR, _)) => Answer::Records,
        _ => Answer::NoName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_judged_by_its_rcode_and_by_tc_over_udp() {
        use AttemptResult::{Answer, Failure, Truncated};
        for (flags, udp, tcp) in [
            (0x8180_u16, Answer, Answer),
            (0x8183, Answer, Answer),
            (0x8380, Truncated, Answer),
            (0x8382, Failure, Failure),
            (0x8181, Failure, Failure),
            (0x8185, Failure, Failure),
        ] {
            let results = Transport::ALL.map(|transport| judge(&message(flags, 0), transport));
            assert_eq!(results, [udp, tcp], "{flags:04x}");
        }
        assert_eq!(judge(&[0; 11], Transport::Udp), Failure);
    }

    #[test]
    fn what_a_backup_server_says_is_records_no_data_or_no_name() {
        for is_cluster_name in [true, false] {
            let answer = |flags, records| backup_answer(&message(flags, records), is_cluster_name);
            assert_eq!(answer(0x8180, 1), Answer::Records);
            assert_eq!(answer(0x8180, 0), Answer::NoData { is_cluster_name });
            assert_eq!(answer(0x8183, 0), Answer::NoName);
            assert_eq!(answer(0x8183, 1), Answer::NoName);
        }
    }

    fn message(flags: u16, answers: u16) -> Vec<u8> {
        let mut message = vec![0; wire::HEADER_LENGTH];
        wire::put_header(&mut message, 1, Flags(flags));
        wire::put_counts(&mut message, 0, [answers, 0, 0]);
        message
    }
}
