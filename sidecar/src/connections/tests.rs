use super::*;
use std::future::pending;
use tokio::task::JoinHandle;

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
const THIRD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

/// A connection whose task runs until it is aborted.
struct Connection {
    seat: Arc<Seat>,
    task: JoinHandle<()>,
}

impl Connection {
    async fn is_closed(&self) -> bool {
        tokio::task::yield_now().await;
        self.task.is_finished()
    }
}

struct Port(Arc<Connections>, Instant);

impl Port {
    /// Limits: three connections, two of one source, 100 bytes, of which each connection takes 10.
    fn new() -> Self {
        let bounds = Bounds {
            most: (3, Limit::TcpConnections),
            of_source: (2, Limit::TcpConnectionsPerSource),
            bytes: (100, Limit::TcpMemory),
            bytes_of_each: 10,
        };
        let now = Instant::now();
        Self(Connections::new(bounds, Metrics::new().0, now), now)
    }

    /// Opens a connection that is idle from this millisecond on.
    fn open(&self, source: IpAddr, milliseconds: u64) -> Option<Connection> {
        let seat = self.0.admit(source, self.1 + Duration::from_millis(milliseconds))?;
        let task = tokio::spawn(pending());
        seat.is_served_by(task.abort_handle());
        Some(Connection { seat, task })
    }
}

#[tokio::test]
async fn a_source_at_its_limit_loses_its_own_oldest_idle_connection() {
    let port = Port::new();
    let [other, first, second] =
        [(OTHER, 0), (ONE, 1), (ONE, 2)].map(|(source, at)| port.open(source, at).expect("a place"));
    let third = port.open(ONE, 3).expect("a place");
    assert!(first.is_closed().await);
    assert!(!other.is_closed().await && !second.is_closed().await && !third.is_closed().await);
}

#[tokio::test]
async fn busy_connections_are_never_closed_for_others() {
    let port = Port::new();
    let open: Vec<_> =
        [ONE, ONE, OTHER].into_iter().map(|source| port.open(source, 0).expect("a place")).collect();
    for connection in &open {
        connection.seat.busy();
    }
    assert!(port.open(ONE, 1).is_none() && port.open(THIRD, 1).is_none());
    open[2].seat.idle_since(port.1);
    assert!(port.open(ONE, 2).is_none(), "connections of another source stay open");
    assert!(port.open(THIRD, 2).is_some());
    assert!(open[2].is_closed().await && !open[0].is_closed().await);
}

#[tokio::test]
async fn a_closed_connection_frees_its_place_and_memory() {
    let port = Port::new();
    let first = port.open(ONE, 0).expect("a place");
    let held = first.seat.hold(60).expect("memory");
    let _second = port.open(ONE, 1).expect("a place");
    drop((held, first));
    let third = port.open(ONE, 2).expect("a place");
    assert!(third.seat.hold(80).is_some(), "100 less 10 for each of two");
    assert_eq!(lock(&port.0.table).bytes, 20);
}

#[tokio::test]
async fn the_idle_connection_with_most_memory_is_closed_first() {
    let port = Port::new();
    let [idle, slow, busy] =
        [(ONE, 0), (ONE, 1), (OTHER, 2)].map(|(source, at)| port.open(source, at).expect("a place"));
    let _slow_holds = slow.seat.hold(30).expect("memory");
    let _busy_holds = busy.seat.hold(35).expect("memory");
    busy.seat.busy();
    assert!(idle.seat.hold(20).is_some());
    assert!(slow.is_closed().await && !idle.is_closed().await && !busy.is_closed().await);
    assert!(idle.seat.hold(60).is_none(), "no idle connection holds as much");
    assert!(!busy.is_closed().await && idle.is_closed().await);
}

#[tokio::test]
async fn late_drops_of_a_closed_connection_do_not_affect_its_successor() {
    let port = Port::new();
    let closed = port.open(ONE, 0).expect("a place");
    let held = closed.seat.hold(20).expect("memory");
    let second = port.open(ONE, 1).expect("a place");
    let third = port.open(ONE, 2).expect("a place");
    assert!(closed.is_closed().await);
    drop((held, closed));
    assert_eq!(lock(&port.0.table).bytes, 20);
    drop((second, third));
    let table = lock(&port.0.table);
    assert_eq!((table.bytes, table.free.len(), table.of_source.len()), (0, 3, 0));
}
