//! One source that asks for names again and again, as fast as it is answered.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use hickory_proto::rr::RecordType;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::batch::{Receiver, connected_for, question, rcode, send_row};
use crate::failure::{Failure, Tried};
use crate::faults::client::ask_from;
use crate::process::Pinned;

/// Sockets of a source: the kernel spreads the ports over the threads of the tier.
const SOCKETS: usize = 24;

/// Questions under way on each socket. All together fit into the receive buffer that a socket has by default, some 270
/// datagrams.
const WINDOW: usize = 8;

/// After so much silence what is under way is taken for lost.
const SILENCE: Duration = Duration::from_millis(200);

/// What it asks, and from where.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) server: SocketAddr,
    pub(super) source: Ipv4Addr,
    /// On one core, or wherever there is room.
    pub(super) core: Option<usize>,
    /// Questions of one length, in a row.
    questions: Vec<u8>,
    length: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    /// Answers a second, those that failed left out.
    pub(super) per_second: f64,
    /// Answers, those that failed left out.
    pub(super) answered: u64,
    /// Answers other than NOERROR.
    pub(super) failed: u64,
    /// Questions that got no answer.
    pub(super) lost: u64,
    /// The share of a core that asking took: with 1.0 it is the asker that was measured.
    pub(super) busy: f64,
}

impl Load {
    /// So many hot names; they are not hot yet.
    pub(super) fn of(
        names: usize,
        server: SocketAddr,
        source: Ipv4Addr,
        core: Option<usize>,
    ) -> Result<Self, Failure> {
        let questions = (0..names).map(|number| question(number as u16, &hot_name(number), RecordType::A));
        let questions: Vec<_> = questions.collect::<Result<_, _>>()?;
        let length = questions.first().map_or(0, Vec::len);
        Ok(Self { server, source, core, questions: questions.concat(), length })
    }

    /// Asks for that long, in a thread of its own.
    pub(super) async fn run(&self, duration: Duration) -> Result<Figures, Failure> {
        let load = self.clone();
        let measured = tokio::task::spawn_blocking(move || {
            let _pinned = load.core.map(Pinned::to).transpose()?;
            load.ask(duration)
        });
        measured.await.tried(|| "asking".to_owned())?
    }

    fn ask(&self, duration: Duration) -> Result<Figures, Failure> {
        let watching = || "watching sockets".to_owned();
        let count = self.questions.len() / self.length;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).tried(watching)?;
        let mut flows = Vec::with_capacity(SOCKETS);
        for index in 0..SOCKETS {
            let socket = connected_for(self.length, self.source, self.server)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).tried(watching)?;
            // Each begins elsewhere, so that not all ask for the same name at the same time.
            let next = index * count / SOCKETS;
            flows.push(Flow { socket, next, under_way: 0, heard_at: Instant::now() });
        }
        let (mut receiver, mut figures) = (Receiver::new(), Figures::default());
        let mut events = [EpollEvent::empty(); SOCKETS];
        let (start, busy) = (Instant::now(), thread_time()?);
        let mut checked_at = start;
        for flow in &mut flows {
            flow.fill(&self.questions, self.length)?;
        }
        while start.elapsed() < duration {
            let ready = epoll.wait(&mut events, EpollTimeout::from(20_u8)).tried(watching)?;
            let now = Instant::now();
            for event in &events[..ready] {
                let Some(flow) = flows.get_mut(usize::try_from(event.data()).unwrap_or_default()) else {
                    continue;
                };
                flow.receive(&mut receiver, &mut figures, now)?;
                flow.fill(&self.questions, self.length)?;
            }
            if now - checked_at > SILENCE {
                checked_at = now;
                for flow in flows.iter_mut().filter(|flow| now - flow.heard_at > SILENCE) {
                    figures.lost += flow.under_way as u64;
                    (flow.under_way, flow.heard_at) = (0, now);
                    flow.fill(&self.questions, self.length)?;
                }
            }
        }
        let elapsed = start.elapsed().as_secs_f64();
        figures.per_second = figures.answered as f64 / elapsed;
        figures.busy = (thread_time()? - busy) / elapsed;
        Ok(figures)
    }
}

struct Flow {
    socket: UdpSocket,
    /// The place of the next question.
    next: usize,
    under_way: usize,
    heard_at: Instant,
}

impl Flow {
    fn receive(
        &mut self,
        receiver: &mut Receiver,
        figures: &mut Figures,
        now: Instant,
    ) -> Result<(), Failure> {
        for (answer, _) in receiver.receive(&self.socket).tried(|| "receiving".to_owned())? {
            let is_good = rcode(answer) == Some(0);
            figures.answered += u64::from(is_good);
            figures.failed += u64::from(!is_good);
            self.under_way = self.under_way.saturating_sub(1);
            self.heard_at = now;
        }
        Ok(())
    }

    /// As many questions as the window has room for; those at the end of the row wait for the next time.
    fn fill(&mut self, questions: &[u8], length: usize) -> Result<(), Failure> {
        let (count, room) = (questions.len() / length, WINDOW.saturating_sub(self.under_way));
        let end = (self.next + room).min(count);
        let row = &questions[self.next * length..end * length];
        if !row.is_empty() && send_row(&self.socket, row).tried(|| "sending".to_owned())? {
            self.under_way += end - self.next;
            self.next = end % count;
        }
        Ok(())
    }
}

/// User and system time of this thread, in seconds.
fn thread_time() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).tried(|| "reading this thread's time".to_owned())?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

/// All of one length.
fn hot_name(number: usize) -> String {
    format!("hot-{number:05}.example.com")
}

/// Makes so many names hot: asks for each, from several addresses, so that no source asks for too much.
pub(super) async fn warm(server: SocketAddr, names: usize) -> Result<(), Failure> {
    let ask_one = |number: usize| async move {
        let source = Ipv4Addr::new(127, 0, 3, (number % 4) as u8 + 1);
        ask_from(source, server, &hot_name(number), RecordType::A).await
    };
    let seen: Vec<_> = stream::iter(0..names).map(ask_one).buffer_unordered(50).collect().await;
    let seen = seen.into_iter().collect::<Result<Vec<_>, _>>()?;
    match seen.iter().filter(|seen| !seen.is_answered()).count() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} of {names} names could not be made hot"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::upstream::Upstream;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_answered_is_counted_and_what_is_refused_apart() -> Result<(), Failure> {
        let upstream = Upstream::start(1).await?;
        let load = Load::of(10, upstream.address, Ipv4Addr::LOCALHOST, None)?;
        let seen = load.run(Duration::from_millis(200)).await?;
        assert!(seen.answered > 0 && seen.failed == 0, "{seen:?}");
        upstream.change(|manner| manner.refusal = Some(2));
        let seen = load.run(Duration::from_millis(200)).await?;
        assert!(seen.answered == 0 && seen.failed > 0, "{seen:?}");
        Ok(())
    }
}
