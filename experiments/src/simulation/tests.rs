//! Tests the law for the policy, with gangs around the knee of cluster DNS, and compares the simulation with
//! measurements on a real cluster.

use std::time::Duration;

use podlocal_harness::table::percentile;

use super::Arm;
use super::gang::{Gang, Outcome};
use super::model::simulate;
use super::plan::questions;
use super::server::Capacity;

/// A cluster DNS that needs this number of seconds for the queries of the gang's sidecars, each sent once.
fn cluster_dns(pods: usize, seconds: f64) -> Capacity {
    Capacity::that_answers(pods as u32 * questions(Arm::Sidecars), Duration::from_secs_f64(seconds))
}

/// The same capacity with a socket that drops nothing.
const fn without_loss(capacity: Capacity) -> Capacity {
    Capacity { buffer: usize::MAX, ..capacity }
}

const fn in_any_order(capacity: Capacity) -> Capacity {
    Capacity { is_fifo: false, ..capacity }
}

fn run(arm: Arm, pods: usize, capacity: Capacity) -> Outcome {
    simulate(&Gang::new(arm, pods, capacity))
}

fn last(outcome: &Outcome) -> f64 {
    outcome.pod_seconds.last().copied().expect("pods")
}

/// Percentiles of lookups and of pods.
fn percentiles(outcome: &Outcome) -> [f64; 4] {
    let Outcome { lookup_seconds, pod_seconds, .. } = outcome;
    [(lookup_seconds, 0.5), (lookup_seconds, 0.99), (pod_seconds, 0.5), (pod_seconds, 0.99)]
        .map(|(seconds, share)| percentile(seconds, share))
}

/// The sizes and seconds of work of the grid.
fn grid() -> impl Iterator<Item = (usize, f64)> {
    [20, 100, 1000]
        .into_iter()
        .flat_map(|pods| [0.2, 1.0, 2.0, 4.0, 8.0, 12.0].map(|seconds| (pods, seconds)))
}

#[test]
fn with_the_policy_a_gang_is_never_worse_off_than_direct() {
    for (pods, seconds) in grid() {
        let capacity = cluster_dns(pods, seconds);
        for capacity in [capacity, in_any_order(capacity), without_loss(capacity)] {
            let direct = run(Arm::Direct, pods, capacity);
            for arm in [Arm::Sidecars, Arm::Tier] {
                let ours = run(arm, pods, capacity);
                let case = format!("{pods} pods, {seconds} s, {arm:?}, {capacity:?}");
                assert!(ours.failed <= direct.failed, "{case}: {} > {}", ours.failed, direct.failed);
                assert!(ours.queries <= direct.queries, "{case}: {} > {}", ours.queries, direct.queries);
                let [ours, direct] = [&ours, &direct].map(|outcome| {
                    let [_, _, half, nearly_all] = percentiles(outcome);
                    [half, nearly_all]
                });
                // A hop over the loopback, or to the tier and back, is a negligible delay.
                let is_as_quick = ours.iter().zip(&direct).all(|(ours, direct)| *ours <= direct + 0.002);
                assert!(is_as_quick, "{case}: {ours:?}, direct {direct:?}");
            }
        }
    }
}

#[test]
fn a_gang_takes_no_longer_than_one_pass_over_its_questions() {
    for (pods, seconds) in grid() {
        let capacity = without_loss(cluster_dns(pods, seconds));
        let once = run(Arm::Once, pods, capacity);
        assert_eq!(once.queries, pods as u64 * u64::from(questions(Arm::Once)));
        let ours = run(Arm::Sidecars, pods, capacity);
        let [elapsed, needed] = [&ours, &once].map(last);
        println!("{pods} pods, {seconds} s: {elapsed:.2} s, {needed:.2} s needed, {} queries", ours.queries);
        assert!(elapsed <= needed * 1.1, "{pods} pods, {seconds} s: {elapsed} s, needed: {needed} s");
        assert_eq!(ours.failed, 0);
    }
}

#[test]
fn datagrams_lost_in_the_first_burst_cost_one_timer() {
    for (pods, seconds) in [(1000, 2.0), (1000, 4.0)] {
        let capacity = cluster_dns(pods, seconds);
        let [ours, once] = [run(Arm::Sidecars, pods, capacity), run(Arm::Once, pods, capacity)];
        assert!(ours.dropped > 100, "{}", ours.dropped);
        let [elapsed, needed] = [&ours, &once].map(last);
        println!("{pods} pods, {seconds} s: {elapsed:.2} s, {needed:.2} s needed, {} dropped", ours.dropped);
        assert!(elapsed <= needed * 1.1 + 1.1, "{pods} pods, {seconds} s: {elapsed} s, needed: {needed} s");
    }
}

#[test]
fn each_arm_asks_what_its_plan_says_and_the_tier_once_for_each_replica() {
    let queries = |arm| run(arm, 50, Capacity::CORE_DNS).queries;
    assert_eq!(Arm::ALL.map(queries), [1000, 700, 400, 16, 400]);
    let four_replicas = Gang { tier_replicas: 4, ..Gang::new(Arm::Tier, 50, Capacity::CORE_DNS) };
    assert_eq!(simulate(&four_replicas).queries, 32);
}

#[test]
fn sidecars_retransmit_lost_datagrams_long_before_resolvers_do() {
    let with_loss = |arm| simulate(&Gang { loss: 0.1, ..Gang::new(arm, 100, Capacity::CORE_DNS) });
    let [direct, ours, tier] = [Arm::Direct, Arm::Sidecars, Arm::Tier].map(with_loss);
    assert!(direct.failed >= 10, "{}", direct.failed);
    for outcome in [ours, tier] {
        let [_, of_lookups, median, _] = percentiles(&outcome);
        assert!(of_lookups < 10.0 && median < 2.5, "{outcome:?}");
        assert!(outcome.failed * 10 <= direct.failed, "{} {}", outcome.failed, direct.failed);
    }
}

#[test]
fn sidecars_bypass_an_unresponsive_tier() {
    let deaf = Capacity { buffer: 0, ..Capacity::TIER };
    let outcome = simulate(&Gang { tier: deaf, ..Gang::new(Arm::Tier, 50, Capacity::CORE_DNS) });
    assert_eq!((outcome.failed, outcome.queries), (0, 400));
    assert!(last(&outcome) < 0.5, "{outcome:?}");
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let gang = Gang { loss: 0.1, seed: 7, ..Gang::new(Arm::Tier, 100, in_any_order(cluster_dns(100, 2.0))) };
    let both = [simulate(&gang), simulate(&gang)];
    assert_eq!((both[0].queries, &both[0].pod_seconds), (both[1].queries, &both[1].pod_seconds));
}

/// Measured with `gang --cluster` and 80 pods, one run: the CPU limit of CoreDNS in millicores, the queries, and
/// the time until 99 % of the pods had all their answers, in seconds. No lookup failed. Without a limit the pods
/// wait for their machine, which is not simulated.
const MEASURED: [(Arm, u32, f64, f64); 12] = [
    (Arm::Direct, 10, 1606.0, 27.08),
    (Arm::Sidecars, 10, 787.0, 16.55),
    (Arm::Tier, 10, 16.0, 0.73),
    (Arm::Direct, 20, 1600.0, 11.67),
    (Arm::Sidecars, 20, 723.0, 5.50),
    (Arm::Tier, 20, 16.0, 0.58),
    (Arm::Direct, 50, 1600.0, 3.56),
    (Arm::Sidecars, 50, 652.0, 1.60),
    (Arm::Tier, 50, 14.0, 0.36),
    (Arm::Direct, 100, 1600.0, 1.71),
    (Arm::Sidecars, 100, 634.0, 0.72),
    (Arm::Tier, 100, 15.0, 0.20),
];

#[test]
fn the_simulation_agrees_with_the_real_cluster() {
    for (arm, millicores, real_queries, real_p99) in MEASURED {
        let model = run(arm, 80, Capacity::with_limit(millicores));
        let (queries, p99) = (model.queries as f64, percentile(&model.pod_seconds, 0.99));
        let case = format!(
            "{arm:?} with {millicores} millicores: {queries} queries, p99 {p99:.2} s; really {real_queries} and {real_p99} s"
        );
        println!("{case}");
        assert!((queries / real_queries - 1.0).abs() <= 0.2, "{case}");
        // Behind the tier the pods also wait for their machine.
        assert!(arm == Arm::Tier || (0.5..=2.0).contains(&(p99 / real_p99)), "{case}");
        assert_eq!(model.failed, 0, "{case}");
    }
}
