//! How often more than once may be asked: a bucket of tokens, filled by what goes well.
//!
//! | what happens | tokens |
//! |---|---|
//! | the process starts | 10 |
//! | the first attempt of an exchange | + 0.1 |
//! | an answer within the shortest pause (300 ms) of its attempt | + 1 |
//! | any attempt beyond the first | - 1, and not without one |
//! | at most | 50 |
//!
//! A slow upstream earns nothing, so it is soon asked once for each question and a tenth more. One that loses
//! datagrams, or is quick by TCP alone, earns what its hedges cost. A truncated answer that is fetched by TCP
//! and a question asked again without EDNS are no retries: the server asked for them.

use crate::limits;

/// The tokens, in tenths.
#[derive(Debug)]
pub struct Budget {
    tenths: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tenths: limits::BUDGET_AT_START }
    }
}

impl Budget {
    /// An exchange makes its first attempt.
    pub fn first_attempt(&mut self) {
        self.earn(limits::BUDGET_PER_EXCHANGE);
    }

    /// An answer came within the shortest pause after its attempt.
    pub fn quick_answer(&mut self) {
        self.earn(limits::BUDGET_PER_QUICK_ANSWER);
    }

    /// Pays for an attempt beyond the first; `false`: there is nothing to pay with, do not make it.
    pub fn take(&mut self) -> bool {
        let left = self.tenths.checked_sub(limits::BUDGET_PER_ATTEMPT);
        self.tenths = left.unwrap_or(self.tenths);
        left.is_some()
    }

    /// What is left, in tenths of an attempt.
    pub fn tenths(&self) -> u32 {
        self.tenths
    }

    fn earn(&mut self, tenths: u32) {
        self.tenths = (self.tenths + tenths).min(limits::BUDGET_CAP);
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
