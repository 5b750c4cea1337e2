//! Experiments on a real cluster. Each has a program with the same name.
//!
//! ```text
//!   attacks        the effect of a hostile neighbour on other pods
//!   first_lookups  whether the first lookup of a starting application fails
//!   start          the cost for a node of starting an injected pod
//! ```

pub mod attacks;
pub mod first_lookups;
pub mod start;
