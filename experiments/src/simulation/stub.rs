//! glibc's stub resolver in one pod: answers and time-outs -> the queries that it sends. Pure.
//!
//! `send_dg` of resolv/res_send.c sends A and AAAA from one socket and waits for 5 s (`RES_TIMEOUT`):
//!
//! | received within 5 s | mode | next step |
//! |---|---|---|
//! | nothing | | both again over the same socket, so that an answer to the first attempt still counts; two attempts |
//! | one answer | both sent together | one after the other over the same socket, also for later lookups |
//! | one answer | one after the other | the same over a new socket |
//! | one answer | the same over a new socket | it is the answer |

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::plan::{Question, Step};

/// `RES_TIMEOUT`.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// `RES_DFLRETRY`: the number of attempts without an answer.
const ATTEMPTS: u8 = 2;

/// An application that looks up its names one after the other, and its resolver.
#[derive(Debug)]
pub(super) struct Stub {
    plan: Rc<[Vec<Step>]>,
    lookup: usize,
    step: usize,
    attempt: u8,
    mode: Mode,
    /// The current socket; an answer to another socket is lost.
    pub(super) socket: u32,
    /// The number of the current timer; it changes with each new one.
    pub(super) timer: u32,
    /// The results for the questions of the step; `false`: SERVFAIL.
    answered: Vec<Option<bool>>,
    /// Whether a candidate of the search list ended with SERVFAIL. Then the lookup fails unless a later
    /// candidate exists.
    has_servfail: bool,
    lookup_began: Instant,
    /// The duration of each lookup, and whether it failed.
    pub(super) lookups: Vec<(Duration, bool)>,
    pub(super) is_done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Together,
    OneByOne,
    OneByOneReopened,
}

impl Stub {
    /// A resolver whose first lookup starts at this time.
    pub(super) fn new(plan: Rc<[Vec<Step>]>, start: Instant) -> Self {
        Self {
            plan,
            lookup: 0,
            step: 0,
            attempt: 1,
            mode: Mode::Together,
            socket: 0,
            timer: 0,
            answered: Vec::new(),
            has_servfail: false,
            lookup_began: start,
            lookups: Vec::new(),
            is_done: false,
        }
    }

    pub(super) fn question(&self, index: usize) -> Question {
        self.plan[self.lookup][self.step][index]
    }

    /// Starts a step over a new socket. This and the next functions return the indexes of the questions to
    /// send.
    pub(super) fn begin(&mut self) -> Vec<usize> {
        self.socket += 1;
        self.attempt = 1;
        self.send()
    }

    /// A question of the step, identified by its socket and its index, is answered; when `is_good` is false,
    /// with SERVFAIL.
    pub(super) fn answer(
        &mut self,
        (socket, index): (u32, usize),
        is_good: bool,
        now: Instant,
    ) -> Vec<usize> {
        if self.is_done || socket != self.socket || self.answered[index].replace(is_good).is_some() {
            return Vec::new();
        }
        match self.answered.iter().position(Option::is_none) {
            Some(next) if self.mode != Mode::Together => vec![next],
            Some(_) => Vec::new(),
            None if self.answered.contains(&Some(true)) || self.attempt == ATTEMPTS => self.end_step(now),
            None => self.next_attempt(),
        }
    }

    pub(super) fn time_out(&mut self, timer: u32, now: Instant) -> Vec<usize> {
        if self.is_done || timer != self.timer {
            return Vec::new();
        }
        if self.answered.iter().all(Option::is_none) {
            // After the last attempt the lookup fails without the remaining search list (`res_search`:
            // `done`).
            return if self.attempt == ATTEMPTS { self.end_lookup(true, now) } else { self.next_attempt() };
        }
        self.mode = match self.mode {
            Mode::Together => Mode::OneByOne,
            Mode::OneByOne => Mode::OneByOneReopened,
            Mode::OneByOneReopened => return self.end_step(now),
        };
        self.socket += u32::from(self.mode == Mode::OneByOneReopened);
        self.send()
    }

    fn next_attempt(&mut self) -> Vec<usize> {
        self.attempt += 1;
        self.send()
    }

    fn send(&mut self) -> Vec<usize> {
        let questions = self.plan[self.lookup][self.step].len();
        self.timer += 1;
        self.answered = vec![None; questions];
        (0..if self.mode == Mode::Together { questions } else { 1 }).collect()
    }

    fn end_step(&mut self, now: Instant) -> Vec<usize> {
        let (steps, is_good) = (&self.plan[self.lookup], self.answered.contains(&Some(true)));
        self.has_servfail |= !is_good;
        if self.step + 1 < steps.len() {
            self.step += 1;
            return self.begin();
        }
        let exists = is_good && steps[self.step].iter().any(|question| !question.is_negative);
        self.end_lookup(self.has_servfail && !exists, now)
    }

    fn end_lookup(&mut self, has_failed: bool, now: Instant) -> Vec<usize> {
        self.lookups.push((now - self.lookup_began, has_failed));
        (self.lookup, self.step, self.has_servfail, self.lookup_began) = (self.lookup + 1, 0, false, now);
        self.is_done = self.lookup == self.plan.len();
        if self.is_done { Vec::new() } else { self.begin() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Arm;
    use super::super::plan::plan;
    use super::*;

    #[test]
    fn late_answers_count_within_a_step_but_not_across_steps() {
        let now = Instant::now();
        let mut stub = Stub::new(plan(Arm::Ndots2), now);
        assert_eq!(stub.begin(), [0, 1]);
        assert_eq!(stub.time_out(1, now), [0, 1], "the second attempt");
        assert!(stub.answer((1, 1), true, now).is_empty());
        assert_eq!(stub.answer((1, 0), true, now), [0, 1], "the next step");
        assert!(stub.answer((1, 0), true, now).is_empty() && stub.time_out(1, now).is_empty());
    }

    #[test]
    fn a_lookup_fails_after_two_attempts_without_an_answer() {
        let now = Instant::now();
        let mut stub = Stub::new(plan(Arm::Ndots2), now);
        stub.begin();
        for timer in 1..=6 {
            let is_last = timer == 6;
            assert_eq!(stub.time_out(timer, now).is_empty(), is_last);
        }
        assert!(stub.is_done && stub.lookups.iter().all(|(_, has_failed)| *has_failed));
        assert_eq!(stub.lookups.len(), 3);
    }

    #[test]
    fn half_an_answer_is_asked_for_again_one_by_one_and_then_is_the_answer() {
        let now = Instant::now();
        let mut stub = Stub::new(plan(Arm::Direct), now);
        stub.begin();
        stub.answer((1, 1), true, now);
        assert_eq!(stub.time_out(1, now), [0]);
        assert_eq!(stub.answer((1, 0), true, now), [1], "over the same socket");
        assert_eq!(stub.time_out(2, now), [0]);
        assert!(stub.answer((1, 0), true, now).is_empty(), "the socket is a new one");
        assert_eq!(stub.answer((2, 0), true, now), [1]);
        assert_eq!(stub.time_out(3, now), [0], "the next step");
    }

    #[test]
    fn servfail_fails_the_lookup_unless_a_later_candidate_exists() {
        let now = Instant::now();
        let mut stub = Stub::new(plan(Arm::Direct), now);
        stub.begin();
        let both = |stub: &mut Stub, is_good| {
            let socket = stub.socket;
            stub.answer((socket, 0), is_good, now);
            stub.answer((socket, 1), is_good, now);
        };
        both(&mut stub, false);
        both(&mut stub, false);
        both(&mut stub, true);
        assert_eq!((stub.lookups[0].1, stub.step), (false, 0), "the second candidate exists");
        for _ in 0..8 {
            both(&mut stub, false);
        }
        assert_eq!((stub.lookups[1].1, stub.lookup), (true, 2));
    }
}
