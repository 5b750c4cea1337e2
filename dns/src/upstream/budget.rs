//! How often more than once may be asked: a bucket of tokens, filled by what goes well.
//!
//! | what happens | tokens |
//! |---|---|
//! | the process starts | 10 |
//! | the first attempt of an exchange | + 0.1 |
//! | an answer within a second | + 1 |
//! | a lost question is sent again | - 1, and not without one |
//! | at most | 50 |
//!
//! A slow server earns nothing, so it is soon asked once for each question and a tenth more. One that loses datagrams earns
//! what their repair costs. Not counted: a truncated answer that is fetched over TCP and a question that is asked again
//! without EDNS, because the server wants them, and what the timer of a silent server sends, which is bounded by itself.

/// Ten to begin with, so that what is lost in the first second is sent again.
const AT_START: u32 = 100;

/// The most: what fifty questions need that are asked together and lost together.
const CAP: u32 = 500;

/// What each first transmission brings.
const PER_EXCHANGE: u32 = 1;

/// What each quick answer brings: a server that answers quickly has time for another question.
const PER_QUICK_ANSWER: u32 = 10;

/// What sending again costs.
const PER_REPAIR: u32 = 10;

/// The tokens, in tenths.
#[derive(Debug)]
pub struct Budget {
    tenths: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tenths: AT_START }
    }
}

impl Budget {
    /// An exchange makes its first attempt.
    pub fn first_attempt(&mut self) {
        self.earn(PER_EXCHANGE);
    }

    /// An answer came within a second.
    pub fn quick_answer(&mut self) {
        self.earn(PER_QUICK_ANSWER);
    }

    /// Pays for an attempt beyond the first; `false`: there is nothing to pay with, do not make it.
    pub fn take(&mut self) -> bool {
        let left = self.tenths.checked_sub(PER_REPAIR);
        self.tenths = left.unwrap_or(self.tenths);
        left.is_some()
    }

    /// What is left, in tenths of an attempt.
    pub fn tenths(&self) -> u32 {
        self.tenths
    }

    fn earn(&mut self, tenths: u32) {
        self.tenths = (self.tenths + tenths).min(CAP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(budget: &mut Budget) -> usize {
        (0..1000).take_while(|_| budget.take()).count()
    }

    #[test]
    fn it_starts_with_ten_and_holds_fifty_at_most() {
        let mut budget = Budget::default();
        assert_eq!(takes(&mut budget), 10);
        (0..1000).for_each(|_| budget.quick_answer());
        assert_eq!(takes(&mut budget), 50);
    }

    #[test]
    fn what_never_answers_in_time_is_asked_a_tenth_more() {
        let mut budget = Budget::default();
        let mut attempts = 0;
        for _ in 0..1000 {
            budget.first_attempt();
            attempts += 1 + takes(&mut budget);
        }
        assert_eq!(attempts, 1000 + 10 + 100);
    }

    #[test]
    fn a_quick_answer_pays_for_the_hedge_that_brought_it() {
        let mut budget = Budget::default();
        for _ in 0..1000 {
            budget.first_attempt();
            assert!(budget.take());
            budget.quick_answer();
        }
    }
}
