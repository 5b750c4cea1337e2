//! A backup server, which may know other names: the pod's own nameserver beside cluster DNS.

use super::*;

const NXDOMAIN: Result<u8, Failed> = Ok(3);

/// When the primary servers count as silent, with the jitter and a millisecond of the clock.
const SILENT: std::ops::RangeInclusive<u64> = 2000..=2101;

#[tokio::test(start_paused = true)]
async fn a_slow_primary_server_is_the_only_one_queried() {
    for takes in [1, 300, 1900] {
        let setup = Setup::with_backup(
            2,
            move |target, _| if target.server == 0 { Records(takes) } else { Denies(1) },
        );
        for _ in 0..3 {
            assert_eq!(setup.exchange_of(CLUSTER_QUESTION).await, (ANSWERED, takes));
        }
        assert!(!setup.asked().contains('B'));
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_server_that_becomes_slow_is_not_left() {
    let setup = Setup::with_backup(2, |target, at| match target.server {
        0 => Records(if at < 100 { 1 } else { 600 }),
        _ => Denies(1),
    });
    for _ in 0..200 {
        assert_eq!(setup.exchange().await.0, ANSWERED);
    }
    assert!(!setup.asked().contains('B'));
}

#[tokio::test(start_paused = true)]
async fn a_primary_server_may_answer_after_a_denial_of_the_backup() {
    for takes in [2500, 4500] {
        let setup = Setup::with_backup(
            2,
            move |target, _| if target.server == 0 { Records(takes) } else { Denies(1) },
        );
        assert_eq!(setup.exchange_of(CLUSTER_QUESTION).await, (ANSWERED, takes));
        assert!(setup.asked().contains('B'));
    }
}

#[tokio::test(start_paused = true)]
async fn nxdomain_of_a_primary_server_is_final() {
    let setup = Setup::with_backup(2, |target, _| if target.server == 0 { Denies(3) } else { Records(1) });
    assert_eq!(setup.exchange().await, (NXDOMAIN, 3));
    assert_eq!(setup.asked(), "0 A");
}

#[tokio::test(start_paused = true)]
async fn a_lossy_primary_server_is_the_only_one_queried() {
    let sent = AtomicU32::new(0);
    let setup = Setup::with_backup(2, move |target, _| match target.server {
        0 if is_udp(target) && sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) => Silent,
        0 => Records(1),
        _ => Denies(1),
    });
    for _ in 0..100 {
        assert_eq!(setup.exchange_of(CLUSTER_QUESTION).await.0, ANSWERED, "{}", setup.asked());
    }
    assert!(!setup.asked().contains('B'));
}

#[tokio::test(start_paused = true)]
async fn records_of_a_backup_server_count_while_the_primary_is_silent() {
    let setup = Setup::with_backup(2, |target, _| if target.server == 0 { Silent } else { Records(1) });
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && SILENT.contains(&(took - 1)), "{took} ms");
    for _ in 0..20 {
        let (outcome, took) = setup.exchange().await;
        assert!(outcome == ANSWERED && took <= 101, "it is known to be silent: {took} ms");
        sleep(Duration::from_secs(1)).await;
    }
    assert!(!setup.condition().is_down, "somebody answers");
    let tries = setup.asked().matches('A').count();
    assert!(tries <= 10, "its return is looked for with 1 of several questions: {tries}");
}

#[tokio::test(start_paused = true)]
async fn a_recovered_primary_server_is_queried_first_again() {
    let setup = Setup::with_backup(2, |target, at| match target.server {
        0 if at < 20_000 => Silent,
        _ => Records(1),
    });
    while setup.network.start.elapsed() < Duration::from_secs(30) {
        assert_eq!(setup.exchange().await.0, ANSWERED);
        sleep(Duration::from_millis(500)).await;
    }
    setup.asked();
    assert_eq!(setup.exchange().await, (ANSWERED, 1));
    assert!(setup.asked().ends_with(" A"));
}

#[tokio::test(start_paused = true)]
async fn the_first_query_after_an_outage_finds_the_primary_server() {
    for (refuses, takes) in [(false, 1), (true, 1), (false, 300), (true, 300)] {
        let setup = Setup::with_backup(2, move |target, at| match target.server {
            0 if at < 20_000 && refuses => Refuses,
            0 if at < 20_000 => Silent,
            0 => Records(takes),
            _ => Denies(1),
        });
        for _ in 0..2 {
            assert_eq!(setup.exchange_of(CLUSTER_QUESTION).await.0, Err(Failed));
        }
        sleep(Duration::from_secs(3600)).await;
        let (outcome, took) = setup.exchange_of(CLUSTER_QUESTION).await;
        assert!(outcome == ANSWERED && took <= takes + 1, "{took} ms: {}", setup.asked());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_name_fails_while_only_the_backup_answers() {
    for (is_known, timer) in [(true, 102), (false, 1002)] {
        for does in [|| Denies(1), || Answer(1)] {
            let setup = Setup::with_backup(2, move |target, at| match target.server {
                0 if is_known && at < 10 => Records(1),
                0 => Silent,
                _ => does(),
            });
            for _ in 0..if is_known { 8 } else { 0 } {
                assert_eq!(setup.exchange_of(CLUSTER_QUESTION).await, (ANSWERED, 1));
            }
            sleep(Duration::from_millis(10)).await;
            assert_eq!(setup.exchange_of(CLUSTER_QUESTION).await, (Err(Failed), 5000));
            let (outcome, took) = setup.exchange_of(CLUSTER_QUESTION).await;
            assert!(outcome == Err(Failed) && took <= timer, "its timer, and no longer: {took} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nodata_of_a_backup_counts_for_outside_names_only() {
    let setup = Setup::with_backup(2, |target, _| if target.server == 0 { Silent } else { Answer(1) });
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && SILENT.contains(&(took - 1)), "{took} ms");
    let setup = Setup::with_backup(2, |target, _| if target.server == 0 { Silent } else { Denies(1) });
    assert_eq!(setup.exchange().await, (Err(Failed), 5000));
}

#[tokio::test(start_paused = true)]
async fn a_failing_primary_server_sends_the_query_on_immediately() {
    for does in [|| Fails(1), || Refuses] {
        let setup =
            Setup::with_backup(2, move |target, _| if target.server == 0 { does() } else { Records(1) });
        for _ in 0..5 {
            let (outcome, took) = setup.exchange().await;
            assert!(outcome == ANSWERED && took <= 2, "{took} ms");
        }
    }
    let setup = Setup::with_backup(2, |target, _| if target.server == 0 { Fails(1) } else { Denies(1) });
    assert_eq!(setup.exchange().await, (SERVFAIL, 2), "the first has not denied it");
}

#[tokio::test(start_paused = true)]
async fn a_refusing_primary_server_is_waited_for_once() {
    let setup = Setup::with_backup(2, |target, at| match target.server {
        0 if at < 900 => Refuses,
        0 => Records(1),
        _ => Denies(1),
    });
    let (outcome, took) = setup.exchange_of(CLUSTER_QUESTION).await;
    assert!(outcome == ANSWERED && (1000..=1000 + JITTER).contains(&took), "it restarts: {took} ms");
    let setup = Setup::with_backup(2, |target, _| if target.server == 0 { Refuses } else { Denies(1) });
    let (outcome, took) = setup.exchange_of(CLUSTER_QUESTION).await;
    assert!(outcome == Err(Failed) && took <= 1000 + JITTER, "{took} ms");
    let (outcome, took) = setup.exchange_of(CLUSTER_QUESTION).await;
    assert!(outcome == Err(Failed) && took <= 2, "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_failing_second_server_leaves_the_query_with_the_first() {
    let setup = Setup::new(2, |target, at| match target.server {
        0 if at == 0 => Silent,
        0 => Answer(1),
        _ => Fails(1),
    });
    let (outcome, took) = setup.exchange().await;
    assert!(outcome == ANSWERED && took < 4000, "{took} ms: {}", setup.asked());
    assert_eq!(setup.asked().matches('B').count(), 1, "it has said that it cannot");
}
