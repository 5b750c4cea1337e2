//! The policy, event by event, with a clock of the test.

use super::*;

/// One healthy server, and a clock.
struct Stage {
    policy: Policy,
    start: Instant,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        let setup = Setup { servers: 1, tier: 0, backup: 0, transport: UpstreamTransport::Auto };
        let start = Instant::now();
        Self { policy: Policy::new(setup), start, now: start }
    }

    /// The server has answered often enough, each time within a millisecond.
    fn warm() -> Self {
        let mut stage = Self::new();
        let exchanges: Vec<_> = (0..8).map(|_| stage.begin_exchange()).collect();
        stage.pass(1);
        for exchange in &exchanges {
            stage.answer(exchange, 0);
        }
        stage
    }

    fn begin_exchange(&mut self) -> Exchange {
        self.policy.begin_exchange(None, self.now, 0).0
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    /// The server answers what was sent so many milliseconds after the start.
    fn answer(&mut self, of: &Exchange, sent_at: u64) -> Option<Recovery> {
        let sent_at = self.start + Duration::from_millis(sent_at);
        self.policy.record_answer(of, self.now - sent_at);
        self.policy.record_response(0, sent_at, self.now)
    }

    /// The transmissions of an exchange until that time, as `101 udp Loss`, while the server answers another
    /// query every 10 ms if `others` is set.
    fn sent(&mut self, exchange: &mut Exchange, until: u64, others: bool) -> Vec<String> {
        let mut sent = Vec::new();
        while self.now < self.start + Duration::from_millis(until) {
            let at = (self.now - self.start).as_millis();
            if others && at.is_multiple_of(10) {
                self.policy.begin_exchange(None, self.now, 0);
                self.policy.record_response(0, self.now, self.now);
            }
            if let Some(Transmission { target, reason }) = self.policy.due_transmission(exchange, self.now) {
                sent.push(format!("{at} {} {reason:?}", target.transport.name()));
            }
            assert!(self.policy.wakes_at(exchange) > self.now, "it would not sleep");
            self.pass(1);
        }
        sent
    }
}

#[test]
fn losses_are_retransmitted_three_times_the_second_over_tcp() {
    let mut stage = Stage::warm();
    let mut exchange = stage.begin_exchange();
    let sent = stage.sent(&mut exchange, 10_000, true);
    let reasons: Vec<_> = sent.iter().map(|text| text.split_once(' ').expect("a time").1).collect();
    assert_eq!(reasons, ["udp Loss", "tcp Loss", "udp Loss"], "{sent:?}");
    let times: Vec<u64> = sent.iter().filter_map(|text| text.split(' ').next()?.parse().ok()).collect();
    assert!(times[0] <= 110 && times[1] <= 320 && times[2] <= 750, "{times:?}");
}

#[test]
fn one_slow_name_does_not_make_the_servers_down() {
    let mut stage = Stage::warm();
    let mut exchange = stage.begin_exchange();
    stage.sent(&mut exchange, 5000, true);
    assert!(!stage.policy.condition(stage.now).is_down);
    assert!(stage.policy.may_refresh(stage.now));
}

#[test]
fn a_silent_server_gets_one_retransmission_of_many_queries() {
    let mut stage = Stage::new();
    let mut exchanges: Vec<_> = (0..20).map(|_| stage.begin_exchange()).collect();
    let mut sent = Vec::new();
    while stage.now < stage.start + EXCHANGE_TIMEOUT {
        for exchange in &mut exchanges {
            if stage.policy.due_transmission(exchange, stage.now).is_some() {
                sent.push((stage.now - stage.start).as_millis());
            }
        }
        stage.pass(1);
    }
    assert_eq!(sent, [1000, 3000, 6500, 10_000, 13_500]);
}

#[test]
fn a_new_query_restarts_the_timer_of_a_silent_server() {
    let mut stage = Stage::new();
    let mut first = stage.begin_exchange();
    assert_eq!(stage.sent(&mut first, 900, false), [""; 0]);
    stage.begin_exchange();
    assert_eq!(stage.sent(&mut first, 2500, false), ["1900 udp Timeout"]);
}

#[test]
fn new_queries_do_not_postpone_the_timer_for_ever() {
    let mut stage = Stage::new();
    let mut first = stage.begin_exchange();
    let mut sent = Vec::new();
    for hundreds in 1..60 {
        sent.extend(stage.sent(&mut first, hundreds * 100, false));
        stage.begin_exchange();
    }
    assert_eq!(sent, ["2000 udp Timeout"]);
}

#[test]
fn a_server_that_took_2_s_has_6_s_for_the_next_answer() {
    let mut stage = Stage::new();
    let slow = stage.begin_exchange();
    stage.pass(2000);
    stage.answer(&slow, 0);
    let mut exchange = stage.begin_exchange();
    let sent = stage.sent(&mut exchange, 17_000, false);
    assert_eq!(sent, ["8000 udp Timeout", "14000 udp Timeout"]);
}

#[test]
fn an_answer_to_a_later_query_shows_that_an_earlier_one_is_lost() {
    let mut stage = Stage::new();
    let (mut lost, mut again) = (stage.begin_exchange(), stage.begin_exchange());
    stage.pass(1000);
    assert!(stage.policy.due_transmission(&mut again, stage.now).is_some(), "the timer of a second");
    assert!(stage.policy.due_transmission(&mut lost, stage.now).is_none(), "one is enough");
    stage.pass(1);
    let recovery = stage.answer(&again, 1000).expect("it was silent");
    lost.note_recovery(recovery, stage.now);
    let sent = stage.policy.due_transmission(&mut lost, stage.now).expect("at once");
    assert_eq!(sent.reason, Reason::Recovery);
}

#[test]
fn an_answer_to_the_first_transmission_shows_that_the_server_is_slow() {
    let mut stage = Stage::new();
    let (mut waiting, mut again) = (stage.begin_exchange(), stage.begin_exchange());
    stage.pass(1000);
    assert!(stage.policy.due_transmission(&mut again, stage.now).is_some());
    stage.pass(500);
    let recovery = stage.answer(&again, 0).expect("it was silent");
    waiting.note_recovery(recovery, stage.now);
    assert_eq!(stage.sent(&mut waiting, 4000, false), [""; 0], "SRTT 1.5 s and four times 0.75 s");
}

#[test]
fn a_slow_but_steady_server_gets_no_retransmissions() {
    let mut stage = Stage::new();
    let mut waiting = Vec::new();
    let mut again = 0;
    for at in (0..60_000).step_by(100) {
        stage.now = stage.start + Duration::from_millis(at);
        waiting.push((at, stage.begin_exchange()));
        if let Some((sent_at, _)) = waiting.first().filter(|(sent_at, _)| sent_at + 4500 == at) {
            let sent_at = *sent_at;
            let (_, exchange) = waiting.remove(0);
            stage.answer(&exchange, sent_at);
        }
        for (_, exchange) in &mut waiting {
            again += usize::from(stage.policy.due_transmission(exchange, stage.now).is_some());
        }
    }
    assert!(again <= 2, "before its first answer: {again}");
}

#[test]
fn silent_servers_are_down_after_2_s_and_dead_after_5_s() {
    let mut stage = Stage::new();
    let exchange = stage.begin_exchange();
    for (milliseconds, is_down, is_dead) in [(1999, false, false), (1, true, false), (3000, true, true)] {
        stage.pass(milliseconds);
        let condition = stage.policy.condition(stage.now);
        assert_eq!((condition.is_down, condition.is_dead), (is_down, is_dead));
    }
    stage.answer(&exchange, 0);
    assert_eq!(
        stage.policy.condition(stage.now),
        Condition { last_response: Some(stage.now), ..Condition::default() }
    );
}

#[test]
fn each_refused_query_is_retransmitted_by_itself() {
    let mut stage = Stage::new();
    let mut exchanges: Vec<_> = (0..20).map(|_| stage.begin_exchange()).collect();
    for exchange in &mut exchanges {
        assert_eq!(stage.policy.next_after_refusal(exchange, 0, stage.now), None);
        assert_eq!(stage.policy.deadline(exchange), stage.start + REFUSED_TIMEOUT);
    }
    stage.pass(1000);
    for exchange in &mut exchanges {
        let sent = stage.policy.due_transmission(exchange, stage.now).expect("the server may listen now");
        assert_eq!(
            (sent.reason, stage.policy.deadline(exchange)),
            (Reason::Refusal, stage.start + EXCHANGE_TIMEOUT)
        );
    }
}

/// glibc retransmits A and AAAA after 5 s; the pod, which knows nothing of the server, retransmits one of
/// them after 1 and 3 s.
#[test]
fn a_slow_server_gets_at_most_two_extra_packets_in_ten_seconds() {
    for (takes, most) in [(1000, 0), (3000, 1), (4500, 2), (6000, 2), (8000, 1), (9500, 1)] {
        let mut stage = Stage::new();
        let mut exchanges = [stage.begin_exchange(), stage.begin_exchange()];
        let mut sent = 2;
        while stage.now < stage.start + Duration::from_millis(takes.min(9999)) {
            for exchange in &mut exchanges {
                sent += i64::from(stage.policy.due_transmission(exchange, stage.now).is_some());
            }
            stage.pass(1);
        }
        let directly = if takes > 5000 { 4 } else { 2 };
        assert!(sent - directly <= most, "{takes} ms: {sent}, directly {directly}");
    }
}
