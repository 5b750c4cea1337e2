//! What real resolvers get in pods, with and without injection, and what they ask for it.
//!
//! ```text
//!   clients     the resolvers: how each is built, called and understood
//!   questions   what is asked, and what is the right answer; and the world that has it
//!   matrix      one cell: a client, a question, both ways -> answers and upstream queries; all cells as a table
//!   differential   many names and types in pods of every `ndots`, both ways
//! ```

pub mod clients;
pub mod differential;
pub mod matrix;
pub mod questions;
