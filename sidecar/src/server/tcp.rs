//! Streams: two bytes of length before each message (RFC 1035 section 4.2.2), answers as they come, in any
//! order (RFC 7766 section 6.2.1.1).
//!
//! ```text
//!   reader --- hit ----------------------> queue of answers ---> writer
//!      '------ miss: a task of its own ------^
//! ```
//!
//! The reader stops reading at [`limits::QUERIES_PER_CONNECTION`] queries under way. Whoever is silent, sends
//! half a message or does not take its answers for [`limits::TCP_IDLE`] is cut off.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::{Ending, Service, Step};
use crate::limits;
use crate::metrics::{Limit, Metrics, Transport};
use crate::shutdown::Drain;
use crate::sources::Place;
use crate::upstream::Upstream;

/// Accepts until the drain begins.
pub async fn serve<U: Upstream>(listener: Arc<TcpListener>, service: Arc<Service<U>>, mut drain: Drain) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.begun() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => admit(stream, client.ip(), &service, &drain),
            Err(error) => {
                // Out of descriptors, mostly. Those who are connected go on; give them time to leave.
                tracing::debug!(%error, "cannot accept");
                sleep(AFTER_AN_ERROR).await;
            }
        }
    }
}

/// How long to wait after the kernel could not give us a connection.
const AFTER_AN_ERROR: Duration = Duration::from_millis(50);

/// Closes a connection that may not be, or serves it in tasks of its own.
fn admit<U: Upstream>(stream: TcpStream, source: IpAddr, service: &Arc<Service<U>>, drain: &Drain) {
    if !service.sources.are_answered(source, Instant::now().into_std()) {
        return service.metrics.limit_reached(Limit::Sources);
    }
    let Some(of_source) = service.sources.connection(source) else {
        return service.metrics.limit_reached(Limit::TcpConnectionsPerSource);
    };
    let Ok(place) = Arc::clone(&service.connections).try_acquire_owned() else {
        return service.metrics.limit_reached(Limit::TcpConnections);
    };
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (answers, queue) = mpsc::channel(limits::QUERIES_PER_CONNECTION);
    let answers = Answers { queue: answers, room: Arc::new(Semaphore::new(ROOM)) };
    let metrics = service.metrics.clone();
    tokio::spawn(write(writer, queue, metrics, (place, of_source, drain.clone())));
    let service = Arc::clone(service);
    let drain = drain.clone();
    tokio::spawn(async move {
        if let Err(error) = read(reader, source, answers, service, drain).await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}

/// Reads messages until the client ends, breaks the rules, or the drain begins. Answers under way hold their
/// own handle of the queue, so the writer ends after the last of them.
async fn read<U: Upstream>(
    reader: OwnedReadHalf,
    source: IpAddr,
    answers: Answers,
    service: Arc<Service<U>>,
    mut drain: Drain,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(READ_BUFFER, reader);
    let under_way = Arc::new(Semaphore::new(limits::QUERIES_PER_CONNECTION));
    let (mut message, mut answer) = (Vec::new(), Vec::new());
    loop {
        let Ok(place) = Arc::clone(&under_way).acquire_owned().await else { return Ok(()) };
        tokio::select! {
            biased;
            () = drain.begun() => return Ok(()),
            () = answers.queue.closed() => return Ok(()),
            whole = timeout(limits::TCP_IDLE, receive(&mut reader, &mut message)) => {
                let Ok(whole) = whole else {
                    service.metrics.limit_reached(Limit::TcpIdle);
                    return Ok(());
                };
                if !whole? {
                    return Ok(());
                }
            }
        }
        let now = Instant::now().into_std();
        match service.step(&message, source, Transport::Tcp, now, &mut answer) {
            Step::Silence(_) => {}
            Step::Answer(_) => {
                if !answers.send(&answer).await {
                    return Ok(());
                }
            }
            Step::Wait(query, places) => {
                let (answers, service, drain) = (answers.clone(), Arc::clone(&service), drain.clone());
                let (client, key) = (query.client().stored(), Arc::new(query.key));
                tokio::spawn(async move {
                    let ending = Ending::of(&service, &client, Transport::Tcp);
                    let resolution = service.resolve(&key).await;
                    service.metrics.waited(Instant::now().into_std().saturating_duration_since(places.since));
                    let write = |answer: &mut Vec<u8>| {
                        ending.write(&resolution, true, answer);
                    };
                    answers.write(write).await;
                    drop((place, places, drain));
                });
            }
        }
    }
}

/// Holds a burst of pipelined queries.
const READ_BUFFER: usize = 2048;

/// From how many bytes on answers are written at once, whatever else is there.
const GATHERED: usize = 4096;

/// Reads one message; `false` when the client has ended between two.
async fn receive(reader: &mut BufReader<OwnedReadHalf>, message: &mut Vec<u8>) -> io::Result<bool> {
    let length = match reader.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    message.resize(usize::from(length), 0);
    reader.read_exact(message).await?;
    Ok(true)
}

/// The way of answers to the writer, bounded in bytes: whoever does not take answers is not read further.
#[derive(Debug, Clone)]
struct Answers {
    queue: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
}

/// An answer behind its length, and the room that it takes until it is written.
type Frame = (Vec<u8>, OwnedSemaphorePermit);

/// The bytes of answers that one connection may leave untaken: two of the longest.
const ROOM: usize = 2 * LONGEST_FRAME;

const LONGEST_FRAME: usize = 2 + limits::TCP_MESSAGE;

impl Answers {
    /// Hands an answer over when there is room; `false` when the client has left.
    async fn send(&self, answer: &[u8]) -> bool {
        let frame = frame(answer);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(frame.len() as u32).await else {
            return false;
        };
        self.queue.send((frame, room)).await.is_ok()
    }

    /// The same where many write at once: none has an answer before there is room for the longest.
    async fn write(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let room = Arc::clone(&self.room).acquire_many_owned(LONGEST_FRAME as u32).await;
        let Ok(mut room) = room else { return };
        let mut answer = Vec::new();
        write(&mut answer);
        let frame = frame(&answer);
        drop(room.split(LONGEST_FRAME - frame.len()));
        let _ = self.queue.send((frame, room)).await; // fails when the client has left
    }
}

/// Puts the length before an answer, which never has more than 65,535 bytes.
fn frame(answer: &[u8]) -> Vec<u8> {
    [&(answer.len() as u16).to_be_bytes(), answer].concat()
}

/// Writes answers until there are no more to come. The place among the connections is free when it ends, and
/// the drain waits for it: an answer in the queue is not yet given.
async fn write(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Frame>,
    metrics: Metrics,
    _held: (OwnedSemaphorePermit, Place, Drain),
) {
    while let Some((mut answers, mut room)) = queue.recv().await {
        // What is there already leaves with it, in one segment if it can.
        while answers.len() < GATHERED
            && let Ok((next, more)) = queue.try_recv()
        {
            answers.extend_from_slice(&next);
            room.merge(more);
        }
        let mut left = answers.as_slice();
        while !left.is_empty() {
            match timeout(limits::TCP_IDLE, writer.write(left)).await {
                Ok(Ok(written)) if written > 0 => left = left.get(written..).unwrap_or_default(),
                Ok(_) => return,
                Err(_) => return metrics.limit_reached(Limit::TcpIdle),
            }
        }
    }
    let _ = writer.shutdown().await; // fails when the client was first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_one_connection_leaves_untaken_is_bounded_in_bytes() {
        let (sender, mut queue) = mpsc::channel(limits::QUERIES_PER_CONNECTION);
        let answers = Answers { queue: sender, room: Arc::new(Semaphore::new(ROOM)) };
        let longest = vec![0; limits::TCP_MESSAGE];
        let moment = Duration::from_millis(1);
        assert!(answers.send(&longest).await && answers.send(&longest).await);
        assert!(timeout(moment, answers.send(b"short")).await.is_err(), "there is no room");
        assert!(timeout(moment, answers.write(|_| panic!("nothing is written"))).await.is_err());
        drop(queue.recv().await);
        assert!(answers.send(b"short").await, "one was taken");
        drop(queue.recv().await);
        answers.write(|out| out.extend_from_slice(b"longer")).await;
        assert_eq!(queue.recv().await.expect("an answer").0, b"\x00\x05short");
        assert_eq!(queue.recv().await.expect("an answer").0, b"\x00\x06longer");
        assert_eq!(answers.room.available_permits(), ROOM);
    }
}
