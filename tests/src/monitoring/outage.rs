//! An outage: sidecars of three workloads, a shared tier and a webhook under load, scraped by a real
//! Prometheus. Every expression of the dashboard must have data.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::files::{DASHBOARD, expressions, shown_labels};
use super::prometheus::Prometheus;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::ask;
use podlocal_harness::loopback::hostile;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::model::admission::{Webhook, defaulted, review};
use podlocal_harness::model::job::{DEFAULT_MANIFEST, Job};
use podlocal_harness::programs::Programs;

/// The phases: their start in percent of the whole time.
const PHASES: [(u32, Phase); 9] = [
    (0, Phase::Fine),
    (20, Phase::PacketLoss),
    (34, Phase::Fine),
    (42, Phase::Silence),
    (58, Phase::Fine),
    (68, Phase::Refusal),
    (76, Phase::Fine),
    (84, Phase::NoSharedTier),
    (100, Phase::Fine),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fine,
    /// The path to cluster DNS loses 1 of 6 datagrams.
    PacketLoss,
    /// Cluster DNS answers nothing.
    Silence,
    /// Cluster DNS answers REFUSED, and the server of the forward zone answers nothing.
    Refusal,
    /// The process of the shared tier has ended.
    NoSharedTier,
}

/// RFC 1035 section 4.1.1.
const REFUSED: u8 = 5;

/// The range of rates: four scrapes, as in Grafana.
const RANGE: &str = "4s";

/// Runs all programs for this time, then queries Prometheus for every expression of the dashboard. Returns
/// those without data, and those whose legend shows a label that their series do not have.
pub async fn incomplete_expressions(programs: &Programs, length: Duration) -> Result<Vec<String>, Failure> {
    let folder = tempfile::tempdir().with_context(|| "creating a folder".to_owned())?;
    let upstream = Upstream::start(1).await?;
    upstream.change(|behaviour| {
        behaviour.ttl = 5;
        behaviour.missing = (0..40).map(|number| format!("missing-{number}.example.com")).collect();
    });
    let zone_server = Upstream::start(1).await?;
    zone_server.change(|behaviour| behaviour.ttl = 5);
    let start_proxy = async |flags: &[&str]| Proxy::start(&programs.sidecar, upstream.address, flags).await;

    let tier = start_proxy(&["--role", "shared", "--workers", "1"]).await?;
    let webhook = Webhook::start_alone(&programs.webhook, folder.path()).await?;
    let mut targets = vec![
        target(tier.admin, "podlocal-dns", "ReplicaSet", "podlocal-dns-shared-5b6c7d8e9", 0),
        target(webhook.admin, "podlocal-dns", "ReplicaSet", "podlocal-dns-webhook-6f7a8b9c0", 0),
    ];
    let (tier_address, zone) = (tier.dns.to_string(), format!("consul={}", zone_server.address));
    let mut proxies = Vec::new();
    for (namespace, kind, controller, pods, flags) in [
        ("training", "Job", "trainer", 4, ["--shared-tier", &tier_address]),
        ("web", "ReplicaSet", "front-7d9f8c6b5", 3, ["--forward-zones", &zone]),
        // Three clients of a pod reach this limit.
        ("batch", "Job", "report-28123456", 1, ["--max-in-flight", "1"]),
    ] {
        for number in 0..pods {
            let proxy = start_proxy(&flags).await?;
            targets.push(target(proxy.admin, namespace, kind, controller, number));
            proxies.push(proxy);
        }
    }
    let prometheus = Prometheus::start(folder.path(), &targets).await?;

    let mut load = JoinSet::new();
    let new_names = Arc::new(AtomicU64::new(0));
    for (number, proxy) in proxies.iter().enumerate() {
        for client in 0..3 {
            load.spawn(look_up(proxy.dns, number * 3 + client, Arc::clone(&new_names)));
        }
    }
    load.spawn(send_reviews(webhook));

    // A rate needs a history.
    sleep(length / 20 + Duration::from_secs(2)).await;
    let start = Instant::now();
    let mut tier = Some(tier);
    for (percent, phase) in PHASES {
        sleep_until(start + length * percent / 100).await;
        eprintln!("monitoring: {percent} %: {phase:?}");
        upstream.change(|behaviour| {
            behaviour.loss = if phase == Phase::PacketLoss { [80, 80] } else { [0, 0] };
            behaviour.is_silent = phase == Phase::Silence;
            behaviour.refusal = (phase == Phase::Refusal).then_some(REFUSED);
        });
        zone_server.change(|behaviour| behaviour.is_silent = phase == Phase::Refusal);
        tier.take_if(|_| phase == Phase::NoSharedTier);
    }
    // The last phase must be scraped as well.
    sleep(Duration::from_secs(2)).await;
    let mut incomplete = Vec::new();
    for expression in expressions(DASHBOARD)? {
        let series = prometheus.series(&expression.with_range(RANGE), start.elapsed()).await?;
        let is_shown = shown_labels(&expression.legend).all(|label| series.contains(&format!("{label}=\"")));
        if series.is_empty() || !is_shown {
            incomplete.push(format!("{}: {}", expression.owner, expression.promql));
        }
    }
    Ok(incomplete)
}

/// A pod with the labels that the Prometheus Operator gives it.
fn target(admin: SocketAddr, namespace: &str, kind: &str, controller: &str, number: usize) -> Value {
    let labels = json!({
        "namespace": namespace, "pod": format!("{controller}-{number}"),
        "__meta_kubernetes_pod_controller_kind": kind, "__meta_kubernetes_pod_controller_name": controller,
    });
    json!({"targets": [admin.to_string()], "labels": labels})
}

/// Looks up a name every 40 ms: mostly a known one, some that cannot exist or do not exist, and sometimes a
/// new one. Sometimes sends packets that are not DNS.
async fn look_up(dns: SocketAddr, client: usize, new_names: Arc<AtomicU64>) {
    let mut ticks = interval(Duration::from_millis(40));
    // Missed ticks after a slow lookup are skipped.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in client.. {
        ticks.tick().await;
        let name = match number % 10 {
            0 => format!("new-{}.example.com", new_names.fetch_add(1, Ordering::Relaxed)),
            1 => "www.example.com.training.svc.cluster.local".to_owned(),
            2 => format!("missing-{}.example.com", number % 40),
            3 => format!("node-{}.consul", number % 50),
            _ => format!("service-{}.training.svc.cluster.local", number % 23),
        };
        // The results appear in the metrics.
        let _ = ask(dns, &name).await;
        if number % 180 == 0 {
            let _ = hostile::flood(dns, 40).await;
        }
    }
}

/// Sends five reviews per second: pods that are injected, and some that are not.
async fn send_reviews(webhook: Webhook) {
    let Ok(job) = Job::read(DEFAULT_MANIFEST) else { return };
    let mut ticks = interval(Duration::from_millis(200));
    for number in 0_u32.. {
        ticks.tick().await;
        let mut pod = defaulted(job.pod(0));
        match number % 20 {
            0 => pod["spec"]["dnsPolicy"] = json!("Default"),
            5 | 10 => pod["spec"]["hostNetwork"] = json!(true),
            15 => pod["metadata"]["annotations"]["podlocal-dns.io/ndots"] = json!("many"),
            _ => {}
        }
        let uid = format!("00000000-0000-4000-8000-{number:012}");
        let body =
            if number % 40 == 39 { "{".to_owned() } else { review(&pod, "training", &uid).to_string() };
        // The webhook counts the review in its metrics.
        let _ = webhook.client.post(body).await;
    }
}
