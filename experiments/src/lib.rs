//! Experiments on a real cluster: what they run, measure and print. Each has a program of its name.
//!
//! ```text
//!   attacks        what a hostile neighbour costs others
//!   first_lookups  whether a lookup fails that an application makes as soon as it runs
//!   start          what the start of an injected pod costs a node
//! ```

pub mod attacks;
pub mod first_lookups;
pub mod start;
