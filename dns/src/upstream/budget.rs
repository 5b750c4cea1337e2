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
//!
//! A shared tier asks for many pods, and one that asks for names that are never answered must not use up what the others' losses
//! need. There each source has tokens of its own, and all have some in common; half of what comes goes to each:
//!
//! | what happens | tokens of its source | in common |
//! |---|---|---|
//! | the process starts | 0 | 50 |
//! | the first attempt of an exchange | + 0.05 | + 0.05 |
//! | an answer within a second | + 0.5 | + 0.5, which the source may take |
//! | a lost question is sent again | - 1 | or - 1: ten of a new source, and then what it may take |
//!
//! So the total is bounded as if there were one source; a source spends what it has brought, and new ones share what all have in
//! common.

/// Ten to begin with, so that what is lost in the first second is sent again.
const AT_START: u16 = 200;

/// The most: what fifty questions need that are asked together and lost together.
const CAP: u16 = 1000;

/// What each first transmission brings.
const PER_EXCHANGE: u16 = 2;

/// What each quick answer brings: a server that answers quickly has time for another question.
const PER_QUICK_ANSWER: u16 = 20;

/// What sending again costs.
const PER_REPAIR: u16 = 20;

/// The tokens, in twentieths.
#[derive(Debug)]
pub struct Budget {
    left: u16,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: AT_START }
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
        spend(&mut self.left, PER_REPAIR)
    }

    /// What is left, in tenths of an attempt.
    pub fn tenths(&self) -> u32 {
        u32::from(self.left / 2)
    }

    fn earn(&mut self, amount: u16) {
        self.left = (self.left + amount).min(CAP);
    }
}

/// The budgets of those for whom questions are asked.
#[derive(Debug)]
pub struct Budgets {
    common: Budget,
    /// Empty where all questions come from one source.
    sources: Box<[Source]>,
    /// Attempts that were not paid for, since that was last asked for.
    refused: u32,
}

/// What one source has, in twentieths.
#[derive(Debug, Clone, Copy, Default)]
struct Source {
    own: u16,
    /// What it has taken of what all have in common, without what it has brought: [`AT_START`] at most.
    taken: u16,
}

impl Budgets {
    /// For so many sources, by number; 0: all questions come from one.
    pub fn new(sources: usize) -> Self {
        let common = if sources == 0 { Budget::default() } else { Budget { left: CAP } };
        Self { common, sources: vec![Source::default(); sources].into(), refused: 0 }
    }

    /// An exchange for that source makes its first attempt.
    pub fn first_attempt(&mut self, source: Option<u16>) {
        self.earn(source, PER_EXCHANGE);
    }

    /// An answer for that source came within a second.
    pub fn quick_answer(&mut self, source: Option<u16>) {
        self.earn(source, PER_QUICK_ANSWER);
        if let Some(source) = self.source(source) {
            source.taken = source.taken.saturating_sub(PER_QUICK_ANSWER / 2);
        }
    }

    /// Pays for an attempt beyond the first; `false`: there is nothing to pay with, do not make it.
    pub fn take(&mut self, source: Option<u16>) -> bool {
        let may = self.pay(source);
        self.refused += u32::from(!may);
        may
    }

    /// How many attempts were not paid for since this was last asked for.
    pub fn take_refused(&mut self) -> u32 {
        std::mem::take(&mut self.refused)
    }

    fn pay(&mut self, source: Option<u16>) -> bool {
        let Some(source) = source.and_then(|source| self.sources.get_mut(usize::from(source))) else {
            return self.common.take();
        };
        if spend(&mut source.own, PER_REPAIR) {
            return true;
        }
        let may = source.taken + PER_REPAIR <= AT_START && self.common.take();
        source.taken += if may { PER_REPAIR } else { 0 };
        may
    }

    /// What is left in common, in tenths of an attempt.
    pub fn tenths(&self) -> u32 {
        self.common.tenths()
    }

    fn earn(&mut self, source: Option<u16>, amount: u16) {
        match self.source(source) {
            Some(source) => {
                source.own = (source.own + amount / 2).min(CAP);
                self.common.earn(amount / 2);
            }
            None => self.common.earn(amount),
        }
    }

    fn source(&mut self, source: Option<u16>) -> Option<&mut Source> {
        self.sources.get_mut(usize::from(source?))
    }
}

/// Takes that much, if there is as much.
fn spend(left: &mut u16, amount: u16) -> bool {
    let rest = left.checked_sub(amount);
    *left = rest.unwrap_or(*left);
    rest.is_some()
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

    /// Asks that often for a source, without an answer, and takes what it may; how much that was.
    fn asks_in_vain(budgets: &mut Budgets, source: u16, times: usize) -> usize {
        let mut taken = 0;
        for _ in 0..times {
            budgets.first_attempt(Some(source));
            taken += (0..3).take_while(|_| budgets.take(Some(source))).count();
        }
        taken
    }

    #[test]
    fn a_source_that_is_never_answered_leaves_the_others_their_tokens() {
        let mut budgets = Budgets::new(3);
        for _ in 0..20 {
            budgets.quick_answer(Some(1));
        }
        assert_eq!(asks_in_vain(&mut budgets, 0, 1000), 10 + 50, "ten, and a twentieth of its questions");
        assert_eq!(
            asks_in_vain(&mut budgets, 1, 10),
            20,
            "what its answers have brought, for it and in common"
        );
        assert_eq!(asks_in_vain(&mut budgets, 2, 10), 10, "a new one");
    }

    #[test]
    fn sources_that_are_new_share_what_all_have_in_common() {
        let mut budgets = Budgets::new(1000);
        for _ in 0..20 {
            budgets.quick_answer(Some(0));
        }
        let taken: usize = (1..1000).map(|source| asks_in_vain(&mut budgets, source, 4)).sum();
        assert_eq!(taken, 50 + 999 * 4 / 20, "for all of them together");
        assert!((0..10).all(|_| budgets.take(Some(0))), "what a source has brought is its own");
    }

    #[test]
    fn a_source_that_loses_half_of_its_datagrams_has_a_token_for_each() {
        let mut budgets = Budgets::new(2);
        for _ in 0..1000 {
            budgets.first_attempt(Some(0));
            assert!(budgets.take(Some(0)));
            budgets.quick_answer(Some(0));
        }
    }

    #[test]
    fn the_total_is_bounded_as_with_one_source() {
        let mut budgets = Budgets::new(10);
        let mut taken = 0;
        for number in 0..10_000 {
            budgets.first_attempt(Some(number % 10));
            budgets.quick_answer(Some(number % 10));
            taken += (0..3).take_while(|_| budgets.take(Some(number % 10))).count();
        }
        assert!(taken <= 50 + 10_000 + 1000, "{taken}");
    }
}
