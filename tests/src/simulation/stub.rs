//! glibc's stub resolver in one pod: which questions it has sent, and what it does when an answer comes or none does. Pure.

use super::plan::Step;

/// `RES_DFLRETRY`: how often a question is asked, if nothing is answered.
const ATTEMPTS: u8 = 2;

/// A pod's application, which looks its names up one after the other, and its stub resolver.
#[derive(Debug, Clone)]
pub(super) struct Stub {
    look_up: usize,
    step: usize,
    attempt: u8,
    mode: Mode,
    /// Which round of questions is under way; what belongs to another one is too late.
    round: u32,
    /// Which questions of the step are answered.
    answered: Vec<bool>,
    /// A look-up failed. Like the program `lookup`, the application looks its other names up all the same.
    has_failed: bool,
    is_done: bool,
}

/// How it sends its two questions; it changes after half an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Together,
    OneByOne,
    OneByOneReopened,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// A new round: these questions of the step are sent, and a new time-out begins.
    Round(Vec<usize>),
    /// One more question of the step is sent.
    Also(usize),
    /// Nothing, for now.
    Wait,
    /// The application has ended.
    End {
        /// Whether every look-up was answered.
        is_success: bool,
    },
}

impl Stub {
    pub(super) fn new() -> Self {
        Self {
            look_up: 0,
            step: 0,
            attempt: 1,
            mode: Mode::Together,
            round: 0,
            answered: Vec::new(),
            has_failed: false,
            is_done: false,
        }
    }

    /// The step that is under way.
    pub(super) fn step_of<'a>(&self, plan: &'a [Vec<Step>]) -> &'a Step {
        &plan[self.look_up][self.step]
    }

    /// The round that is under way.
    pub(super) fn round(&self) -> u32 {
        self.round
    }

    /// Sends the questions of the step.
    pub(super) fn begin(&mut self, plan: &[Vec<Step>]) -> Next {
        let questions = self.step_of(plan).len();
        self.round += 1;
        self.answered = vec![false; questions];
        Next::Round((0..if self.mode == Mode::Together { questions } else { 1 }).collect())
    }

    /// A question of a round is answered.
    pub(super) fn answer(&mut self, plan: &[Vec<Step>], round: u32, index: usize) -> Next {
        if self.is_late(round) {
            return Next::Wait;
        }
        self.answered[index] = true;
        match self.answered.iter().position(|answered| !answered) {
            None => self.finish_step(plan),
            Some(next) if self.mode != Mode::Together => Next::Also(next),
            Some(_) => Next::Wait,
        }
    }

    /// SERVFAIL: the next attempt begins at once.
    pub(super) fn fail(&mut self, plan: &[Vec<Step>], round: u32) -> Next {
        if self.is_late(round) { Next::Wait } else { self.next_attempt(plan) }
    }

    /// `send_dg` of glibc's resolv/res_send.c.
    ///
    /// | within 5 s came | and before | then |
    /// |---|---|---|
    /// | nothing | | the next attempt |
    /// | half an answer | both were asked together | both again, one after the other |
    /// | half an answer | one after the other | the same by another socket |
    /// | half an answer | the same by another socket | it is the answer |
    pub(super) fn time_out(&mut self, plan: &[Vec<Step>], round: u32) -> Next {
        if self.is_late(round) {
            return Next::Wait;
        }
        if !self.answered.contains(&true) {
            return self.next_attempt(plan);
        }
        self.mode = match self.mode {
            Mode::Together => Mode::OneByOne,
            Mode::OneByOne => Mode::OneByOneReopened,
            Mode::OneByOneReopened => return self.finish_step(plan),
        };
        self.begin(plan)
    }

    fn is_late(&self, round: u32) -> bool {
        self.is_done || self.round != round
    }

    /// After the last one the look-up has failed, without the rest of the search list (`res_search`: done).
    fn next_attempt(&mut self, plan: &[Vec<Step>]) -> Next {
        if self.attempt == ATTEMPTS {
            self.has_failed = true;
            return self.finish_look_up(plan);
        }
        self.attempt += 1;
        self.begin(plan)
    }

    fn finish_step(&mut self, plan: &[Vec<Step>]) -> Next {
        (self.attempt, self.mode) = (1, Mode::Together);
        self.step += 1;
        if self.step == plan[self.look_up].len() { self.finish_look_up(plan) } else { self.begin(plan) }
    }

    fn finish_look_up(&mut self, plan: &[Vec<Step>]) -> Next {
        (self.look_up, self.step, self.attempt, self.mode) = (self.look_up + 1, 0, 1, Mode::Together);
        if self.look_up < plan.len() {
            return self.begin(plan);
        }
        self.is_done = true;
        Next::End { is_success: !self.has_failed }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::plan;
    use super::*;
    use crate::gang::arm::Arm;

    fn both() -> Next {
        Next::Round(vec![0, 1])
    }

    #[test]
    fn each_step_follows_when_both_questions_are_answered_and_at_last_the_application_ends() {
        let (plan, mut stub) = (plan(Arm::Ndots2), Stub::new());
        assert_eq!(stub.begin(&plan), both());
        for round in 1..7 {
            assert_eq!(stub.answer(&plan, round, 1), Next::Wait);
            assert_eq!(stub.answer(&plan, round, 0), both());
        }
        assert_eq!(stub.answer(&plan, 6, 0), Next::Wait, "that round is over");
        stub.answer(&plan, 7, 0);
        assert_eq!(stub.answer(&plan, 7, 1), Next::End { is_success: true });
        assert_eq!(stub.time_out(&plan, 7), Next::Wait);
    }

    #[test]
    fn two_attempts_without_an_answer_fail_the_look_up_and_the_next_one_follows() {
        let (plan, mut stub) = (plan(Arm::Ndots2), Stub::new());
        stub.begin(&plan);
        assert_eq!(stub.time_out(&plan, 1), both());
        assert_eq!((stub.time_out(&plan, 2), stub.look_up), (both(), 1));
        // SERVFAIL is an attempt, too.
        assert_eq!((stub.fail(&plan, 3), stub.look_up), (both(), 1));
        assert_eq!((stub.fail(&plan, 4), stub.look_up), (both(), 2));
        assert_eq!(
            (stub.time_out(&plan, 5), stub.time_out(&plan, 6)),
            (both(), Next::End { is_success: false })
        );
    }

    #[test]
    fn half_an_answer_is_asked_for_again_one_by_one_and_then_is_the_answer() {
        let (plan, mut stub) = (plan(Arm::Direct), Stub::new());
        stub.begin(&plan);
        stub.answer(&plan, 1, 1);
        assert_eq!(stub.time_out(&plan, 1), Next::Round(vec![0]));
        assert_eq!(stub.answer(&plan, 2, 0), Next::Also(1));
        assert_eq!(stub.time_out(&plan, 2), Next::Round(vec![0]));
        assert_eq!(stub.answer(&plan, 3, 0), Next::Also(1));
        assert_eq!((stub.time_out(&plan, 3), stub.step), (both(), 1));
    }
}
