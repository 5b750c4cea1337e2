//! glibc's stub resolver in one pod.
//!
//! `send_dg` of resolv/res_send.c sends A and AAAA from one socket and waits for 5 s (`RES_TIMEOUT`):
//!
//! | received within 5 s | mode | next step |
//! |---|---|---|
//! | nothing | | both again over the same socket, so that an answer to the first attempt still counts; two attempts |
//! | one answer | both sent together | one after the other over the same socket, also for later lookups |
//! | one answer | one after the other | the same over a new socket |
//! | one answer | the same over a new socket | it is the answer |

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::plan::{Question, Step};
use super::time::Time;

/// `RES_TIMEOUT`.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// `RES_DFLRETRY`: the number of attempts without an answer.
const ATTEMPTS: u8 = 2;

/// The receiver of answers: the index of the question in its step, and `false` for SERVFAIL. Answers to a
/// closed socket are lost.
pub(super) type Socket = UnboundedSender<(usize, bool)>;

/// The resolver. `ask` sends the query for a question, which has this index in its step.
pub(super) struct Stub<'a, Ask> {
    time: &'a Time,
    timeout: Duration,
    ask: Ask,
    mode: Mode,
    socket: Socket,
    answers: UnboundedReceiver<(usize, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Together,
    OneByOne,
    OneByOneReopened,
}

impl<'a, Ask: Fn(Question, usize, Socket)> Stub<'a, Ask> {
    pub(super) fn new(time: &'a Time, timeout: Duration, ask: Ask) -> Self {
        let (socket, answers) = unbounded_channel();
        Self { time, timeout, ask, mode: Mode::Together, socket, answers }
    }

    /// Looks up the names one after the other. Returns the duration of each lookup, and whether it failed.
    pub(super) async fn look_up_all(mut self, plan: &[Vec<Step>]) -> Vec<(Duration, bool)> {
        let mut lookups = Vec::new();
        for steps in plan {
            let start = self.time.now();
            let is_good = self.look_up(steps).await;
            lookups.push((self.time.now() - start, !is_good));
        }
        lookups
    }

    /// Queries the candidates of a name. Returns whether the lookup succeeds; that a name does not exist is a
    /// success as well.
    async fn look_up(&mut self, steps: &[Step]) -> bool {
        let (mut has_servfail, mut exists) = (false, false);
        for step in steps {
            // Without any answer the lookup fails without the remaining search list (`res_search`: `done`).
            let Some(is_good) = self.step(step).await else { return false };
            // SERVFAIL for one candidate fails the lookup unless a later candidate exists.
            has_servfail |= !is_good;
            exists = is_good && step.iter().any(|question| !question.is_negative);
        }
        exists || !has_servfail
    }

    /// Sends the questions of a step. Returns whether one of them got another answer than SERVFAIL; `None`
    /// when there was no answer.
    async fn step(&mut self, questions: &[Question]) -> Option<bool> {
        self.open();
        let mut attempt = 1;
        loop {
            let answered = self.send(questions).await;
            let (is_complete, is_good) = (!answered.contains(&None), answered.contains(&Some(true)));
            let is_silent = answered.iter().all(Option::is_none);
            if is_silent || is_complete {
                if is_good || attempt == ATTEMPTS {
                    return is_complete.then_some(is_good);
                }
                attempt += 1;
                continue;
            }
            self.mode = match self.mode {
                Mode::Together => Mode::OneByOne,
                Mode::OneByOne => {
                    self.open();
                    Mode::OneByOneReopened
                }
                Mode::OneByOneReopened => return Some(is_good),
            };
        }
    }

    fn open(&mut self) {
        (self.socket, self.answers) = unbounded_channel();
    }

    /// Sends the questions in the current mode, and waits until all are answered, or for the time-out.
    async fn send(&mut self, questions: &[Question]) -> Vec<Option<bool>> {
        let ask = |index: usize| (self.ask)(questions[index], index, self.socket.clone());
        let mut answered = vec![None; questions.len()];
        let is_together = self.mode == Mode::Together;
        (0..if is_together { questions.len() } else { 1 }).for_each(ask);
        let end = self.time.now() + self.timeout;
        while answered.contains(&None) {
            tokio::select! {
                biased;
                Some((index, is_good)) = self.answers.recv() => {
                    if answered[index].replace(is_good).is_none()
                        && !is_together
                        && let Some(next) = answered.iter().position(Option::is_none)
                    {
                        ask(next);
                    }
                }
                () = self.time.sleep_until(end) => break,
            }
        }
        answered
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::super::Arm;
    use super::super::plan::plan;
    use super::*;

    /// The queries, each with its index in the step and its time in seconds, and whether each lookup failed.
    type Seen = (Vec<(usize, u64)>, Vec<bool>);

    /// Looks up the names of the arm. The upstream answers the first queries after these seconds, `false` with
    /// SERVFAIL, and the others not.
    fn look_up(arm: Arm, answers: &'static [Option<(u64, bool)>]) -> Seen {
        let seen: Rc<RefCell<Seen>> = Rc::default();
        let time = Rc::new(Time::new());
        let (clock, sees, start) = (Rc::clone(&time), Rc::clone(&seen), time.now());
        time.spawn(async move {
            let ask = |_, index, socket: Socket| {
                let (now, time) = (clock.now(), Rc::clone(&clock));
                let asked = &mut sees.borrow_mut().0;
                asked.push((index, (now - start).as_secs()));
                let Some((seconds, is_good)) = answers.get(asked.len() - 1).copied().flatten() else {
                    return;
                };
                clock.spawn(async move {
                    time.sleep_until(now + Duration::from_secs(seconds)).await;
                    let _ = socket.send((index, is_good));
                });
            };
            let lookups = Stub::new(&clock, TIMEOUT, ask).look_up_all(&plan(arm)).await;
            sees.borrow_mut().1 = lookups.into_iter().map(|(_, has_failed)| has_failed).collect();
        });
        time.run_until(|| false);
        seen.take()
    }

    #[test]
    fn late_answers_count_within_a_step_but_not_across_steps() {
        let (asked, _) = look_up(
            Arm::Ndots2,
            &[Some((6, true)), Some((6, true)), Some((2, true)), Some((2, true)), None, None],
        );
        // The answers of the sixth second end the first step; those of the seventh come to a closed socket.
        assert_eq!(asked[..8], [(0, 0), (1, 0), (0, 5), (1, 5), (0, 6), (1, 6), (0, 11), (1, 11)]);
    }

    #[test]
    fn a_lookup_fails_after_two_attempts_without_an_answer() {
        let (asked, lookups) = look_up(Arm::Ndots2, &[]);
        assert_eq!(lookups, [true; 3]);
        let times: Vec<_> = asked.iter().map(|(_, at)| *at).collect();
        assert_eq!(times, [0, 0, 5, 5, 10, 10, 15, 15, 20, 20, 25, 25]);
    }

    #[test]
    fn half_an_answer_is_asked_for_again_one_by_one_and_then_is_the_answer() {
        let (asked, _) = look_up(
            Arm::Direct,
            &[None, Some((0, true)), Some((0, true)), Some((6, true)), Some((2, true)), None],
        );
        // Over the same socket after 5 s; over a new one after 10 s, to which the answer of the eleventh
        // second does not come; the next step after 15 s.
        assert_eq!(asked[..7], [(0, 0), (1, 0), (0, 5), (1, 5), (0, 10), (1, 12), (0, 15)]);
    }

    #[test]
    fn servfail_fails_the_lookup_unless_a_later_candidate_exists() {
        const GOOD: Option<(u64, bool)> = Some((0, true));
        const BAD: Option<(u64, bool)> = Some((0, false));
        // The second candidate of the first name exists. The second name has four candidates.
        let both = [BAD, BAD, BAD, BAD, GOOD, GOOD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD];
        let answers: Vec<_> = both.into_iter().chain([BAD; 8]).collect();
        let (_, lookups) = look_up(Arm::Direct, answers.leak());
        assert_eq!(lookups[..2], [false, true]);
    }
}
