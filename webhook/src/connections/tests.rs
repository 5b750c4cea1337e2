//! Which connection is evicted at a limit.

use std::time::Duration;

use super::*;

fn table(connections: usize, bytes: usize) -> Table {
    Table { limits: Limits { connections, bytes }, entries: BTreeMap::new(), next: 0, bytes: 0 }
}

fn client(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn admitted(table: &mut Table, source: u8, now: Instant) -> u64 {
    admit(table, source, now).expect("there is room")
}

fn admit(table: &mut Table, source: u8, now: Instant) -> Result<u64, usize> {
    table.admit(client(source), &mut None, now)
}

fn evicted(table: &Table) -> Vec<u64> {
    let evicted = table.entries.iter().filter(|(_, entry)| entry.state == State::Evicted);
    evicted.map(|(id, _)| *id).collect()
}

#[test]
fn source_with_most_connections_loses_its_oldest() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut table = table(4, 0);
    let server = admitted(&mut table, 1, at(0));
    let flood: Vec<_> = (1..4).map(|second| admitted(&mut table, 2, at(second))).collect();
    assert_eq!(admit(&mut table, 3, at(4)), Err(1));
    assert_eq!(evicted(&table), [flood[0]]);
    assert_eq!(admit(&mut table, 3, at(4)), Err(0), "it is on its way out");
    table.remove(flood[0]);
    admitted(&mut table, 3, at(5));
    // A new request resets the age of a connection.
    table.set(flood[1], State::Incomplete, at(6));
    assert_eq!(admit(&mut table, 3, at(7)), Err(1));
    assert_eq!(evicted(&table), [flood[2]]);
    assert!(table.entries.contains_key(&server));
}

#[test]
fn connection_waiting_for_an_answer_is_never_evicted() {
    let now = Instant::now();
    let mut table = table(2, 100);
    let ids = [admitted(&mut table, 1, now), admitted(&mut table, 1, now)];
    for id in ids {
        assert_eq!(table.grow(id, 50, now), Grant::Granted);
        table.set(id, State::Complete, now);
    }
    assert_eq!(admit(&mut table, 2, now), Err(0));
    assert_eq!(table.grow(ids[0], 1, now), Grant::Wait(0));
    assert!(evicted(&table).is_empty());
    table.set(ids[1], State::Incomplete, now);
    assert_eq!(admit(&mut table, 2, now), Err(1));
    assert_eq!(evicted(&table), [ids[1]]);
}

#[test]
fn bytes_are_reclaimed_from_the_oldest_unfinished_request() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut table = table(10, 100);
    let silent = admitted(&mut table, 1, at(0));
    let old: Vec<_> = (1..4).map(|second| admitted(&mut table, 2, at(second))).collect();
    for id in &old {
        assert_eq!(table.grow(*id, 30, at(9)), Grant::Granted);
    }
    let new = admitted(&mut table, 3, at(9));
    assert_eq!(table.grow(new, 10, at(9)), Grant::Granted);
    assert_eq!(table.grow(new, 50, at(9)), Grant::Wait(2));
    assert_eq!(evicted(&table), old[..2], "only these, and not the connection without bytes: {silent}");
    assert_eq!(table.grow(new, 50, at(9)), Grant::Wait(0), "they are on their way out");
    table.remove(old[0]);
    table.remove(old[1]);
    assert_eq!(table.grow(new, 50, at(9)), Grant::Granted);
    assert_eq!(table.bytes, 90);
    assert_eq!(table.grow(old[2], 20, at(9)), Grant::Evicted, "it is the oldest itself");
    table.shrink(new, 5);
    table.remove(old[2]);
    assert_eq!(table.bytes, 5);
    table.remove(new);
    assert_eq!((table.bytes, table.entries.len()), (0, 1));
}

#[test]
fn large_request_waits_for_the_grace_period_small_does_not() {
    let start = Instant::now();
    let mut table = table(10, 4 * SMALL_REQUEST);
    let [first, second, large, small] = [1, 2, 3, 4].map(|source| admitted(&mut table, source, start));
    for id in [first, second] {
        assert_eq!(table.grow(id, 2 * SMALL_REQUEST, start), Grant::Granted);
    }
    assert_eq!(table.grow(large, SMALL_REQUEST + 1, start), Grant::Wait(0));
    assert_eq!(table.grow(small, SMALL_REQUEST, start), Grant::Wait(1));
    assert_eq!(evicted(&table), [first]);
    table.remove(first);
    assert_eq!(table.grow(small, SMALL_REQUEST, start), Grant::Granted);
    assert_eq!(table.grow(large, SMALL_REQUEST + 1, start), Grant::Wait(0));
    assert_eq!(table.grow(large, SMALL_REQUEST + 1, start + GRACE_PERIOD), Grant::Wait(1));
    assert_eq!(evicted(&table), [second]);
}

#[tokio::test]
async fn waiting_request_gets_bytes_after_an_eviction() {
    let limits = Limits { connections: 3, bytes: 100 };
    let connections = Connections::new(limits, Arc::new(Metrics::default()));
    let (old, new) = (connections.admit(client(1), None).await, connections.admit(client(2), None).await);
    let mut of_old = old.begin_request();
    of_old.grow(80).await.expect("there is room");
    let mut of_new = new.begin_request();
    let waiting = async {
        of_new.grow(60).await.expect("it gets them");
    };
    let going = async {
        // The oldest one learns of its eviction when it asks again, and closes.
        while of_old.grow(0).await.is_ok() {
            tokio::task::yield_now().await;
        }
        drop(of_old);
    };
    tokio::join!(waiting, going);
    assert_eq!(connections.table().bytes, 60);
    drop(of_new);
    assert_eq!(connections.table().bytes, 0);
    drop((old, new));
    assert!(connections.table().entries.is_empty());
}
