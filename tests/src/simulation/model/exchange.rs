//! Exchanges: the questions that are on their way, and the ways that they go.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Consequence, Event, Model, WAY};
use crate::gang::arm::Arm;
use crate::simulation::liveness::CHECKS;
use crate::simulation::plan::Question;
use crate::simulation::policy::{Act, Leader, Situation, Stage, Whom, act};
use crate::simulation::tier::{Asked, Client};

/// A question on its way, from a pod, its sidecar, its node, or the tier.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    leader: Leader,
    origin: Origin,
    question: Question,
    begun: Duration,
    next: Stage,
    pub(super) is_from_cache: bool,
    is_done: bool,
}

/// Whom an answer is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// One of the questions of a pod's round.
    Pod { pod: usize, round: u32, index: usize },
    /// All that wait for it at a process of the tier.
    Tier(usize),
}

impl Model {
    pub(super) fn schedule(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + after, self.sequence, event)));
    }

    /// Something goes over the network, and perhaps not to its end.
    fn send(&mut self, after: Duration, by_tcp: bool, event: Event) {
        if self.gets_through(by_tcp) {
            self.schedule(after + WAY, event);
        }
    }

    fn gets_through(&mut self, by_tcp: bool) -> bool {
        by_tcp || self.random.f64() >= self.gang.capacity.loss
    }

    pub(super) fn begin_exchange(&mut self, leader: Leader, origin: Origin, question: Question) -> usize {
        self.exchanges.push(Exchange {
            leader,
            origin,
            question,
            begun: self.now,
            next: Stage::First,
            is_from_cache: false,
            is_done: false,
        });
        self.exchanges.len() - 1
    }

    pub(super) fn node_knows(&self, pod: usize, question: Question) -> bool {
        let until = self.node_caches.get(&(pod / self.gang.pods_per_node, question));
        until.is_some_and(|until| *until > self.now)
    }

    /// What an exchange does at that stage, if it has not come to its end, or been led another way.
    pub(super) fn act(&mut self, exchange: usize, stage: Stage) -> Consequence {
        let Exchange { leader, origin, question, begun, next, is_done, .. } = self.exchanges[exchange];
        if is_done || next != stage {
            return None;
        }
        let elapsed = self.now.saturating_sub(begun);
        let chance = if leader == Leader::SidecarBehindTier { self.random.f64() } else { 0.0 };
        let in_cluster = question.in_cluster;
        let is_tier_alive = match origin {
            Origin::Pod { pod, .. } if stage == Stage::Leave => self.liveness[pod].conclude(begun),
            _ => false,
        };
        let (act, next) = act(stage, Situation { leader, elapsed, in_cluster, is_tier_alive, chance });
        match act {
            Act::Ask { whom: Whom::ClusterDns, by_tcp } => {
                self.send(Duration::ZERO, by_tcp, Event::Arrives { exchange, by_tcp });
            }
            Act::Ask { whom: Whom::Tier, by_tcp } => self.send_to_tier(exchange, by_tcp, None),
            Act::Look => self.look(exchange),
            Act::Wait => {}
            Act::Fail => return self.end(exchange, false),
        }
        if let Some((after, stage)) = next {
            self.exchanges[exchange].next = stage;
            self.schedule(after, Event::Due { exchange, stage });
        }
        None
    }

    /// By a port of its own, so that chance, as kube-proxy and the kernel have it, decides who gets it.
    fn send_to_tier(&mut self, exchange: usize, by_tcp: bool, look: Option<Duration>) {
        let Origin::Pod { pod, .. } = self.exchanges[exchange].origin else { return };
        let tier = match self.gang.tier.replicas {
            0 => pod / self.gang.pods_per_node,
            replicas => self.random.usize(..replicas),
        };
        let client = Client { exchange, core: self.random.usize(..self.gang.tier.cores), by_tcp };
        self.send(Duration::ZERO, by_tcp, Event::ArrivesAtTier { tier, client, look });
    }

    fn look(&mut self, exchange: usize) {
        let Exchange { origin: Origin::Pod { pod, .. }, begun, .. } = self.exchanges[exchange] else {
            return;
        };
        if self.liveness[pod].want(self.now, begun) {
            for _ in 0..CHECKS {
                self.send_to_tier(exchange, false, Some(self.now));
            }
        }
    }

    pub(super) fn is_alive(&mut self, exchange: usize, asked_at: Duration) {
        if let Origin::Pod { pod, .. } = self.exchanges[exchange].origin {
            self.liveness[pod].answer(self.now, asked_at);
        }
    }

    pub(super) fn arrive(&mut self, exchange: usize, by_tcp: bool) {
        self.outcome.queries += 1;
        let done = if by_tcp { Some(self.queue.stream(self.now)) } else { self.queue.datagram(self.now) };
        self.outcome.dropped += u64::from(done.is_none());
        let comes_back = self.gets_through(by_tcp);
        if let Some(done) = done.filter(|_| comes_back) {
            self.schedule(done.saturating_sub(self.now) + WAY, Event::Answered { exchange });
        }
    }

    pub(super) fn arrive_at_tier(&mut self, tier: usize, client: Client, look: Option<Duration>) {
        self.outcome.tier_queries += 1;
        let done = self.tiers[tier].arrive(self.now, client);
        self.outcome.tier_dropped += u64::from(done.is_none());
        let Some(after) = done.map(|done| done.saturating_sub(self.now)) else { return };
        if let Some(asked_at) = look {
            self.send(after, false, Event::Alive { exchange: client.exchange, asked_at });
        } else {
            self.schedule(after, Event::Read { tier, client });
        }
    }

    pub(super) fn read(&mut self, tier: usize, client: Client) {
        let Client { exchange, by_tcp, .. } = client;
        let question = self.exchanges[exchange].question;
        match self.tiers[tier].ask(self.now, question, client) {
            Asked::Known => self.send(Duration::ZERO, by_tcp, Event::Answered { exchange }),
            Asked::Joins => {}
            Asked::Leads => {
                let exchange = self.begin_exchange(Leader::Tier, Origin::Tier(tier), question);
                // Neither is this the end of one.
                let _ = self.act(exchange, Stage::First);
            }
        }
    }

    /// The tier cannot: who has not given it up yet does so now.
    pub(super) fn refuse(&mut self, exchange: usize) {
        if self.exchanges[exchange].next < Stage::Alone {
            self.exchanges[exchange].next = Stage::Alone;
            self.schedule(Duration::ZERO, Event::Due { exchange, stage: Stage::Alone });
        }
    }

    /// An exchange has its answer, or ends without: SERVFAIL.
    pub(super) fn end(&mut self, exchange: usize, is_answered: bool) -> Consequence {
        let Exchange { origin, question, is_from_cache, is_done, .. } = self.exchanges[exchange];
        self.exchanges[exchange].is_done = true;
        if is_done {
            return None;
        }
        let (pod, round, index) = match origin {
            Origin::Pod { pod, round, index } => (pod, round, index),
            Origin::Tier(tier) => {
                let life = is_answered.then_some(question.life());
                for (Client { exchange, by_tcp, .. }, at) in self.tiers[tier].end(self.now, question, life) {
                    let event =
                        if is_answered { Event::Answered { exchange } } else { Event::Refused { exchange } };
                    self.send(at.saturating_sub(self.now), by_tcp, event);
                }
                return None;
            }
        };
        if !is_answered {
            return Some((pod, self.pods[pod].fail(&self.plan, round)));
        }
        if self.gang.arm == Arm::NodeLocal && !is_from_cache {
            let node = pod / self.gang.pods_per_node;
            self.node_caches.insert((node, question), self.now + question.life());
        }
        Some((pod, self.pods[pod].answer(&self.plan, round, index)))
    }
}
