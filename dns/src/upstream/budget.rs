//! The retry budget: a bucket of tokens that limits retransmissions.
//!
//! | event | tokens |
//! |---|---|
//! | the process starts | 10 |
//! | the first attempt of an exchange | + 0.1 |
//! | an answer within a second | + 1 |
//! | the retransmission of a lost query | - 1, and none without a token |
//! | at most | 50 |
//!
//! A slow server earns no tokens, so each query to it is soon sent once, and one tenth of them again. A
//! server that loses datagrams earns what their retransmissions cost. The fetch of a
//! truncated answer over TCP and the repetition of a query without EDNS are free, because the server asks for
//! them. Retransmissions on the timer of a silent server are free, too: that timer has its own limit.
//!
//! A shared tier sends queries for many pods, and a pod that asks for names that are never answered must not
//! use up the tokens that other pods need for their losses. There each source has tokens of its own, and all
//! sources share a common bucket; half of what is earned goes to each:
//!
//! | event | tokens of its source | in the common bucket |
//! |---|---|---|
//! | the process starts | 0 | 50 |
//! | the first attempt of an exchange | + 0.05 | + 0.05 |
//! | an answer within a second | + 0.5 | + 0.5, which the source may take |
//! | the retransmission of a lost query | - 1 | or - 1: ten for a new source, later as much as it may take |
//!
//! So the total has the same limit as with one source; a source spends what it has earned, and new sources
//! use the common bucket.

/// Ten tokens, so that queries that are lost in the first second are retransmitted. All amounts are twentieths.
const INITIAL_TOKENS: u16 = 200;

/// The capacity: fifty queries may be sent and lost together.
const MAX_TOKENS: u16 = 1000;

/// What each exchange earns.
const PER_EXCHANGE: u16 = 2;

/// What each answer within a second earns: such a server has time for another query.
const PER_FAST_ANSWER: u16 = 20;

/// What a retransmission costs.
const PER_RETRANSMISSION: u16 = 20;

/// The common bucket, and the retry budgets of the sources.
#[derive(Debug)]
pub struct Budgets {
    common: u16,
    /// Empty when all queries come from one source.
    sources: Box<[Source]>,
    /// Retransmissions that were refused since [`Budgets::take_refused`] was last called.
    refused: u32,
}

/// The tokens of one source.
#[derive(Debug, Clone, Copy, Default)]
struct Source {
    own: u16,
    /// What it has taken from the common bucket beyond what it has earned: [`INITIAL_TOKENS`] at most.
    taken: u16,
}

impl Budgets {
    /// For so many sources, known by their number; 0: all queries come from one source.
    pub fn new(sources: usize) -> Self {
        let common = if sources == 0 { INITIAL_TOKENS } else { MAX_TOKENS };
        Self { common, sources: vec![Source::default(); sources].into(), refused: 0 }
    }

    /// Records the first attempt of an exchange for that source.
    pub fn record_first_attempt(&mut self, source: Option<u16>) {
        self.earn(source, PER_EXCHANGE);
    }

    /// Records an answer within a second for that source.
    pub fn record_fast_answer(&mut self, source: Option<u16>) {
        self.earn(source, PER_FAST_ANSWER);
        if let Some(source) = self.source(source) {
            source.taken = source.taken.saturating_sub(PER_FAST_ANSWER / 2);
        }
    }

    /// Takes a token for a retransmission; `false`: there is none, do not retransmit.
    pub fn try_spend(&mut self, source: Option<u16>) -> bool {
        let may = self.try_pay(source);
        self.refused += u32::from(!may);
        may
    }

    /// The number of refused retransmissions since the last call.
    pub fn take_refused(&mut self) -> u32 {
        std::mem::take(&mut self.refused)
    }

    fn try_pay(&mut self, source: Option<u16>) -> bool {
        let Some(source) = source.and_then(|source| self.sources.get_mut(usize::from(source))) else {
            return try_take(&mut self.common);
        };
        if try_take(&mut source.own) {
            return true;
        }
        let may = source.taken + PER_RETRANSMISSION <= INITIAL_TOKENS && try_take(&mut self.common);
        source.taken += if may { PER_RETRANSMISSION } else { 0 };
        may
    }

    /// The remaining tokens in the common bucket, in tenths.
    pub fn tenths(&self) -> u32 {
        u32::from(self.common / 2)
    }

    fn earn(&mut self, source: Option<u16>, amount: u16) {
        let mut in_common = amount;
        if let Some(source) = self.source(source) {
            in_common = amount / 2;
            source.own = (source.own + amount / 2).min(MAX_TOKENS);
        }
        self.common = (self.common + in_common).min(MAX_TOKENS);
    }

    fn source(&mut self, source: Option<u16>) -> Option<&mut Source> {
        self.sources.get_mut(usize::from(source?))
    }
}

/// Takes a token from a bucket if it has one.
fn try_take(bucket: &mut u16) -> bool {
    let rest = bucket.checked_sub(PER_RETRANSMISSION);
    *bucket = rest.unwrap_or(*bucket);
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend_all(budget: &mut Budgets) -> usize {
        (0..1000).take_while(|_| budget.try_spend(None)).count()
    }

    #[test]
    fn the_bucket_starts_with_ten_tokens_and_holds_fifty() {
        let mut budget = Budgets::new(0);
        assert_eq!(spend_all(&mut budget), 10);
        (0..1000).for_each(|_| budget.record_fast_answer(None));
        assert_eq!(spend_all(&mut budget), 50);
    }

    #[test]
    fn a_server_that_never_answers_in_time_gets_a_tenth_more_queries() {
        let mut budget = Budgets::new(0);
        let mut attempts = 0;
        for _ in 0..1000 {
            budget.record_first_attempt(None);
            attempts += 1 + spend_all(&mut budget);
        }
        assert_eq!(attempts, 1000 + 10 + 100);
    }

    #[test]
    fn a_fast_answer_pays_for_one_retransmission() {
        for (mut budgets, source) in [(Budgets::new(0), None), (Budgets::new(2), Some(0))] {
            for _ in 0..1000 {
                budgets.record_first_attempt(source);
                assert!(budgets.try_spend(source));
                budgets.record_fast_answer(source);
            }
        }
    }

    /// Begins so many exchanges for a source, none of which is answered, and retransmits while there are
    /// tokens; returns the number of retransmissions.
    fn retransmissions_without_answers(budgets: &mut Budgets, source: u16, times: usize) -> usize {
        let mut taken = 0;
        for _ in 0..times {
            budgets.record_first_attempt(Some(source));
            taken += (0..3).take_while(|_| budgets.try_spend(Some(source))).count();
        }
        taken
    }

    #[test]
    fn a_source_that_is_never_answered_leaves_the_others_their_tokens() {
        let mut budgets = Budgets::new(3);
        for _ in 0..20 {
            budgets.record_fast_answer(Some(1));
        }
        assert_eq!(
            retransmissions_without_answers(&mut budgets, 0, 1000),
            10 + 50,
            "ten, and a twentieth of its questions"
        );
        assert_eq!(
            retransmissions_without_answers(&mut budgets, 1, 10),
            20,
            "what its answers have brought, for it and in common"
        );
        assert_eq!(retransmissions_without_answers(&mut budgets, 2, 10), 10, "a new one");
    }

    #[test]
    fn new_sources_share_the_common_bucket() {
        let mut budgets = Budgets::new(1000);
        for _ in 0..20 {
            budgets.record_fast_answer(Some(0));
        }
        let taken: usize =
            (1..1000).map(|source| retransmissions_without_answers(&mut budgets, source, 4)).sum();
        assert_eq!(taken, 50 + 999 * 4 / 20, "for all of them together");
        assert!((0..10).all(|_| budgets.try_spend(Some(0))), "what a source has brought is its own");
    }

    #[test]
    fn many_sources_together_have_the_limit_of_one() {
        let mut budgets = Budgets::new(10);
        let mut taken = 0;
        for number in 0..10_000 {
            budgets.record_first_attempt(Some(number % 10));
            budgets.record_fast_answer(Some(number % 10));
            taken += (0..3).take_while(|_| budgets.try_spend(Some(number % 10))).count();
        }
        assert!(taken <= 50 + 10_000 + 1000, "{taken}");
    }
}
