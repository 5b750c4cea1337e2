//! Life and death in a pod: the sidecar is killed, the pod is terminated, and names are looked up all the while.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use podlocal_settings::names;
use podlocal_tests::failure::{Failure, Tried};
use podlocal_tests::pod::{Exit, Status};
use podlocal_tests::testbed::{self, Testbed};
use podlocal_tests::tests;
use serde_json::json;

const SIGKILL: i32 = 9;

fn main() -> ExitCode {
    testbed::run(tests![
        a_sidecar_that_is_killed_under_load_is_back_and_answers_everything,
        a_pod_that_is_terminated_while_it_looks_names_up_has_dns_to_its_end,
    ])
}

/// While nobody listens on port 53 the kernel refuses look-ups; after that none fails.
async fn a_sidecar_that_is_killed_under_load_is_back_and_answers_everything(
    testbed: Testbed,
) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let pod = json!({
        "metadata": { "name": "app" },
        "spec": { "containers": [{ "name": "app", "image": "a", "command": ["sleep", "300"] }] },
    });
    let running = Arc::new(cluster.create(pod, "default").await?);
    running.ready("app").await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let load = (0..3).map(|_| {
        let (running, is_over) = (Arc::clone(&running), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut look_ups = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                let executed = running.execute("app", &["lookup", "www.example.com", "db.prod"]).await?;
                look_ups.push((begun, executed.exit.is_success()));
            }
            Ok::<_, Failure>(look_ups)
        })
    });
    let load: Vec<_> = load.collect();
    running.signal(names::CONTAINER_NAME, SIGKILL).await?;
    let is_back =
        |status: &Status| status.container(names::CONTAINER_NAME).is_some_and(|sidecar| sidecar.starts == 2);
    running.wait_for("the sidecar to be started again", is_back).await?;
    let gate = running.execute(names::CONTAINER_NAME, &[names::SIDECAR_PATH, "await"]).await?;
    assert!(gate.exit.is_success(), "{gate:?}");
    let back = Instant::now();
    let after = running.execute("app", &["lookup", "www.example.com", "api.example.com"]).await?;
    is_over.store(true, Ordering::SeqCst);
    assert!(after.exit.is_success(), "{after:?}");
    let mut seen = 0;
    for look_ups in join_all(load).await {
        let look_ups = look_ups.tried(|| "joining the load".to_owned())??;
        seen += look_ups.len();
        let late: Vec<_> = look_ups.iter().filter(|(begun, is_good)| *begun > back && !is_good).collect();
        assert!(late.is_empty(), "{} look-ups failed after it was back", late.len());
    }
    assert!(seen > 0);
    Ok(())
}

/// The application goes on for a while after SIGTERM, as one does that finishes its work.
async fn a_pod_that_is_terminated_while_it_looks_names_up_has_dns_to_its_end(
    testbed: Testbed,
) -> Result<(), Failure> {
    let cluster = testbed.cluster_with_webhook().await?;
    let script = format!(
        "trap 'end=1' TERM; look_up() {{ {} $1 >/dev/null || echo failed; }}; \
         while [ -z \"$end\" ]; do look_up www.example.com; echo before; done; \
         for name in api.example.com db.prod web v6.example.com; do look_up $name; done; echo finished",
        testbed.programs.lookup.display()
    );
    let pod = json!({
        "metadata": { "name": "app" },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "app", "image": "a", "command": ["sh", "-c", script] }],
        },
    });
    let running = cluster.create(pod, "default").await?;
    let looks_up = |status: &Status| status.container("app").is_some_and(|app| app.output.contains("before"));
    running.wait_for("a look-up", looks_up).await?;
    running.delete().await?;
    let status = running.finished().await?;
    let output = status.container("app").map_or("", |app| app.output.as_str());
    assert!(output.ends_with("finished\n") && !output.contains("failed"), "{}", status.describe());
    assert_eq!(status.exit(names::CONTAINER_NAME), Some(Exit::Code(0)), "{}", status.describe());
    Ok(())
}
