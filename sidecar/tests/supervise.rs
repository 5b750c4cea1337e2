//! `podlocal-sidecar supervise`: the proxy is killed, and is there again.

mod support;

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use support::{PATIENCE, Proxy, RecordType, Upstream, address, query};

const RESTARTS: &str = "podlocal_dns_process_restarts_total";

async fn start() -> (Upstream, Proxy) {
    support::start(|query, _| address(query), &["supervise"]).await
}

/// The process that serves: the child of the one that was started.
fn serving(proxy: &Proxy) -> Pid {
    let parent = proxy.child.id().expect("still running");
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("readable");
    Pid::from_raw(children.trim().parse().expect("one child"))
}

#[tokio::test]
async fn a_killed_proxy_is_restarted_and_counted() {
    let (_upstream, mut proxy) = start().await;
    proxy.finds("www.example.").await;
    assert_eq!(proxy.metric(RESTARTS).await, 0);
    for restarts in 1..=2 {
        kill(serving(&proxy), Signal::SIGKILL).expect("the signal is sent");
        let line = proxy.logged("is restarted").await;
        assert!(line.contains("signal: 9"), "{line}");
        proxy.serves_again().await;
        proxy.finds("www.example.").await;
        assert_eq!(proxy.metric(RESTARTS).await, restarts);
    }
}

#[tokio::test]
async fn a_query_waits_while_no_proxy_runs() {
    let (_upstream, proxy) = start().await;
    proxy.finds("www.example.").await;
    let child = serving(&proxy);
    proxy.signal(Signal::SIGSTOP);
    kill(child, Signal::SIGKILL).expect("the signal is sent");
    let stat = format!("/proc/{child}/stat");
    let is_zombie = || fs::read_to_string(&stat).expect("not waited for yet").contains(") Z ");
    while !is_zombie() {
        sleep(std::time::Duration::from_millis(5)).await;
    }
    // A query to a port that nobody has bound is refused, and the next call on the socket fails.
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    client.connect(proxy.dns).await.expect("connects");
    let question = query("www.example.", RecordType::A, 1, None);
    client.send(&question.to_vec().expect("encodes")).await.expect("sends");
    let mut answer = [0; 512];
    let answered = client.recv(&mut answer);
    proxy.signal(Signal::SIGCONT);
    timeout(PATIENCE, answered).await.expect("in time").expect("not refused");
}

#[tokio::test]
async fn a_proxy_that_crashes_too_often_ends_the_program() {
    let (_upstream, mut proxy) = start().await;
    for _ in 0..5 {
        kill(serving(&proxy), Signal::SIGKILL).expect("the signal is sent");
        proxy.serves_again().await;
    }
    kill(serving(&proxy), Signal::SIGKILL).expect("the signal is sent");
    assert_eq!(proxy.exit_code().await, 137);
}

#[tokio::test]
async fn a_signal_reaches_the_proxy_whose_exit_code_is_returned() {
    let (_upstream, mut proxy) = start().await;
    proxy.signal(Signal::SIGTERM);
    proxy.logged("draining").await;
    assert_eq!(proxy.exit_code().await, 0);
}

#[tokio::test]
async fn the_proxy_ends_with_its_parent() {
    let (_upstream, mut proxy) = start().await;
    let child = serving(&proxy);
    proxy.signal(Signal::SIGKILL);
    proxy.child.wait().await.expect("waited for");
    let ended = async {
        while kill(child, None) != Err(Errno::ESRCH) {
            sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("it ends");
}
