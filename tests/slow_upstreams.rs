//! A slow upstream: each real resolver gets the same answer in an injected pod as directly, or the correct
//! answer when it gets none directly. The simulation tests the number of packets, in virtual time.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use podlocal_harness::failure::Failure;
use podlocal_harness::model::cluster::{Cluster, DnsPath};
use podlocal_harness::model::node;
use podlocal_harness::model::testbed::{self, Test, Testbed};
use podlocal_tests::resolvers::clients::Client;
use podlocal_tests::resolvers::matrix::Cell;
use podlocal_tests::resolvers::questions::{Question, questions, world};

/// The delays of the upstream, in milliseconds. glibc retransmits after 5 s and gives up after 10 s.
const DELAYS: [u64; 6] = [1000, 3000, 4500, 6000, 8000, 9500];

/// The number of delays that are tested at the same time, with twenty pods each.
const AT_ONCE: usize = 2;

fn main() -> ExitCode {
    let missing = Client::ALL.into_iter().find_map(Client::is_missing);
    if missing.is_none() && !node::is_inside() && !testbed::is_listing() {
        for client in Client::ALL {
            client.build().unwrap_or_else(|failure| panic!("{failure}"));
        }
    }
    testbed::run(vec![Test::new("each_resolver_gets_the_same_or_the_right_answer", missing, |testbed| {
        Box::pin(each_resolver_gets_the_same_or_the_right_answer(testbed))
    })])
}

async fn clusters(testbed: &Testbed, delay: u64) -> Result<[Cluster; 2], Failure> {
    let start = |between| Cluster::start(between, &testbed.node, &testbed.programs, world());
    let clusters = [start(DnsPath::Direct).await?, start(DnsPath::Sidecars).await?];
    for cluster in &clusters {
        cluster.dns.set_delay(Duration::from_millis(delay));
    }
    Ok(clusters)
}

async fn each_resolver_gets_the_same_or_the_right_answer(testbed: Testbed) -> Result<(), Failure> {
    let question = questions().into_iter().find(|question| question.about == "outside, final dot");
    let question = &question.expect("in the list");
    let faults = stream::iter(DELAYS.map(|delay| Box::pin(all_clients(&testbed, delay, question))));
    let faults = faults.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?.concat();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

async fn all_clients(testbed: &Testbed, delay: u64, question: &Question) -> Result<Vec<String>, Failure> {
    let [direct, injected] = clusters(testbed, delay).await?;
    let cells = Client::ALL.map(|client| Box::pin(Cell::try_it(client, question, [&direct, &injected])));
    let cells = try_join_all(cells).await?;
    let fault = |cell: &Cell| cell.fault().map(|fault| format!("{delay} ms: {fault}"));
    Ok(cells.iter().flatten().filter_map(fault).collect())
}
