//! Runs the real programs for the dashboard: sidecars of three workloads, one with a forward zone, a shared
//! tier, the webhook, load on all of them, and an outage. A real Prometheus scrapes them with the relabelings
//! of the PodMonitor.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use podlocal_harness::time::now;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::grafana;
use super::prometheus::{Prometheus, Span, Target};
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::ask;
use podlocal_harness::loopback::hostile;
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::model::admission::{Webhook, defaulted, review};
use podlocal_harness::model::job::{DEFAULT_MANIFEST, Job};
use podlocal_harness::model::pod::ClusterNames;
use podlocal_harness::programs::Programs;

/// The events: their start in percent of the whole time, and their names.
const EVENTS: [(u32, &str, Event); 9] = [
    (0, "fine", Event::Fine),
    (20, "1 of 6 datagrams is lost", Event::Lossy),
    (34, "fine", Event::Fine),
    (42, "cluster DNS is silent", Event::Silent),
    (58, "fine", Event::Fine),
    (68, "cluster DNS answers REFUSED", Event::Refusing),
    (76, "fine", Event::Fine),
    (84, "the shared tier is down", Event::NoTier),
    (100, "", Event::Fine),
];

/// The state of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// All servers answer.
    Fine,
    /// Datagrams are lost.
    Lossy,
    /// Cluster DNS answers nothing.
    Silent,
    /// Cluster DNS answers REFUSED.
    Refusing,
    /// The tier's process has ended.
    NoTier,
}

/// The pods: namespace, name, kind and name of the controller, and whether the pod uses the shared tier.
const PODS: [(&str, &str, &str, &str, bool); 8] = [
    ("training", "trainer-0", "Job", "trainer", true),
    ("training", "trainer-1", "Job", "trainer", true),
    ("training", "trainer-2", "Job", "trainer", true),
    ("training", "trainer-3", "Job", "trainer", true),
    ("web", "front-7d9f8c6b5-abcde", "ReplicaSet", "front-7d9f8c6b5", false),
    ("web", "front-7d9f8c6b5-fghij", "ReplicaSet", "front-7d9f8c6b5", false),
    ("web", "front-7d9f8c6b5-klmno", "ReplicaSet", "front-7d9f8c6b5", false),
    ("batch", "report-28123456-xyz", "Job", "report-28123456", false),
];

/// The namespace whose pods have a forward zone, and the zone.
const ZONE: [&str; 2] = ["web", "consul"];

/// The setting that makes pods of the namespace `batch` reach a limit.
const FEW_FLIGHTS: [&str; 2] = ["--max-in-flight", "20"];

/// The range of rates: four scrapes, as in Grafana.
const RANGE: &str = "4s";

/// Runs all programs for this time, then queries Prometheus for every panel of the dashboard. Returns the
/// titles of the empty panels.
pub async fn empty_panels(programs: &Programs, length: Duration) -> Result<BTreeSet<String>, Failure> {
    let folder = tempfile::tempdir().with_context(|| "creating a folder".to_owned())?;
    let upstream = Upstream::start(1).await?;
    upstream.change(|behaviour| {
        behaviour.ttl = 5;
        behaviour.missing = (0..40).map(|number| format!("missing-{number}.example.com")).collect();
    });
    let registry = Upstream::start(1).await?;
    registry.change(|behaviour| behaviour.ttl = 5);
    let zone_flag = ["--forward-zones".to_owned(), format!("{}={}", ZONE[1], registry.address)];
    let shared = ["--role", "shared", "--workers", "1"];
    let tier = Proxy::start(&programs.sidecar, upstream.address, &shared).await?;
    let tier_flag = ["--shared-tier".to_owned(), tier.dns.to_string()];
    let (mut proxies, mut targets) = (Vec::new(), Vec::new());
    for (namespace, pod, kind, controller, has_tier) in PODS {
        let mut flags: Vec<&str> =
            if has_tier { tier_flag.iter().map(String::as_str).collect() } else { vec![] };
        flags.extend(if namespace == "batch" { FEW_FLIGHTS.as_slice() } else { &[] });
        if namespace == ZONE[0] {
            flags.extend(zone_flag.iter().map(String::as_str));
        }
        let proxy = Proxy::start(&programs.sidecar, upstream.address, &flags).await?;
        let labels = [namespace, pod];
        targets.push(Target { admin: proxy.admin, labels, controller: [kind, controller] });
        proxies.push(proxy);
    }
    let controller = ["ReplicaSet", "podlocal-dns-shared-5b6c7d8e9"];
    let labels = ["podlocal-dns", "podlocal-dns-shared-5b6c7d8e9-pqrst"];
    targets.push(Target { admin: tier.admin, labels, controller });
    let webhook = webhook(&programs.webhook, folder.path()).await?;
    let labels = ["podlocal-dns", "podlocal-dns-webhook-6f7a8b9c0-uvwxy"];
    let controller = ["ReplicaSet", "podlocal-dns-webhook-6f7a8b9c0"];
    let target = Target { admin: webhook.admin, labels, controller };
    let prometheus = Prometheus::start(folder.path(), &targets, target).await?;

    let mut load = JoinSet::new();
    let cold = Arc::new(AtomicU64::new(0));
    for (number, proxy) in proxies.iter().enumerate() {
        for client in 0..3 {
            load.spawn(look_up(proxy.dns, number * 3 + client, Arc::clone(&cold)));
        }
        load.spawn(burst(proxy.dns, number, length / 10));
    }
    load.spawn(look_up_new_names(proxies[PODS.len() - 1].dns, Arc::clone(&cold)));
    load.spawn(reviews(webhook));

    // A rate needs a history.
    sleep(length / 20 + Duration::from_secs(2)).await;
    let (start, from) = (Instant::now(), now());
    let mut tier = Some(tier);
    for (at, what, event) in EVENTS {
        sleep_until(start + length * at / 100).await;
        if !what.is_empty() {
            eprintln!("monitoring: {what}");
        }
        upstream.change(|behaviour| {
            behaviour.loss = if event == Event::Lossy { [80, 80] } else { [0, 0] };
            behaviour.is_silent = event == Event::Silent;
            behaviour.refusal = (event == Event::Refusing).then_some(REFUSED);
        });
        // The forward zone fails at another time than cluster DNS, so that each outage is visible alone.
        registry.change(|behaviour| behaviour.is_silent = event == Event::Refusing);
        if event == Event::NoTier {
            tier = None;
        }
    }
    drop(tier);
    let span = Span { from, to: now() };
    // The last event must be scraped as well.
    sleep(Duration::from_secs(2)).await;
    let (mut panels, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for (panel, expression) in grafana::panel_expressions(&grafana::dashboard()) {
        if prometheus.has_values(&grafana::filled(&expression, RANGE), span).await? {
            shown.insert(panel.clone());
        }
        panels.insert(panel);
    }
    Ok(panels.difference(&shown).cloned().collect())
}

/// RFC 1035 section 4.1.1.
const REFUSED: u8 = 5;

/// A webhook without a cluster.
pub async fn webhook(program: &Path, folder: &Path) -> Result<Webhook, Failure> {
    let names = ClusterNames {
        dns: [10, 96, 0, 10].into(),
        zone: "cluster.local".to_owned(),
        node_searches: Vec::new(),
    };
    Webhook::start_at(program, ([127, 0, 0, 1], 0).into(), &names, None, folder).await
}

/// Looks up a name every 40 ms: mostly a known one, some that cannot exist or do not exist, and sometimes a
/// new one.
async fn look_up(dns: std::net::SocketAddr, client: usize, cold: Arc<AtomicU64>) {
    let mut beat = interval(Duration::from_millis(40));
    // Missed ticks after a slow lookup are skipped.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in client.. {
        beat.tick().await;
        let name = match number % 10 {
            0 => format!("cold-{}.example.com", cold.fetch_add(1, Ordering::Relaxed)),
            1 => "www.example.com.training.svc.cluster.local".to_owned(),
            2 => format!("missing-{}.example.com", number % 40),
            3 => format!("node-{}.{}", number % 50, ZONE[1]),
            _ => format!("service-{}.training.svc.cluster.local", number % 23),
        };
        // The results appear in the metrics.
        let _ = ask(dns, &name).await;
    }
}

/// Looks up ten new names at the same time, every 200 ms.
async fn look_up_new_names(dns: std::net::SocketAddr, cold: Arc<AtomicU64>) {
    let mut beat = interval(Duration::from_millis(200));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        for _ in 0..10 {
            let name = format!("cold-{}.example.com", cold.fetch_add(1, Ordering::Relaxed));
            tokio::spawn(async move { ask(dns, &name).await });
        }
    }
}

/// Sends packets that are not DNS at intervals, to one proxy after the other.
async fn burst(dns: std::net::SocketAddr, number: usize, every: Duration) {
    sleep(every.mul_f64(number as f64 / PODS.len() as f64)).await;
    let mut beat = interval(every);
    loop {
        beat.tick().await;
        let _ = hostile::flood(dns, 40).await;
    }
}

/// Sends five reviews per second: pods that are injected, and some that are not.
async fn reviews(webhook: Webhook) {
    let Ok(job) = Job::read(DEFAULT_MANIFEST) else { return };
    let mut beat = interval(Duration::from_millis(200));
    for number in 0_u32.. {
        beat.tick().await;
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
