//! The built program under attack from clients that reach its ports: its memory stays far below the limit of
//! the manifests, and reviews of the API server are answered meanwhile.

mod common;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use common::bodies::bodies;
use common::{Connection, Webhook, connect, eventually, head, pod, request, review_of};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{getsockopt, sockopt};
use podlocal_webhook::server::{self, ADMIN, LARGEST_REVIEW, REVIEWS};
use serde_json::json;

/// The memory limit of these tests, in MiB; the limit of the manifests is 128. When idle, a program that is
/// built for tests uses 13 MiB more than the one in the image.
const MOST: usize = 110;

#[test]
fn memory_is_bounded_with_many_large_bodies() {
    let webhook = Webhook::start(&[]);
    let (address, ca) = (webhook.address, webhook.authority());
    let bodies = bodies(LARGEST_REVIEW - 1_000);
    // With more requests than fit, the oldest would be evicted after two seconds.
    for bodies in bodies.chunks(5) {
        std::thread::scope(|scope| {
            for (what, body) in bodies {
                let (address, ca) = (address, &ca);
                scope.spawn(move || {
                    let head = head("POST", "/mutate", "application/json", body.len());
                    let answer = request(connect(address, ca), &head, body);
                    assert_eq!(answer.status, 200, "{what}");
                    assert!(answer.body.contains("\"allowed\":true"), "{what}: {}", answer.body);
                });
            }
        });
    }
    holds(&webhook);
}

#[test]
fn memory_is_bounded_with_unfinished_bodies() {
    let webhook = Webhook::start(&[]);
    let head = head("POST", "/mutate", "application/json", LARGEST_REVIEW);
    let unfinished: Vec<_> = in_parallel(&webhook, 60, |connection| {
        // The connection may be evicted before it has sent everything.
        let _ = connection
            .write_all(head.as_bytes())
            .and_then(|()| connection.write_all(&vec![b' '; LARGEST_REVIEW - 1]));
    });
    holds(&webhook);
    let closed = "podlocal_webhook_connections_closed_total{reason=\"memory_limit\"}";
    eventually("the oldest went", || counted(&webhook, closed) > 0);
    drop(unfinished);
}

#[test]
fn memory_is_bounded_with_unfinished_handshakes_and_heads() {
    let webhook = Webhook::start(&[]);
    raise_limit();
    let hello = [&[22, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xfb][..], &[0; 16_000]].concat();
    let handshakes: Vec<_> = (0..REVIEWS.connections + 100).map(|_| sent(webhook.address, &hello)).collect();
    holds(&webhook);
    let heads: Vec<_> = in_parallel(&webhook, 300, |connection| {
        let head = format!("POST /mutate HTTP/1.1\r\nx: {}", "y".repeat(15_000));
        let _ = connection.write_all(head.as_bytes());
    });
    holds(&webhook);
    let closed = "podlocal_webhook_connections_closed_total{reason=\"connection_limit\"}";
    eventually("the oldest went", || counted(&webhook, closed) >= 300);
    drop((handshakes, heads));
}

#[test]
fn memory_is_bounded_with_unread_answers() {
    let webhook = Webhook::start(&[]);
    let mut mistaken = pod();
    let annotations = (0..1_500).map(|number| (format!("podlocal-dns.io/x{number}"), json!("")));
    mistaken["metadata"]["annotations"] = annotations.collect::<serde_json::Map<_, _>>().into();
    let response = webhook.review(&review_of(&mistaken));
    assert!(
        response["warnings"][0]
            .as_str()
            .is_some_and(|warning| warning.contains("the response has more than 64 KiB"))
    );
    let body = review_of(&mistaken).to_string();
    let head = head("POST", "/mutate", "application/json", body.len()).replace("connection: close\r\n", "");
    let requests = format!("{head}{body}").repeat(2);
    let unread: Vec<_> = in_parallel(&webhook, 300, |connection| {
        let _ = connection.write_all(requests.as_bytes()).and_then(|()| connection.flush());
    });
    holds(&webhook);
    drop(unread);
}

/// The kernel charges socket buffers, which grow to megabytes by default, to the container.
#[tokio::test]
async fn socket_buffers_are_limited() {
    let listener = server::bind(Some(([127, 0, 0, 1], 0).into()), 0).expect("binds");
    let client = tokio::net::TcpStream::connect(listener.local_addr().expect("an address")).await;
    let (stream, _) = listener.accept().await.expect("accepts");
    let buffers = [
        getsockopt(&stream, sockopt::RcvBuf).expect("a size"),
        getsockopt(&stream, sockopt::SndBuf).expect("a size"),
    ];
    let most = buffers.iter().sum::<usize>() * REVIEWS.connections;
    assert!(most <= 26 << 20, "{buffers:?}");
    drop(client);
}

#[test]
fn probes_are_answered_while_the_admin_port_is_saturated() {
    let webhook = Webhook::start(&[]);
    let part = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(15_000));
    let held: Vec<_> = (0..ADMIN.connections + 50).map(|_| sent(webhook.admin, part.as_bytes())).collect();
    for _ in 0..10 {
        assert_eq!(webhook.admin_page("/readyz").status, 200);
    }
    holds(&webhook);
    let closed = counted(&webhook, "podlocal_webhook_connections_closed_total{reason=\"connection_limit\"}");
    assert!(closed >= 50, "{closed}");
    drop(held);
}

/// Asserts that a review is answered with a patch, and that the memory is below its limit.
fn holds(webhook: &Webhook) {
    assert!(webhook.review(&review_of(&pod())).get("patch").is_some());
    let most = webhook.most_memory();
    assert!(most < MOST, "{most} MiB");
}

/// Opens that many connections and sends on each, several in parallel.
fn in_parallel(webhook: &Webhook, count: usize, send: impl Fn(&mut Connection) + Sync) -> Vec<Connection> {
    const THREADS: usize = 10;
    let (address, ca) = (webhook.address, webhook.authority());
    let make = || {
        let mut connection = connect(address, &ca);
        send(&mut connection);
        connection
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| (0..count / THREADS).map(|_| make()).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("ends")).collect()
    })
}

/// A connection on which `bytes` were sent.
fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connects");
    let _ = stream.write_all(bytes);
    stream
}

fn counted(webhook: &Webhook, series: &str) -> usize {
    let page = webhook.admin_page("/metrics").body;
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("{series} is not in {page}"))
}

/// Raises the limit of file descriptors to its maximum.
fn raise_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("raises it");
}
