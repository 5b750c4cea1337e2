//! Every real resolver gets the same answer in an injected pod as without injection, or the correct one; and
//! for each search expansion cluster DNS receives fewer queries. The matrix is printed, and written to
//! cargo's target directory. In pods with every `ndots`, names of every length, type and domain are found as
//! without injection. So are names behind a slow upstream; the simulation tests the number of packets, in
//! virtual time.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use podlocal_harness::failure::Failure;
use podlocal_harness::model::cluster::{Cluster, DnsPath};
use podlocal_harness::model::cluster_dns::World;
use podlocal_harness::model::node;
use podlocal_harness::model::testbed::{self, Test, Testbed};
use podlocal_harness::programs::target_directory;
use podlocal_tests::resolvers::clients::Client;
use podlocal_tests::resolvers::differential::{self, Outcome};
use podlocal_tests::resolvers::matrix::{Cell, table};
use podlocal_tests::resolvers::names;
use podlocal_tests::resolvers::questions::{Question, questions, world};

static CELLS: Mutex<Vec<Cell>> = Mutex::new(Vec::new());
static OUTCOMES: Mutex<Vec<Outcome>> = Mutex::new(Vec::new());

fn main() -> ExitCode {
    let code = testbed::run(Client::ALL.into_iter().flat_map(tests).collect());
    let cells = CELLS.lock().unwrap_or_else(PoisonError::into_inner);
    if !cells.is_empty() {
        let text = table(&questions(), &cells);
        println!(
            "queries to cluster DNS, direct > injected\n+ only the injected answer is correct; = neither is correct, and both are the same\n\n{text}"
        );
        if let Ok(target) = target_directory() {
            // The table was printed; the file is for updating the documentation.
            let _ = std::fs::write(target.join("resolvers.md"), text);
        }
    }
    let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|outcome| Client::ALL.iter().position(|client| *client == outcome.client));
    if !outcomes.is_empty() {
        println!("pods with every ndots, direct and injected\n\n{}", differential::table(&outcomes));
    }
    code
}

/// The delays of a slow upstream, in milliseconds. glibc retransmits after 5 s and gives up after 10 s.
const DELAYS: [u64; 6] = [1000, 3000, 4500, 6000, 8000, 9500];

fn tests(client: Client) -> [Test; 3] {
    let reason = client.is_missing();
    if reason.is_none() && !node::is_inside() && !testbed::is_listing() {
        client.build().unwrap_or_else(|failure| panic!("{failure}"));
    }
    let test = |rule: &str| format!("{rule}: {}", client.name());
    [
        Test::new(test("no_answer_is_worse_and_no_search_is_longer"), reason.clone(), move |testbed| {
            Box::pin(compare(client, testbed))
        }),
        Test::new(test("injection_finds_the_same_names_for_every_ndots"), reason.clone(), move |testbed| {
            Box::pin(compare_ndots(client, testbed))
        }),
        Test::new(test("a_slow_upstream_gives_the_same_or_the_right_answer"), reason, move |testbed| {
            Box::pin(compare_delays(client, testbed))
        }),
    ]
}

async fn compare_ndots(client: Client, testbed: Testbed) -> Result<(), Failure> {
    let world = names::world();
    let [direct, injected] = clusters(&testbed, &world).await?;
    let outcome = differential::compare(client, [&direct, &injected]).await?;
    let faults = outcome.faults.clone();
    OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// When A and AAAA queries of one lookup reach a sidecar more than 5 ms apart, both go to cluster DNS, so on
/// a busy machine the first attempt may not shorten the search.
async fn try_cell(client: Client, question: &Question, ways: [&Cluster; 2]) -> Result<Option<Cell>, Failure> {
    let mut cell = Cell::try_it(client, question, ways).await?;
    for _ in 0..2 {
        if !cell.as_ref().is_some_and(Cell::is_longer) {
            break;
        }
        cell = Cell::try_it(client, question, ways).await?;
    }
    Ok(cell)
}

async fn compare(client: Client, testbed: Testbed) -> Result<(), Failure> {
    let [direct, injected] = clusters(&testbed, &world()).await?;
    let mut faults = Vec::new();
    let mut tried = 0;
    for question in questions() {
        let Some(cell) = try_cell(client, &question, [&direct, &injected]).await? else { continue };
        tried += 1;
        faults.extend(cell.fault());
        CELLS.lock().unwrap_or_else(PoisonError::into_inner).push(cell);
    }
    assert!(tried > 10, "{tried} questions");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

async fn compare_delays(client: Client, testbed: Testbed) -> Result<(), Failure> {
    let question = questions().into_iter().find(|question| question.about == "outside, final dot");
    let (question, testbed) = (&question.expect("in the list"), &testbed);
    let cells = DELAYS.map(async |delay| {
        let clusters = clusters(testbed, &world()).await?;
        let [direct, injected] = clusters.each_ref();
        for cluster in [direct, injected] {
            cluster.dns.set_delay(Duration::from_millis(delay));
        }
        let cell = Cell::try_it(client, question, [direct, injected]).await?;
        Ok::<_, Failure>(cell.and_then(|cell| cell.fault()).map(|fault| format!("{delay} ms: {fault}")))
    });
    let faults: Vec<_> = try_join_all(cells).await?.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// A cluster without injection, and one with it.
async fn clusters(testbed: &Testbed, world: &World) -> Result<[Cluster; 2], Failure> {
    let start = |path| Cluster::start(path, &testbed.node, &testbed.programs, world.clone());
    Ok([start(DnsPath::Direct).await?, start(DnsPath::Sidecars).await?])
}
