//! What the sidecar and the webhook report about themselves:
//!
//! ```text
//!   kinds       counters, the macro `metrics!` that declares metrics in rows, and their page
//!   labels      the macro `named!` that declares the values of a label
//!   readiness   the conditions that are missing for a program to be ready
//!   log         lines on standard error
//! ```
//!
//! A label value is a variant of an enum. Every series is present at zero from the start, and counting is one
//! atomic addition: no lock, no map, no allocation.

mod kinds;
mod labels;
pub mod log;
mod readiness;

pub use kinds::{CONTENT_TYPE, Count, Counters, Info, page};
pub use labels::Labels;
pub use readiness::{Latch, Readiness};
