//! Exchanges that query the shared tier first.

use super::*;

/// The tier is A, the upstream B.
fn tier<S: Fn(Target, u64) -> Does + Send + Sync + 'static>(checks: u32, script: S) -> Setup<S> {
    Setup::with_tier(1, 2, checks, script)
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_answers_is_queried_once_and_the_upstream_never() {
    let setup = tier(0, |target, _| if target.server == 0 { Answer(140) } else { Answer(1) });
    assert_eq!(setup.exchange().await, (ANSWERED, 140));
    assert_eq!(setup.asked(), "0 A");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_costs_one_upstream_query_and_no_tokens() {
    let setup = tier(0, |target, _| if target.server == 0 { Refuses } else { Answer(1) });
    while setup.state.try_spend_token() {}
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert_eq!(setup.asked(), "0 A, 0 B");
    let setup = tier(0, |target, _| if target.server == 0 { Fails(2) } else { Answer(1) });
    while setup.state.try_spend_token() {}
    assert_eq!(setup.exchange().await, (ANSWERED, 3));
    assert_eq!(setup.asked(), "0 A, 2 B");
}

#[tokio::test(start_paused = true)]
async fn a_dead_tier_is_left_within_the_first_pause_and_ejected() {
    let setup = tier(0, |target, _| if target.server == 0 { Silent } else { Answer(1) });
    while setup.state.try_spend_token() {}
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && (251..=301).contains(&took), "{took} ms");
    assert_eq!(setup.asked().matches("(A)").count(), 5, "checked by five questions");
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert!(setup.asked().ends_with(" B") && !setup.condition().is_down);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_queries_to_a_dead_tier_are_answered_by_the_upstream() {
    let setup = tier(0, |target, _| if target.server == 0 { Silent } else { Answer(1) });
    let mut waiting = JoinSet::new();
    (0..1000).for_each(|_| drop(waiting.spawn(setup.exchange())));
    for (outcome, took) in waiting.join_all().await {
        assert!(outcome == ANSWERED && took <= 301, "{took} ms");
    }
    let asked = setup.asked();
    let times: Vec<_> = asked.split(", ").filter(|text| text.ends_with(" B")).collect();
    let instants: std::collections::BTreeSet<_> = times.iter().collect();
    assert!(times.len() == 1000 && instants.len() > 25, "{} spread over {}", times.len(), instants.len());
    assert_eq!(asked.matches("(A)").count(), 5, "one check for all");
}

#[tokio::test(start_paused = true)]
async fn a_slow_live_tier_is_waited_for() {
    let setup = tier(u32::MAX, |_, _| Answer(2000));
    let mut waiting = JoinSet::new();
    (0..5).for_each(|_| drop(waiting.spawn(setup.exchange())));
    assert!(waiting.join_all().await.into_iter().all(|outcome| outcome == (ANSWERED, 2000)));
    let asked = setup.asked();
    assert!(!asked.contains('B'), "{asked}");
    let again = asked.split(", ").filter(|text| !text.contains('(')).count() - 5;
    assert_eq!(again, 1, "it may have lost a question: {asked}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_does_not_end_a_query_in_flight_at_the_tier() {
    let setup = tier(u32::MAX, |target, _| if is_udp(target) { Answer(2000) } else { Refuses });
    for _ in 0..3 {
        assert_eq!(setup.exchange().await, (ANSWERED, 2000));
    }
    let asked = setup.asked();
    assert!(!asked.contains('B'), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_dies_after_a_good_probe_is_left_without_tokens() {
    let setup = tier(5, |target, _| if target.server == 0 { Silent } else { Answer(1) });
    while setup.state.try_spend_token() {}
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && (700..=901).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn cluster_dns_is_queried_in_time_after_two_dead_tier_servers() {
    let setup = Setup::with_tier(2, 3, 0, |target, _| if target.server < 2 { Silent } else { Answer(1) });
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && took <= 701, "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_slow_cluster_dns_is_waited_for_after_a_dead_tier() {
    for dead in [|| Silent, || Refuses] {
        let setup = tier(0, move |target, _| if target.server == 0 { dead() } else { Answer(3000) });
        let (outcome, took) = setup.exchange().await;
        assert!(outcome == ANSWERED && (3000..=3301).contains(&took), "{took} ms");
        let setup = tier(0, move |target, _| if target.server == 0 { dead() } else { Silent });
        assert_eq!(setup.exchange().await, (Err(Failed), 15_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_with_one_dead_replica_is_left_and_not_ejected() {
    let setup = tier(2, |target, _| if target.server == 0 { Silent } else { Answer(1) });
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && took <= 301, "{took} ms");
    setup.asked();
    assert_eq!(setup.exchange().await.0, ANSWERED);
    assert!(setup.asked().contains(" A, "), "it is asked first");
}

#[tokio::test(start_paused = true)]
async fn a_live_tier_that_never_answers_is_bypassed_query_by_query() {
    let setup = tier(u32::MAX, |target, _| if target.server == 0 { Silent } else { Answer(1) });
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && (3000..=3000 + 2 * JITTER).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_recovered_tier_is_used_again_within_ten_seconds() {
    let setup = tier(u32::MAX, |target, at| match target.server {
        0 if at < 30_000 => Refuses,
        _ => Answer(1),
    });
    for _ in 0..40 {
        assert_eq!(setup.exchange().await, (ANSWERED, 1));
        sleep(Duration::from_secs(1)).await;
    }
    setup.asked();
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert!(setup.asked().ends_with(" A"));
}

#[tokio::test(start_paused = true)]
async fn answers_truncated_by_a_tier_without_tcp_come_from_the_upstream() {
    for (refuses, first) in [(true, 1), (false, 1001)] {
        let setup = tier(u32::MAX, move |target, _| match (target.server, target.transport) {
            (0, Transport::Udp) => Truncates,
            (0, Transport::Tcp) if refuses => Refuses,
            (0, Transport::Tcp) => Silent,
            _ => Answer(1),
        });
        for took in [first, first, 1, 1] {
            assert_eq!(setup.exchange().await, (ANSWERED, took));
            assert!(setup.asked().ends_with(" B"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_of_a_sole_tier_without_tcp_is_returned() {
    for (refuses, first) in [(true, 0), (false, 1000)] {
        let setup = Setup::with_tier(1, 1, u32::MAX, move |target, _| match target.transport {
            Transport::Udp => Truncates,
            Transport::Tcp if refuses => Refuses,
            Transport::Tcp => Silent,
        });
        for took in [first, first, 0] {
            assert_eq!(setup.exchange().await, (ANSWERED, took));
        }
    }
}
