//! Simulates pods, the network and servers.

mod proxy;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use self::proxy::Proxy;
use super::Arm;
use super::gang::{Gang, Outcome};
use super::plan::{Question, Step, plan};
use super::server::Server;
use super::stub::{Socket, Stub, TIMEOUT};
use super::time::Time;

/// The network delay from a pod to a server, or between two servers.
const WAY: Duration = Duration::from_micros(250);

/// Longer than any gang takes.
const WITHOUT_LIMIT: Duration = Duration::from_secs(1 << 30);

/// Simulates a gang until every pod has finished its lookups.
pub fn simulate(gang: &Gang) -> Outcome {
    let mut gang = *gang;
    if gang.arm == Arm::Once {
        // Nothing is retransmitted, so nothing may be lost.
        (gang.loss, gang.cluster_dns.buffer) = (0.0, usize::MAX);
    }
    let replicas = if gang.arm == Arm::Tier { gang.tier_replicas } else { 0 };
    let (time, random) = (Time::new(), RefCell::new(fastrand::Rng::with_seed(gang.seed)));
    let start = time.now();
    let capacities = [gang.cluster_dns].into_iter().chain(std::iter::repeat_n(gang.tier, replicas));
    let model = Rc::new(Model {
        gang,
        plan: plan(gang.arm),
        random,
        servers: capacities.map(|capacity| RefCell::new(Server::new(capacity, start))).collect(),
        tier: (0..replicas).map(|_| Rc::new(Proxy::new(gang.arm, false))).collect(),
        outcome: RefCell::default(),
        time,
    });
    for _ in 0..gang.pods {
        let start = start + gang.spread.mul_f64(model.random.borrow_mut().f64());
        model.time.spawn(run_pod(Rc::clone(&model), start));
    }
    model.time.run_until(|| model.outcome.borrow().pod_seconds.len() == gang.pods);
    model.outcome.take().sorted()
}

async fn run_pod(model: Rc<Model>, start: Instant) {
    let arm = model.gang.arm;
    let sidecar = arm.has_sidecars().then(|| Rc::new(Proxy::new(arm, arm == Arm::Tier)));
    let ask = |question, index, socket: Socket| {
        let (model_of_query, sidecar) = (Rc::clone(&model), sidecar.clone());
        let answer = async move {
            match sidecar {
                Some(sidecar) => sidecar.resolve(&model_of_query, question).await,
                None => model_of_query.query(0, Message::Question(question), false).await,
            }
        };
        model.send_result(answer, socket, move |is_good| (index, is_good));
    };
    model.time.sleep_until(start).await;
    let timeout = if arm == Arm::Once { WITHOUT_LIMIT } else { TIMEOUT };
    let lookups = Stub::new(&model.time, timeout, ask).look_up_all(&model.plan).await;
    model.outcome.borrow_mut().record(&lookups, model.time.now() - start);
}

/// The cluster, and the network between its pods.
pub(super) struct Model {
    gang: Gang,
    plan: Rc<[Vec<Step>]>,
    pub(super) time: Time,
    random: RefCell<fastrand::Rng>,
    /// Cluster DNS, then the replicas of the tier; each has the queries that wait there.
    servers: Vec<RefCell<Server<oneshot::Sender<()>>>>,
    tier: Vec<Rc<Proxy>>,
    outcome: RefCell<Outcome>,
}

/// A query.
#[derive(Debug, Clone, Copy)]
pub(super) enum Message {
    /// One that needs an answer of cluster DNS.
    Question(Question),
    /// One that the tier answers itself: whether it is alive.
    Probe,
}

impl Model {
    /// A random number for jitter.
    pub(super) fn chance(&self) -> u16 {
        self.random.borrow_mut().u16(..)
    }

    /// The replica of the tier that gets a datagram: a random one, because each datagram has a different
    /// port.
    pub(super) fn tier_server(&self) -> usize {
        self.random.borrow_mut().usize(1..self.servers.len())
    }

    /// Lets a server answer, and sends the result to the receiver if there still is one. A server works on
    /// also when the client has given up.
    pub(super) fn send_result<T: 'static>(
        &self,
        answer: impl Future<Output = Option<bool>> + 'static,
        receiver: UnboundedSender<T>,
        result: impl FnOnce(bool) -> T + 'static,
    ) {
        self.time.spawn(async move {
            if let Some(is_good) = answer.await {
                let _ = receiver.send(result(is_good));
            }
        });
    }

    /// Sends a query to a server. Returns whether the answer is no SERVFAIL; `None` when the query or the
    /// answer is lost.
    pub(super) async fn query(
        self: &Rc<Self>,
        server: usize,
        message: Message,
        is_tcp: bool,
    ) -> Option<bool> {
        self.travel(is_tcp).await?;
        self.wait_at(server, is_tcp).await?;
        let is_good = match (server.checked_sub(1), message) {
            (None, _) => true,
            (Some(replica), Message::Probe) => !self.tier[replica].is_dead(self.time.now()),
            (Some(replica), Message::Question(question)) => {
                Box::pin(Rc::clone(&self.tier[replica]).resolve(self, question)).await?
            }
        };
        self.travel(is_tcp).await?;
        Some(is_good)
    }

    /// The way through the network; `None`: the datagram is lost.
    async fn travel(&self, is_tcp: bool) -> Option<()> {
        if !is_tcp && self.random.borrow_mut().f64() < self.gang.loss {
            return None;
        }
        self.time.sleep_until(self.time.now() + WAY).await;
        Some(())
    }

    /// Waits until the server has worked on the query; `None`: it has dropped the query.
    async fn wait_at(self: &Rc<Self>, server: usize, is_tcp: bool) -> Option<()> {
        let (query, worked) = oneshot::channel();
        let is_kept = self.servers[server].borrow_mut().arrive(query, is_tcp, self.time.now());
        if server == 0 {
            let outcome = &mut *self.outcome.borrow_mut();
            outcome.queries += 1;
            outcome.dropped += u64::from(!is_kept);
        }
        if let Some(first) = self.begin_work(server) {
            self.time.spawn(Rc::clone(self).work(server, first));
        }
        worked.await.ok()
    }

    fn begin_work(&self, server: usize) -> Option<Instant> {
        self.servers[server].borrow_mut().begin(self.time.now(), &mut self.random.borrow_mut())
    }

    /// Works until no query waits; the first work ends at `end`.
    async fn work(self: Rc<Self>, server: usize, mut end: Instant) {
        loop {
            self.time.sleep_until(end).await;
            if let Some(query) = self.servers[server].borrow_mut().end() {
                let _ = query.send(());
            }
            match self.begin_work(server) {
                Some(next) => end = next,
                None => return,
            }
        }
    }
}
