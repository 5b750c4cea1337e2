//! The sidecar program as a shared tier between sidecars and cluster DNS: one cache for all, limits per
//! source, and a fallback. The program `promises` measures its speed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::client::{LookupResult, ask, ask_from, connect_from, exchange, question};
use podlocal_harness::loopback::proxy::Proxy;
use podlocal_harness::loopback::tier::{FREE, ONE_SOURCE, sidecars, tier};
use podlocal_harness::loopback::upstream::Upstream;
use podlocal_harness::model::cluster_dns::{ClusterDns, World};
use podlocal_harness::programs::Programs;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

/// The addresses of two pods.
const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);

fn program() -> Result<PathBuf, Failure> {
    Ok(Programs::build()?.sidecar)
}

/// An upstream that answers every name, and a tier with these flags in front of it.
async fn stage(flags: &[&str]) -> Result<(Upstream, Proxy), Failure> {
    let upstream = Upstream::start(1).await?;
    let tier = tier(&program()?, FREE, upstream.address, flags, None).await?;
    Ok((upstream, tier))
}

async fn rcode(source: Ipv4Addr, server: SocketAddr, name: &str) -> Result<Option<ResponseCode>, Failure> {
    let seen = ask_from(source, server, name, RecordType::A).await?;
    Ok(seen.response.map(|response| response.metadata.response_code))
}

#[tokio::test]
async fn twenty_cold_sidecars_cost_one_query_for_each_question() -> Result<(), Failure> {
    const NAMES: [&str; 3] =
        ["www.example.com", "web.default.svc.cluster.local", "gone.default.svc.cluster.local"];
    // The namespace that `www.example.com` would have as a name of the cluster.
    const NAMESPACE: &str = "com.svc.cluster.local";
    let [behind, around] =
        [ClusterDns::start(World::example(), FREE).await?, ClusterDns::start(World::example(), FREE).await?];
    let program = program()?;
    let tier = tier(&program, FREE, behind.address(), &ONE_SOURCE, None).await?;
    let sidecars = sidecars(&program, 20, tier.dns, around.address()).await?;
    let types = [RecordType::A, RecordType::AAAA];
    let lookups = sidecars.iter().flat_map(|sidecar| {
        let questions = NAMES.into_iter().flat_map(|name| types.map(|record_type| (name, record_type)));
        questions.map(|(name, record_type)| ask_from(ONE, sidecar.dns, name, record_type))
    });
    let seen = try_join_all(lookups).await?;
    let missing = seen.iter().filter(|seen| seen.is_missing()).count();
    let addresses = seen.iter().filter(|seen| seen.is_answered()).count();
    assert_eq!((missing, addresses), (40, 80));
    let counts = behind.counts();
    assert_eq!(counts.most_for_one(), 1, "{counts}");
    assert!(counts.names().all(|name| NAMES.contains(&name) || name == NAMESPACE), "{counts}");
    assert_eq!(around.counts().total(), 0, "{}", around.counts());
    Ok(())
}

#[tokio::test]
async fn no_lookup_fails_while_a_tier_is_killed_or_stopped() -> Result<(), Failure> {
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let (upstream, mut tier) = stage(&ONE_SOURCE).await?;
        let sidecar = sidecars(&program()?, 1, tier.dns, upstream.address).await?.remove(0);
        assert!(ask(sidecar.dns, "before.example.com").await?.is_answered());
        assert!(
            tier.metric("podlocal_dns_queries_total", &[]).await? > 0,
            "the tier receives queries while it is healthy"
        );
        tier.signal(signal)?;
        if signal == Signal::SIGKILL {
            tier.wait_for_exit().await?;
        }
        let lookups = (0..30).map(|number| {
            let name = format!("after-{number}.example.com");
            async move { ask(sidecar.dns, &name).await }
        });
        let seen: Vec<LookupResult> = try_join_all(lookups).await?;
        assert!(seen.iter().all(LookupResult::is_answered), "{signal}: {seen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn after_sigterm_a_tier_is_unready_drains_and_exits_with_0() -> Result<(), Failure> {
    let (_upstream, mut tier) = stage(&["--lame-duck", "3s"]).await?;
    assert!(tier.is_ready().await);
    tier.signal(Signal::SIGTERM)?;
    let mut beat = interval(Duration::from_millis(10));
    let is_unready = async {
        while tier.is_ready().await {
            beat.tick().await;
        }
    };
    timeout(Duration::from_secs(2), is_unready).await.with_context("waiting for /readyz")?;
    assert!(ask(tier.dns, "cold.example.com").await?.is_answered(), "over UDP");
    let mut connection = connect_from(ONE, tier.dns).await.with_context("connecting")?;
    over_tcp(&mut connection).await?;
    assert_eq!(tier.wait_for_exit().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_source_outside_the_allowed_networks_gets_no_answer() -> Result<(), Failure> {
    let (upstream, tier) = stage(&["--allowed-sources", "127.0.1.1/32"]).await?;
    assert_eq!(rcode(ONE, tier.dns, "www.example.com").await?, Some(ResponseCode::NoError));
    let asked = upstream.asked();
    let answer = timeout(Duration::from_millis(500), rcode(OTHER, tier.dns, "www.example.com")).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(is_closed(OTHER, tier.dns).await?);
    assert_eq!(upstream.asked(), asked);
    assert_eq!(rcode(ONE, tier.dns, "other.example.com").await?, Some(ResponseCode::NoError));
    Ok(())
}

#[tokio::test]
async fn tcp_connections_are_limited_per_source() -> Result<(), Failure> {
    let (_upstream, tier) = stage(&["--max-tcp-connections-per-source", "2"]).await?;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = connect_from(ONE, tier.dns).await.with_context("connecting")?;
        over_tcp(&mut connection).await?;
        held.push(connection);
    }
    assert!(!is_closed(OTHER, tier.dns).await?);
    let [first, second] = &mut held[..] else { return Err(Failure::new("two connections are held")) };
    assert!(!is_closed(ONE, tier.dns).await?, "it replaces the connection that has been idle longest");
    assert!(over_tcp(first).await.is_err());
    over_tcp(second).await.map(drop)
}

async fn over_tcp(connection: &mut TcpStream) -> Result<Vec<u8>, Failure> {
    let message = question("www.example.com", RecordType::A)?.to_vec().with_context("a question")?;
    exchange(connection, &message).await.with_context("sending a query over TCP")
}

/// Whether the tier closes a new connection from this source instead of sending an answer.
async fn is_closed(source: Ipv4Addr, server: SocketAddr) -> Result<bool, Failure> {
    let Ok(mut connection) = connect_from(source, server).await else { return Ok(true) };
    let answer = timeout(Duration::from_secs(5), over_tcp(&mut connection)).await;
    Ok(answer.with_context("sending a query over TCP")?.is_err())
}

#[tokio::test]
async fn queries_in_flight_are_limited_per_source() -> Result<(), Failure> {
    let (upstream, tier) = stage(&["--max-misses-per-source", "2"]).await?;
    upstream.change(|behaviour| behaviour.is_silent = true);
    let ask_one = |source, name: &'static str| rcode(source, tier.dns, name);
    let mut waiting = Box::pin(join_all([ask_one(ONE, "a.example.com"), ask_one(ONE, "b.example.com")]));
    // These two are polled first, so they are sent first; they wait, since the upstream is silent.
    assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    assert_eq!(ask_one(ONE, "c.example.com").await?, Some(ResponseCode::ServFail));
    let other = timeout(Duration::from_millis(200), ask_one(OTHER, "d.example.com")).await;
    assert!(other.is_err(), "{other:?}");
    assert_eq!(tier.metric("podlocal_dns_limits_reached_total", &[("limit", "misses_per_source")]).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_source_over_its_miss_limit_still_gets_cached_answers() -> Result<(), Failure> {
    let (_upstream, tier) = stage(&["--max-miss-rate-per-source", "1"]).await?;
    assert_eq!(rcode(OTHER, tier.dns, "known.example.com").await?, Some(ResponseCode::NoError));
    let mut codes = Vec::new();
    for number in 0..10 {
        codes.push(rcode(ONE, tier.dns, &format!("new-{number}.example.com")).await?);
    }
    assert!(codes.contains(&Some(ResponseCode::ServFail)), "{codes:?}");
    assert_eq!(codes[0], Some(ResponseCode::NoError), "{codes:?}");
    assert_eq!(rcode(ONE, tier.dns, "known.example.com").await?, Some(ResponseCode::NoError));
    Ok(())
}

#[tokio::test]
async fn workers_share_one_cache() -> Result<(), Failure> {
    let (upstream, tier) = stage(&[&["--workers", "4"][..], &ONE_SOURCE].concat()).await?;
    assert!(ask(tier.dns, "www.example.com").await?.is_answered());
    let asked = upstream.asked();
    // Each query has a new port, by which the kernel chooses the worker.
    for seen in join_all((0..64).map(|_| ask(tier.dns, "www.example.com"))).await {
        assert!(seen?.is_answered());
    }
    assert_eq!(upstream.asked(), asked);
    Ok(())
}
