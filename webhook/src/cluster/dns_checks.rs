//! Checks cluster DNS periodically with queries for impossible names and for an existing namespace.
//!
//! The sidecar itself answers NXDOMAIN for impossible names, which no Service or pod can have. If cluster DNS
//! answers queries for such names (CoreDNS's rewrite, hosts, template; multicluster), the sidecar would hide
//! them. So pods that are created meanwhile get a sidecar that forwards every name.
//!
//! The sidecar also answers NXDOMAIN for names below a namespace for which cluster DNS answers NXDOMAIN.
//! kube-dns, which GKE Standard runs, answers NXDOMAIN for existing namespaces, in violation of RFC 8020. So
//! new pods get this rule only if cluster DNS was seen to answer NOERROR for the namespace `default`, which
//! exists in every cluster.
//!
//! A shared tier also answers NXDOMAIN for impossible names. So if cluster DNS answers for them, the tier is
//! checked, too, and new pods use it only if it answers for them as well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use podlocal_settings::table;
use podlocal_settings::value::LocalNxdomain;
use rustls::crypto::ring;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::metrics::{DnsCheck, Metrics};
use crate::review::cluster_state::Cluster;

/// The time between two checks.
pub(crate) const INTERVAL: Duration = Duration::from_mins(10);

/// The pause after a check without an answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// How often a query is sent, and how long each attempt waits for its answer: UDP packets may be lost.
const ATTEMPTS: u32 = 4;
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(2);

/// The largest answer that is read, in bytes. It may be truncated: only the header matters.
const LARGEST_ANSWER: usize = 4096;

/// Runs the checks forever, every `interval` and whenever the shared tier changes, and stores the results in
/// `cluster`. Without an answer, the previous result is kept.
pub(crate) async fn run(cluster: Arc<watch::Sender<Cluster>>, metrics: Arc<Metrics>, interval: Duration) {
    let mut known = cluster.subscribe();
    loop {
        let (servers, domain, tier) = {
            let cluster = cluster.borrow();
            (cluster.dns.clone(), cluster.domain.clone(), cluster.shared_tier.addresses.clone())
        };
        let mut checks = vec![check_servers(&servers, &domain).await];
        metrics.cluster_dns_checks.inc(checks[0]);
        store_impossible_names(&cluster, checks[0]);
        store_namespaces(&cluster, admits_namespaces(&servers, &domain).await);
        // A tier that answers NXDOMAIN as cluster DNS does hides nothing.
        if cluster.borrow().serves_impossible_names && !tier.is_empty() {
            let check = check_servers(&tier, &domain).await;
            store_tier(&cluster, &tier, check);
            checks.push(check);
        }
        let pause = if checks.contains(&DnsCheck::Failed) { RETRY_INTERVAL.min(interval) } else { interval };
        let is_another = |cluster: &Cluster| cluster.shared_tier.addresses != tier;
        // Either the tier has changed or the pause is over.
        let _ = tokio::time::timeout(pause, known.wait_for(is_another)).await;
    }
}

fn store_impossible_names(cluster: &watch::Sender<Cluster>, check: DnsCheck) {
    let Some(is_served) = is_served(check) else { return };
    let is_new = cluster.send_if_modified(|cluster| {
        std::mem::replace(&mut cluster.serves_impossible_names, is_served) != is_served
    });
    if is_new && is_served {
        tracing::warn!(
            "cluster DNS answers queries for impossible names; sidecars of new pods forward every name to it"
        );
    } else if is_new {
        tracing::info!("cluster DNS no longer answers queries for impossible names");
    }
}

/// Stores whether cluster DNS answers for namespaces; `None` keeps the previous result.
fn store_namespaces(cluster: &watch::Sender<Cluster>, admits: Option<bool>) {
    let Some(admits) = admits else { return };
    let is_new = cluster
        .send_if_modified(|cluster| std::mem::replace(&mut cluster.admits_namespaces, admits) != admits);
    if is_new && admits {
        tracing::info!(
            "cluster DNS answers for existing namespaces; sidecars of new pods answer NXDOMAIN below a missing one"
        );
    } else if !admits {
        tracing::warn!(
            "cluster DNS answers NXDOMAIN for the namespace default, as kube-dns does; sidecars of new pods conclude \
             nothing from NXDOMAIN for a namespace"
        );
    }
}

/// Whether the first server with a conclusive answer answers NOERROR for the namespace `default`; `None`
/// without one.
async fn admits_namespaces(servers: &[SocketAddr], domain: &str) -> Option<bool> {
    for server in servers {
        match query_rcode(*server, &format!("default.svc.{domain}.")).await {
            Some(ResponseCode::NoError) => return Some(true),
            Some(ResponseCode::NXDomain) => return Some(false),
            _ => {}
        }
    }
    None
}

/// Stores the result for the tier at these addresses, unless the tier has changed meanwhile.
fn store_tier(cluster: &watch::Sender<Cluster>, addresses: &[SocketAddr], check: DnsCheck) {
    let Some(is_served) = is_served(check) else {
        tracing::warn!(
            "the shared tier did not answer the check for impossible names; keeping the previous result"
        );
        return;
    };
    let is_new = cluster.send_if_modified(|cluster| {
        let tier = &mut cluster.shared_tier;
        tier.addresses == addresses && tier.serves_impossible_names.replace(is_served) != Some(is_served)
    });
    if is_new && is_served {
        tracing::info!(
            "the shared tier answers queries for impossible names, as cluster DNS does; new pods use it"
        );
    } else if is_new {
        let remedy = format!("{}={}", table::LOCAL_NXDOMAIN.variable(), LocalNxdomain::Off.name());
        tracing::warn!(
            remedy,
            "the shared tier answers NXDOMAIN for names that cluster DNS has; new pods do not use it until the \
             remedy is set on the shared tier"
        );
    }
}

fn is_served(check: DnsCheck) -> Option<bool> {
    match check {
        DnsCheck::NxDomain => Some(false),
        DnsCheck::Answered => Some(true),
        DnsCheck::Failed => None,
    }
}

/// Queries the servers, one after the other, until one of them gives a conclusive answer.
async fn check_servers(servers: &[SocketAddr], domain: &str) -> DnsCheck {
    let names = impossible_names(random(), domain);
    for server in servers {
        let (by_shape, by_depth) =
            tokio::join!(query_rcode(*server, &names[0]), query_rcode(*server, &names[1]));
        let check = evaluate([by_shape, by_depth]);
        if check != DnsCheck::Failed {
            return check;
        }
    }
    DnsCheck::Failed
}

/// Two names that the DNS specification for Kubernetes excludes: one that is neither below `svc` nor below
/// `pod`, and one with more labels than a pod of a Service has. The random number makes them unknown to every
/// cache and every list of names; only wildcards can match.
fn impossible_names(nonce: u32, domain: &str) -> [String; 2] {
    let label = format!("podlocal-dns-check-{nonce:08x}");
    [format!("{label}.{domain}."), format!("a.b.c.d.{label}.svc.{domain}.")]
}

/// | the answers | the result |
/// |---|---|
/// | NXDOMAIN to both | impossible names do not exist |
/// | NOERROR to one, with or without records | impossible names are served |
/// | anything else | unknown |
fn evaluate(answers: [Option<ResponseCode>; 2]) -> DnsCheck {
    if answers.contains(&Some(ResponseCode::NoError)) {
        DnsCheck::Answered
    } else if answers == [Some(ResponseCode::NXDomain); 2] {
        DnsCheck::NxDomain
    } else {
        DnsCheck::Failed
    }
}

/// The RCODE that `server` answers for `name` and record type A; `None` without an answer.
async fn query_rcode(server: SocketAddr, name: &str) -> Option<ResponseCode> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(name).ok()?, RecordType::A));
    let bytes = question.to_vec().ok()?;
    let any =
        if server.is_ipv4() { SocketAddr::from(([0; 4], 0)) } else { SocketAddr::from(([0_u16; 8], 0)) };
    for _ in 0..ATTEMPTS {
        let exchange = async {
            let socket = UdpSocket::bind(any).await?;
            // A connected socket drops packets from other addresses, and reports a closed port.
            socket.connect(server).await?;
            socket.send(&bytes).await?;
            let mut buffer = vec![0; LARGEST_ANSWER];
            loop {
                let length = socket.recv(&mut buffer).await?;
                if let Some(code) = matching_rcode(&question, &buffer[..length]) {
                    return std::io::Result::Ok(code);
                }
            }
        };
        let begin = tokio::time::Instant::now();
        if let Ok(Ok(code)) = tokio::time::timeout(ATTEMPT_DEADLINE, exchange).await {
            return Some(code);
        }
        tokio::time::sleep_until(begin + ATTEMPT_DEADLINE).await;
    }
    None
}

/// The RCODE of an answer that matches the query.
fn matching_rcode(question: &Message, bytes: &[u8]) -> Option<ResponseCode> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_ours = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    is_ours.then_some(answer.metadata.response_code)
}

/// A random number that only needs to differ between checks.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // It does not fail on Linux; and the same name twice would do no harm.
    let _ = ring::default_provider().secure_random.fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests;
