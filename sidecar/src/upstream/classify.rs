//! The kind of a response: answer, failure, truncated, denial.

use podlocal_dns::key::Key;
use podlocal_dns::upstream::backup::BackupAnswer;
use podlocal_dns::upstream::{Target, Transport};
use podlocal_dns::wire::{self, Flags, Message, Rcode};
use tokio::time::Instant;

use super::state::State;
use crate::metrics::AttemptResult;

/// The kind of a server's response to the question of that key; not every answer of a backup server counts.
pub fn classify_from(
    state: &State,
    key: &Key,
    target: Target,
    response: &[u8],
    now: Instant,
) -> AttemptResult {
    let result = classify(response, target.transport);
    if result != AttemptResult::Answer || !state.setup.is_backup(target.server) {
        return result;
    }
    let is_cluster_name = wire::end_at(key.name(), &state.zone).is_some();
    let answer = backup_answer(response, is_cluster_name);
    let is_believed = state.lock().policy.accepts_backup_answer(answer, now.into_std());
    if is_believed { AttemptResult::Answer } else { AttemptResult::NegativeIgnored }
}

/// The kind of a response, without its OPT record ([`super::outgoing::without_opt`]), by itself: for any
/// RCODE but NOERROR and NXDOMAIN another server may know better.
pub fn classify(response: &[u8], transport: Transport) -> AttemptResult {
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

/// The kind of answer that a backup server has given.
///
/// | RCODE | answer records | kind |
/// |---|---|---|
/// | NXDOMAIN | any number: an alias of a name that does not exist | NXDOMAIN |
/// | NOERROR | none | NODATA |
/// | NOERROR | some | records |
fn backup_answer(response: &[u8], is_cluster_name: bool) -> BackupAnswer {
    let message = Message::new(response);
    match message.map(|message| (message.flags().rcode(), message.record_counts())) {
        Some((Rcode::NO_ERROR, [0, ..])) => BackupAnswer::NoData { is_cluster_name },
        Some((Rcode::NO_ERROR, _)) => BackupAnswer::Records,
        _ => BackupAnswer::NxDomain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_classified_by_its_rcode_and_by_tc_over_udp() {
        use AttemptResult::{Answer, Failure, Truncated};
        for (flags, udp, tcp) in [
            (0x8180_u16, Answer, Answer),
            (0x8183, Answer, Answer),
            (0x8380, Truncated, Answer),
            (0x8382, Failure, Failure),
            (0x8181, Failure, Failure),
            (0x8185, Failure, Failure),
        ] {
            let results = Transport::ALL.map(|transport| classify(&message(flags, 0), transport));
            assert_eq!(results, [udp, tcp], "{flags:04x}");
        }
        assert_eq!(classify(&[0; 11], Transport::Udp), Failure);
    }

    #[test]
    fn answers_of_backup_servers_are_records_nodata_or_nxdomain() {
        for is_cluster_name in [true, false] {
            let answer = |flags, records| backup_answer(&message(flags, records), is_cluster_name);
            assert_eq!(answer(0x8180, 1), BackupAnswer::Records);
            assert_eq!(answer(0x8180, 0), BackupAnswer::NoData { is_cluster_name });
            assert_eq!(answer(0x8183, 0), BackupAnswer::NxDomain);
            assert_eq!(answer(0x8183, 1), BackupAnswer::NxDomain);
        }
    }

    fn message(flags: u16, answers: u16) -> Vec<u8> {
        let mut message = vec![0; wire::HEADER_LENGTH];
        wire::put_header(&mut message, 1, Flags(flags));
        wire::put_counts(&mut message, 0, [answers, 0, 0]);
        message
    }
}
