//! When replies by UDP are not believed any more, because somebody seems to guess. Pure.
//!
//! Who forges an answer by UDP without seeing the question must hit, before the true answer is there:
//!
//! | | bits |
//! |---|---|
//! | the port of the socket, a new one for each transmission (28,232 by `net.ipv4.ip_local_port_range`) | 14.8 |
//! | the id, a new one for each transmission | 16 |
//!
//! A reply that hits the port, answers the question, and has another id is no accident: answers to earlier transmissions go to
//! sockets that are gone, and one that went to a port that was given away anew answers another question.
//!
//! | what came by UDP from the address of the server | is | then |
//! |---|---|---|
//! | another id, this question | a near miss | the socket is closed, and the question asked over TCP; if that brings nothing, by UDP from a new port when its timer expires |
//! | the same while too many questions have gone over to TCP | a near miss | counted; after [`MOST_MISSES`] nobody listens there any more |
//! | another id, another question; this id, another question; what is no response | stray | counted |
//!
//! Not every question of a server may go over to TCP: one that sends something wrong beside each answer, or a middlebox that does,
//! would otherwise get a connection for each question of every pod.

use crate::metrics::Unwanted;

/// Near misses on one socket after which it is not listened to.
const MOST_MISSES: u8 = 64;

/// What one question over TCP costs, in answers by UDP that were believed at once.
const PRICE: u16 = 8;

/// What a server has to begin with, and may save: 4 and 32 questions.
const FIRST: u16 = 4 * PRICE;
const MOST: u16 = 32 * PRICE;

/// How many questions of one server may still go over to TCP.
#[derive(Debug)]
pub struct Doubts {
    saved: u16,
}

impl Default for Doubts {
    fn default() -> Self {
        Self { saved: FIRST }
    }
}

/// What to do about a reply that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Listen further.
    None,
    /// Ask over TCP.
    Tcp,
    /// Listen no further.
    Deaf,
}

impl Doubts {
    /// An answer by UDP was believed.
    pub fn believed(&mut self) {
        self.saved = (self.saved + 1).min(MOST);
    }

    /// A near miss: the one of that number on its socket.
    pub fn missed(&mut self, number: u8) -> Doubt {
        if let Some(left) = self.saved.checked_sub(PRICE) {
            self.saved = left;
            return Doubt::Tcp;
        }
        if number >= MOST_MISSES { Doubt::Deaf } else { Doubt::None }
    }
}

/// A reply that answers no question of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// What is wrong with it.
    pub reason: Unwanted,
    /// Whether it would have answered the question, had it been guessed better.
    pub is_near_miss: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_sends_the_question_over_tcp() {
        assert_eq!(Doubts::default().missed(1), Doubt::Tcp);
    }

    #[test]
    fn a_server_that_always_sends_something_wrong_is_asked_over_tcp_four_times_and_then_by_udp() {
        let mut doubts = Doubts::default();
        let first: Vec<_> = (0..4).map(|_| doubts.missed(1)).collect();
        assert_eq!(first, [Doubt::Tcp; 4]);
        for _ in 0..7 {
            assert_eq!(doubts.missed(1), Doubt::None);
            doubts.believed();
        }
        assert_eq!(doubts.missed(1), Doubt::None);
        doubts.believed();
        assert_eq!(doubts.missed(1), Doubt::Tcp, "one in eight");
    }

    #[test]
    fn a_socket_that_is_flooded_is_not_listened_to_for_ever() {
        let mut doubts = Doubts { saved: 0 };
        let number = (1..=u8::MAX).find(|number| doubts.missed(*number) == Doubt::Deaf);
        assert_eq!(number, Some(64));
    }

    #[test]
    fn a_server_that_answered_a_million_questions_may_be_doubted_32_times() {
        let mut doubts = Doubts::default();
        (0..1_000_000).for_each(|_| doubts.believed());
        assert_eq!((0..100).filter(|_| doubts.missed(1) == Doubt::Tcp).count(), 32);
    }
}
