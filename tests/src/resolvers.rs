//! The answers and queries of real resolvers in pods, with and without injection.
//!
//! ```text
//!   clients     the resolvers: how each is built and called
//!   answers     what their output says
//!   questions   the questions with the correct answers, and the world that has them
//!   matrix      one cell: a client and a question, direct and injected -> answers and queries; the table
//!   names       the names and types of `differential`, and the world that has them
//!   differential   many names and types in pods with every `ndots`, direct and injected
//! ```

pub mod answers;
pub mod clients;
pub mod differential;
pub mod matrix;
pub mod names;
pub mod questions;
