//! All rows, in the order in which they are measured.

use std::future::Future;
use std::pin::Pin;

use super::{Measured, Setup, reviews, sidecar, soak, tier};

/// A promise: the setup of its measurement, and its goal.
pub(super) struct Promise {
    /// The name, as in `--only`.
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Empty for a measurement without a goal.
    pub(super) goal: &'static str,
    pub(super) measure: for<'a> fn(&'a Setup) -> Pin<Box<dyn Future<Output = Measured> + 'a>>,
}

pub(super) const ROWS: [Promise; 19] = [
    Promise {
        name: "coalescing",
        what: "200 identical cold queries at the same time",
        goal: "200 answered, 1 query to the upstream",
        measure: |setup| Box::pin(sidecar::coalescing(setup)),
    },
    Promise {
        name: "loss",
        what: "30 % of upstream datagrams lost, 50 names at the same time",
        goal: "50 answered, median below 5 ms, worst below 450 ms",
        measure: |setup| Box::pin(sidecar::loss(setup, [300, 0], 5.0)),
    },
    // When both directions lose datagrams, half of the answers are lost, so the median depends on chance.
    Promise {
        name: "loss-both",
        what: "30 % of upstream datagrams lost each way, 50 names at the same time",
        goal: "50 answered, worst below 450 ms",
        measure: |setup| Box::pin(sidecar::loss(setup, [300, 300], 450.0)),
    },
    Promise {
        name: "silent",
        what: "upstream down (silent) and the answer expired",
        goal: "answered within 450 ms, the next within 5 ms; fresh within 4 s",
        measure: |setup| Box::pin(sidecar::outage(setup, false)),
    },
    Promise {
        name: "closed",
        what: "upstream down (port closed) and the answer expired",
        goal: "answered within 450 ms, the next within 5 ms; fresh within 4 s",
        measure: |setup| Box::pin(sidecar::outage(setup, true)),
    },
    Promise {
        name: "slow",
        what: "upstream takes 2 s, 100 different names per second for 10 s",
        goal: "all answered, at most 1.2 upstream queries per query",
        measure: |setup| Box::pin(sidecar::slow(setup)),
    },
    Promise {
        name: "million",
        what: "a million different names, 100 at a time, and one hot name every 100 ms",
        goal: "below 16 MiB in total, the hot name always a hit",
        measure: |setup| Box::pin(sidecar::million(setup)),
    },
    Promise {
        name: "tier-gang-2000",
        what: "2,000 simulated sidecars, each with its own address, query a cold tier for 3 names, A and AAAA, at the \
               same time; cluster DNS takes 100 ms; 3 rounds",
        goal: "one query to cluster DNS for each name and type, all answered, the slowest within 150 ms (median)",
        measure: |setup| Box::pin(tier::gang::measure(setup, 2000, 150.0)),
    },
    // So many queries overflow the receive buffers of one replica: the queries over TCP that follow are answered
    // before glibc repeats a query.
    Promise {
        name: "tier-gang-10000",
        what: "the same with 10,000",
        goal: "one query to cluster DNS for each name and type, all answered, the slowest within 5 s (median)",
        measure: |setup| Box::pin(tier::gang::measure(setup, 10_000, 5000.0)),
    },
    Promise {
        name: "tier-killed",
        what: "20 sidecars, 400 different names per second; the tier is killed for 4 s",
        goal: "none fails, the slowest within 450 ms, used again within 10 s",
        measure: |setup| Box::pin(tier::outage(setup, true)),
    },
    Promise {
        name: "tier-stopped",
        what: "20 sidecars, 400 different names per second; the tier is stopped for 4 s",
        goal: "none fails, the slowest within 450 ms, used again within 10 s",
        measure: |setup| Box::pin(tier::outage(setup, false)),
    },
    Promise {
        name: "tier-hot",
        what: "1,000 hot names, two workers on two cores, shared with the load generator; 3 rounds of 3 s",
        goal: "",
        measure: |setup| Box::pin(tier::hostile::hot(setup)),
    },
    Promise {
        name: "tier-hostile-10000",
        what: "one source queries 1,000 hot names as fast as it can, another 10,000 uncached names per second; with and \
               without it in turn, 5 times 1.5 s; one core for the tier, one for both clients and cluster DNS",
        goal: "the well-behaved source keeps 90 % of its rate",
        measure: |setup| Box::pin(tier::hostile::beside(setup, 10_000)),
    },
    Promise {
        name: "tier-hostile-50000",
        what: "the same with 50,000",
        goal: "the well-behaved source keeps 90 % of its rate",
        measure: |setup| Box::pin(tier::hostile::beside(setup, 50_000)),
    },
    Promise {
        name: "tier-hostile-cold",
        what: "one source queries 100 cold names per second, another 10,000 uncached names per second; for 10 s",
        goal: "all lookups of the well-behaved source are answered",
        measure: |setup| Box::pin(tier::hostile::beside_cold(setup)),
    },
    Promise {
        name: "tier-memory",
        what: "memory with two workers: idle, and with 100,000 names",
        goal: "",
        measure: |setup| Box::pin(tier::memory(setup)),
    },
    Promise {
        name: "soak",
        what: "hot and new names, 20 hostile packets and a hostile connection each half second; the upstream in turn \
               drops, delays, is silent and is down",
        goal: "memory and descriptors are at most a twentieth higher in the second half than in the first",
        measure: |setup| Box::pin(soak::measure(setup)),
    },
    Promise {
        name: "reviews",
        what: "20,000 reviews over 200 connections, as fast as the webhook answers",
        goal: "all answered with a patch, at most 20 MiB",
        measure: |setup| Box::pin(reviews::of_jobs(setup, None, f64::INFINITY)),
    },
    Promise {
        name: "reviews-2000",
        what: "20,000 reviews over 200 connections, 2,000 per second",
        goal: "all answered with a patch, 99 of 100 within 5 ms, at most 20 MiB",
        measure: |setup| Box::pin(reviews::of_jobs(setup, Some(2000.0), 5.0)),
    },
];
