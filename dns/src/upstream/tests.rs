//! The policy, event by event, on a clock of its own.

use super::*;

/// One server, which is healthy, and a clock.
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
        let exchanges: Vec<_> = (0..8).map(|_| stage.begin()).collect();
        stage.pass(1);
        for exchange in &exchanges {
            stage.answer(exchange, 0);
        }
        stage
    }

    fn begin(&mut self) -> Exchange {
        self.policy.begin(self.now, 0).0
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    /// The server answers what was sent so many milliseconds after the start.
    fn answer(&mut self, of: &Exchange, sent_at: u64) -> Option<Recovery> {
        let sent_at = self.start + Duration::from_millis(sent_at);
        self.policy.answered(of, self.now - sent_at);
        self.policy.responded(0, sent_at, self.now)
    }

    /// What is sent for the question until that time, as `101 udp loss`, while the server answers another question
    /// every 10 ms where `others` says so.
    fn sent(&mut self, exchange: &mut Exchange, until: u64, others: bool) -> Vec<String> {
        let mut sent = Vec::new();
        while self.now < self.start + Duration::from_millis(until) {
            let at = (self.now - self.start).as_millis();
            if others && at.is_multiple_of(10) {
                self.policy.begin(self.now, 0);
                self.policy.responded(0, self.now, self.now);
            }
            if let Some(Transmission { step, reason }) = self.policy.due(exchange, self.now) {
                sent.push(format!("{at} {} {reason:?}", step.transport.name()));
            }
            assert!(self.policy.wakes_at(exchange) > self.now, "it would not sleep");
            self.pass(1);
        }
        sent
    }
}

#[test]
fn losses_are_repaired_after_100_and_300_ms_the_second_time_over_tcp_and_three_times_at_most() {
    let mut stage = Stage::warm();
    let mut exchange = stage.begin();
    let sent = stage.sent(&mut exchange, 10_000, true);
    let kinds: Vec<_> = sent.iter().map(|text| text.split_once(' ').expect("a time").1).collect();
    assert_eq!(kinds, ["udp Loss", "tcp Loss", "udp Loss"], "{sent:?}");
    let times: Vec<u64> = sent.iter().filter_map(|text| text.split(' ').next()?.parse().ok()).collect();
    assert!(times[0] <= 110 && times[1] <= 320 && times[2] <= 750, "{times:?}");
}

#[test]
fn one_slow_name_says_nothing_about_the_servers() {
    let mut stage = Stage::warm();
    let mut exchange = stage.begin();
    stage.sent(&mut exchange, 5000, true);
    assert!(!stage.policy.condition(stage.now).is_down);
    assert!(stage.policy.may_refresh(stage.now));
}

#[test]
fn a_server_that_answers_nothing_gets_one_question_of_many_again() {
    let mut stage = Stage::new();
    let mut exchanges: Vec<_> = (0..20).map(|_| stage.begin()).collect();
    let mut sent = Vec::new();
    while stage.now < stage.start + PATIENCE {
        for exchange in &mut exchanges {
            if stage.policy.due(exchange, stage.now).is_some() {
                sent.push((stage.now - stage.start).as_millis());
            }
        }
        stage.pass(1);
    }
    assert_eq!(sent, [1000, 3000, 6500, 10_000, 13_500]);
}

#[test]
fn a_new_question_starts_the_timer_of_a_silent_server_again() {
    let mut stage = Stage::new();
    let mut first = stage.begin();
    assert_eq!(stage.sent(&mut first, 900, false), [""; 0]);
    stage.begin();
    assert_eq!(stage.sent(&mut first, 2500, false), ["1900 udp Timeout"]);
}

#[test]
fn new_questions_do_not_put_the_timer_off_for_ever() {
    let mut stage = Stage::new();
    let mut first = stage.begin();
    let mut sent = Vec::new();
    for hundreds in 1..60 {
        sent.extend(stage.sent(&mut first, hundreds * 100, false));
        stage.begin();
    }
    assert_eq!(sent, ["2000 udp Timeout"]);
}

#[test]
fn a_server_that_took_2_s_has_6_s_for_the_next_answer() {
    let mut stage = Stage::new();
    let slow = stage.begin();
    stage.pass(2000);
    stage.answer(&slow, 0);
    let mut exchange = stage.begin();
    let sent = stage.sent(&mut exchange, 17_000, false);
    assert_eq!(sent, ["8000 udp Timeout", "14000 udp Timeout"]);
}

#[test]
fn an_answer_to_a_later_question_shows_that_an_earlier_one_is_lost() {
    let mut stage = Stage::new();
    let (mut lost, mut again) = (stage.begin(), stage.begin());
    stage.pass(1000);
    assert!(stage.policy.due(&mut again, stage.now).is_some(), "the timer of a second");
    assert!(stage.policy.due(&mut lost, stage.now).is_none(), "one is enough");
    stage.pass(1);
    let recovery = stage.answer(&again, 1000).expect("it was silent");
    lost.recovered(recovery, stage.now);
    let sent = stage.policy.due(&mut lost, stage.now).expect("at once");
    assert_eq!(sent.reason, Reason::Recovery);
}

#[test]
fn an_answer_to_the_first_transmission_shows_that_the_server_is_slow() {
    let mut stage = Stage::new();
    let (mut waiting, mut again) = (stage.begin(), stage.begin());
    stage.pass(1000);
    assert!(stage.policy.due(&mut again, stage.now).is_some());
    stage.pass(500);
    let recovery = stage.answer(&again, 0).expect("it was silent");
    waiting.recovered(recovery, stage.now);
    assert_eq!(stage.sent(&mut waiting, 4000, false), [""; 0], "SRTT 1.5 s and four times 0.75 s");
}

#[test]
fn a_slow_server_that_answers_steadily_is_never_sent_anything_twice() {
    let mut stage = Stage::new();
    let mut waiting = Vec::new();
    let mut again = 0;
    for at in (0..60_000).step_by(100) {
        stage.now = stage.start + Duration::from_millis(at);
        waiting.push((at, stage.begin()));
        if let Some((sent_at, _)) = waiting.first().filter(|(sent_at, _)| sent_at + 4500 == at) {
            let sent_at = *sent_at;
            let (_, exchange) = waiting.remove(0);
            stage.answer(&exchange, sent_at);
        }
        for (_, exchange) in &mut waiting {
            again += usize::from(stage.policy.due(exchange, stage.now).is_some());
        }
    }
    assert!(again <= 2, "before its first answer: {again}");
}

#[test]
fn servers_are_down_after_2_s_of_asking_and_dead_after_5_and_an_answer_ends_it() {
    let mut stage = Stage::new();
    let exchange = stage.begin();
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
fn what_was_refused_is_sent_again_each_by_itself_and_then_waits_like_any_other() {
    let mut stage = Stage::new();
    let mut exchanges: Vec<_> = (0..20).map(|_| stage.begin()).collect();
    for exchange in &mut exchanges {
        assert_eq!(stage.policy.refused(exchange, 0, stage.now), None);
        assert_eq!(stage.policy.deadline(exchange), stage.start + PATIENCE_WITH_REFUSAL);
    }
    stage.pass(1000);
    for exchange in &mut exchanges {
        let sent = stage.policy.due(exchange, stage.now).expect("the server may listen now");
        assert_eq!((sent.reason, stage.policy.deadline(exchange)), (Reason::Refusal, stage.start + PATIENCE));
    }
}

/// glibc sends A and AAAA again after 5 s; the pod, of which nothing is known of the server, one of them after 1 and 3 s.
#[test]
fn a_slow_server_gets_at_most_two_packets_more_in_ten_seconds_than_directly() {
    for (takes, most) in [(1000, 0), (3000, 1), (4500, 2), (6000, 2), (8000, 1), (9500, 1)] {
        let mut stage = Stage::new();
        let mut exchanges = [stage.begin(), stage.begin()];
        let mut sent = 2;
        while stage.now < stage.start + Duration::from_millis(takes.min(9999)) {
            for exchange in &mut exchanges {
                sent += i64::from(stage.policy.due(exchange, stage.now).is_some());
            }
            stage.pass(1);
        }
        let directly = if takes > 5000 { 4 } else { 2 };
        assert!(sent - directly <= most, "{takes} ms: {sent}, directly {directly}");
    }
}
