//! Whom to ask, how, and when. Pure: the time is passed in.
//!
//! | transport | servers (b has stepped back) | the order, from the left, then again from the left |
//! |---|---|---|
//! | auto | A | A by UDP, A by TCP |
//! | auto | A, C | A by UDP, C by UDP, A by TCP, C by TCP |
//! | auto | b, A | A by UDP, A by TCP, b by UDP, b by TCP |
//! | auto | a, b | a by UDP, b by UDP, a by TCP, b by TCP: all have, so none has |
//! | udp | b, A, C | A, C, b, each from a new port |
//! | tcp | b, A, C | A, C, b, each over a connection of its own |
//! | auto | T of the tier, A | T by UDP, T by TCP, T by UDP, A by UDP, A by TCP |
//! | auto | T and U of the tier, A | T by UDP, T by TCP, T by UDP, A by UDP, A by TCP, U by UDP |
//! | auto | t of the tier has stepped back, A | A by UDP, A by TCP, t by UDP, t by TCP |
//!
//! | what happens | the next in order is asked |
//! |---|---|
//! | nothing | 0.3, 0.9, 2.1 s after the first: the pause of the server asked last, doubled each time |
//! | a server fails at once | at once; the second time around, only at the times above |
//! | a server answers that it cannot | the same, and this exchange asks that server no more |
//! | a server of the tier fails, answers that it cannot, or is not alive | the next server is asked at once, and this exchange asks that one no more |
//!
//! A tier that is alive and silent waits for the same cluster DNS that we would ask: going around it would make a slow
//! cluster DNS slower by as many questions as there are pods. So it is asked three times before that.

use std::time::Duration;

use podlocal_settings::value::UpstreamTransport;
use tokio::time::Instant;

use crate::metrics::Transport;

/// One server, asked in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The server's place in the settings.
    pub server: usize,
    /// The transport.
    pub transport: Transport,
}

/// The order in which one exchange asks; each server is told of by whether it has stepped back, those of the tier, `tier`
/// in number, first.
pub fn steps(transport: UpstreamTransport, tier: usize, stepped_back: &[bool]) -> Vec<Step> {
    let (of_tier, of_upstream) = stepped_back.split_at(tier.min(stepped_back.len()));
    let all_have = of_upstream.iter().all(|has| *has);
    let group = |stepped_back_ones: bool| {
        let servers = (of_tier.len()..).zip(of_upstream);
        let chosen = servers.filter(move |(_, has)| (**has && !all_have) == stepped_back_ones);
        chosen.map(|(server, _)| server)
    };
    let first = first_transport(transport);
    let mut steps = Vec::with_capacity(stepped_back.len() * 2 + 1);
    let mut well = (0..).zip(of_tier).filter(|(_, has)| !**has).map(|(server, _)| server);
    if let Some(server) = well.next() {
        let second = transports(transport).get(1).copied().unwrap_or(first);
        steps.extend([first, second, first].map(|transport| Step { server, transport }));
    }
    for stepped_back_ones in [false, true] {
        for transport in transports(transport) {
            let servers = group(stepped_back_ones);
            steps.extend(servers.map(|server| Step { server, transport: *transport }));
        }
    }
    // Cluster DNS is nearer to an answer than another way into the tier.
    steps.extend(well.map(|server| Step { server, transport: first }));
    for transport in transports(transport) {
        let back = (0..).zip(of_tier).filter(|(_, has)| **has);
        steps.extend(back.map(|(server, _)| Step { server, transport: *transport }));
    }
    steps
}

/// By what a server is asked first.
pub fn first_transport(transport: UpstreamTransport) -> Transport {
    match transport {
        UpstreamTransport::Auto | UpstreamTransport::Udp => Transport::Udp,
        UpstreamTransport::Tcp => Transport::Tcp,
    }
}

/// How one server is probed in that round: as it is asked, but by TCP only now and then. A server that UDP
/// does not reach is found by it; a connection costs both sides more than a datagram.
pub fn probes(transport: UpstreamTransport, server: usize, round: u32) -> Vec<Step> {
    let is_due = |transport: &&Transport, alone: bool| {
        alone || **transport == Transport::Udp || round % TCP_PROBE_EVERY == TCP_PROBE_EVERY - 1
    };
    let transports = transports(transport);
    let due = transports.iter().filter(|transport| is_due(transport, transports.len() == 1));
    due.map(|transport| Step { server, transport: *transport }).collect()
}

const TCP_PROBE_EVERY: u32 = 4;

fn transports(transport: UpstreamTransport) -> &'static [Transport] {
    match transport {
        UpstreamTransport::Auto => &[Transport::Udp, Transport::Tcp],
        UpstreamTransport::Udp => &[Transport::Udp],
        UpstreamTransport::Tcp => &[Transport::Tcp],
    }
}

/// Where one exchange stands in its order, and when its next attempt is due.
#[derive(Debug)]
pub struct Schedule {
    steps: Vec<Step>,
    position: usize,
    doublings: u32,
    next_at: Instant,
}

impl Schedule {
    /// Nothing is asked yet; [`Schedule::at_once`] gives the first step.
    pub fn new(steps: Vec<Step>, now: Instant) -> Self {
        Self { steps, position: 0, doublings: 0, next_at: now }
    }

    /// The next step when it need not wait: the order has not been gone through once.
    pub fn at_once(&mut self) -> Option<Step> {
        let step = *self.steps.get(self.position)?;
        self.position += 1;
        Some(step)
    }

    /// The next step, when its time has come; the pauses grow.
    pub fn due(&mut self, now: Instant) -> Option<Step> {
        if self.steps.is_empty() || now < self.next_at {
            return None;
        }
        let step = self.steps.get(self.position % self.steps.len()).copied();
        self.position += 1;
        self.doublings += 1;
        step
    }

    /// When the next step is due; `None` when every server has answered.
    pub fn next_at(&self) -> Option<Instant> {
        (!self.steps.is_empty()).then_some(self.next_at)
    }

    /// Begins the pause behind a step that was taken, or that could not be paid for.
    pub fn wait(&mut self, now: Instant, pause: Duration) {
        self.next_at = now + pause * 2_u32.saturating_pow(self.doublings.min(8));
    }

    /// The pauses are as short as in the beginning: what was asked before is known to be lost.
    pub fn restart(&mut self) {
        self.doublings = 0;
    }

    /// A server has answered, or is left, and is not to be asked again.
    pub fn strike_out(&mut self, server: usize) {
        let gone_through = self.position.min(self.steps.len());
        let before = self.steps.iter().take(gone_through).filter(|step| step.server == server).count();
        self.position -= before;
        self.steps.retain(|step| step.server != server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Tcp, Udp};

    /// The steps as text: `A` for the first server by UDP, `A+` by TCP.
    fn text(steps: &[Step]) -> String {
        let name = |step: &Step| {
            let letter = char::from(b'A' + step.server as u8);
            format!("{letter}{}", if step.transport == Tcp { "+" } else { "" })
        };
        steps.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn healthy_servers_come_first_and_udp_comes_before_tcp() {
        use UpstreamTransport::{Auto, Tcp as TcpOnly, Udp as UdpOnly};
        let table = [
            (Auto, vec![false], "A A+"),
            (Auto, vec![true], "A A+"),
            (Auto, vec![false, false], "A B A+ B+"),
            (Auto, vec![true, false], "B B+ A A+"),
            (Auto, vec![true, true], "A B A+ B+"),
            (Auto, vec![true, false, false], "B C B+ C+ A A+"),
            (UdpOnly, vec![true, false, false], "B C A"),
            (UdpOnly, vec![false], "A"),
            (TcpOnly, vec![true, false, false], "B+ C+ A+"),
            (TcpOnly, vec![true, true], "A+ B+"),
        ];
        for (transport, stepped_back, expected) in table {
            assert_eq!(text(&steps(transport, 0, &stepped_back)), expected, "{transport:?} {stepped_back:?}");
        }
    }

    #[test]
    fn the_tier_comes_first_and_three_times_unless_it_has_stepped_back() {
        use UpstreamTransport::{Auto, Tcp as TcpOnly, Udp as UdpOnly};
        let table = [
            (Auto, 1, vec![false, false], "A A+ A B B+"),
            (Auto, 1, vec![false, true], "A A+ A B B+"),
            (Auto, 1, vec![true, false], "B B+ A A+"),
            (Auto, 1, vec![true, true], "B B+ A A+"),
            (Auto, 1, vec![false, true, false], "A A+ A C C+ B B+"),
            (Auto, 2, vec![false, false, false], "A A+ A C C+ B"),
            (Auto, 2, vec![true, false, false], "B B+ B C C+ A A+"),
            (UdpOnly, 1, vec![false, false], "A A A B"),
            (TcpOnly, 1, vec![true, false], "B+ A+"),
            (Auto, 1, vec![false], "A A+ A"),
        ];
        for (transport, tier, stepped_back, expected) in table {
            let steps = steps(transport, tier, &stepped_back);
            assert_eq!(text(&steps), expected, "{transport:?} {tier} {stepped_back:?}");
        }
    }

    #[test]
    fn a_server_is_probed_by_udp_each_time_and_by_tcp_every_fourth() {
        let rounds = |transport| {
            let rounds: Vec<_> = (0..5).map(|round| text(&probes(transport, 0, round))).collect();
            rounds.join(",")
        };
        assert_eq!(rounds(UpstreamTransport::Auto), "A,A,A,A A+,A");
        assert_eq!(rounds(UpstreamTransport::Udp), "A,A,A,A,A");
        assert_eq!(rounds(UpstreamTransport::Tcp), "A+,A+,A+,A+,A+");
    }

    /// Walks the clock in steps of 10 ms to 4 s: when what is asked, given a pause of that many milliseconds.
    fn walk(schedule: &mut Schedule, start: Instant, pause: u64) -> Vec<(u64, String)> {
        let mut asked = Vec::new();
        for milliseconds in (0..4000).step_by(10) {
            let now = start + Duration::from_millis(milliseconds);
            if let Some(step) = schedule.due(now) {
                schedule.wait(now, Duration::from_millis(pause));
                asked.push((milliseconds, text(&[step])));
            }
        }
        asked
    }

    #[test]
    fn the_next_is_asked_after_300_900_and_2100_ms_or_later_when_the_server_is_slow() {
        let start = Instant::now();
        let table = [
            (300, vec![(300, "A+"), (900, "A"), (2100, "A+")]),
            (1000, vec![(1000, "A+"), (3000, "A")]),
            (2500, vec![(2500, "A+")]),
        ];
        for (pause, expected) in table {
            let mut schedule = Schedule::new(steps(UpstreamTransport::Auto, 0, &[false]), start);
            assert_eq!(schedule.at_once(), Some(Step { server: 0, transport: Udp }));
            schedule.wait(start, Duration::from_millis(pause));
            let asked = walk(&mut schedule, start, pause);
            let asked: Vec<_> = asked.iter().map(|(at, step)| (*at, step.as_str())).collect();
            assert_eq!(asked, expected, "a pause of {pause} ms");
        }
    }

    #[test]
    fn what_fails_at_once_is_followed_at_once_one_time_around() {
        let mut schedule = Schedule::new(steps(UpstreamTransport::Auto, 0, &[false, false]), Instant::now());
        let at_once: Vec<_> = std::iter::from_fn(|| schedule.at_once()).collect();
        assert_eq!(text(&at_once), "A B A+ B+");
        assert!(schedule.next_at().is_some(), "then at the usual times");
    }

    #[test]
    fn a_server_that_has_answered_is_asked_no_more() {
        let start = Instant::now();
        let mut schedule = Schedule::new(steps(UpstreamTransport::Auto, 0, &[false, false]), start);
        assert_eq!(text(&[schedule.at_once().expect("a step")]), "A");
        schedule.strike_out(0);
        assert_eq!(text(&[schedule.at_once().expect("a step")]), "B");
        schedule.wait(start, Duration::from_millis(300));
        assert_eq!(walk(&mut schedule, start, 300)[0], (300, "B+".to_owned()));
        schedule.strike_out(1);
        assert_eq!((schedule.at_once(), schedule.next_at()), (None, None));
    }
}
