//! Experiments on a real cluster: what they run, measure and print. Each has a program of its name.
//!
//! ```text
//!   attacks  what a hostile neighbour costs others
//!   start    what the start of an injected pod costs a node
//! ```

pub mod attacks;
pub mod start;
