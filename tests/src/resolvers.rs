//! The answers and queries of real resolvers in pods, with and without injection.
//!
//! ```text
//!   clients     the resolvers: how each is built, called and parsed
//!   questions   the questions with the correct answers, and the world that has them
//!   matrix      one cell: a client and a question, direct and injected -> answers and queries; the table
//!   differential   many names and types in pods with every `ndots`, direct and injected
//! ```

pub mod clients;
pub mod differential;
pub mod matrix;
pub mod questions;
