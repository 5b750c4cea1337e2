//! Ranks of a gang that look each other up by the names of headless pods while these appear one after another.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::try_join_all;
use podlocal_settings::names::ANNOTATION_PREFIX;
use podlocal_settings::table::PATIENT_NAMES;
use podlocal_tests::cluster::Cluster;
use podlocal_tests::cluster_dns::Service;
use podlocal_tests::failure::Failure;
use podlocal_tests::gang::Lookup;
use podlocal_tests::testbed::{self, Testbed};
use podlocal_tests::tests;
use serde_json::{Value, json};

/// Each is a pod with a sidecar of its own.
const RANKS: usize = 12;

/// The time from one rank's appearance to the next; all are there after three seconds.
const INTERVAL: Duration = Duration::from_millis(3000 / RANKS as u64);

fn main() -> ExitCode {
    testbed::run(tests![
        with_patience_no_rank_is_told_that_a_peer_is_missing,
        without_it_cluster_dns_has_the_word
    ])
}

async fn with_patience_no_rank_is_told_that_a_peer_is_missing(testbed: Testbed) -> Result<(), Failure> {
    let lookups =
        gang(&testbed, json!({ format!("{ANNOTATION_PREFIX}{}", PATIENT_NAMES.name): "*.workers" })).await?;
    assert!(lookups.iter().all(|lookup| lookup.as_expected), "{lookups:?}");
    Ok(())
}

async fn without_it_cluster_dns_has_the_word(testbed: Testbed) -> Result<(), Failure> {
    let lookups = gang(&testbed, json!({})).await?;
    // Nobody was there when all of them asked.
    assert!(lookups.iter().any(|lookup| !lookup.as_expected), "{lookups:?}");
    Ok(())
}

/// Runs the gang: every rank looks up another one, all at the same instant, before any is there.
async fn gang(testbed: &Testbed, annotations: Value) -> Result<Vec<Lookup>, Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let pod = json!({
        "metadata": { "name": "rank", "annotations": annotations },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "app", "image": "example/app:1", "command": ["sleep", "300"] }],
        },
    });
    let ranks = try_join_all((0..RANKS).map(|_| cluster.create(pod.clone(), "default"))).await?;
    for rank in &ranks {
        rank.started("app").await?;
    }
    let looked_up = ranks.iter().enumerate().map(|(number, rank)| async move {
        let peer = format!("rank-{}.workers", (number * 5 + 1) % RANKS);
        Ok::<_, Failure>(Lookup::read_all(&rank.execute("app", &["lookup", &peer]).await?.output))
    });
    let (lookups, ()) = tokio::join!(try_join_all(looked_up), appear(&cluster));
    Ok(lookups?.into_iter().flatten().collect())
}

/// The ranks' endpoints become ready, one after another.
async fn appear(cluster: &Cluster) {
    for ready in 1..=RANKS {
        tokio::time::sleep(INTERVAL).await;
        let service = (0..ready).fold(Service::headless("workers", "default"), |service, number| {
            service.endpoint(Some(&format!("rank-{number}")), &format!("10.244.2.{}", number + 1))
        });
        cluster.dns.change(|world| world.service(service));
    }
}
