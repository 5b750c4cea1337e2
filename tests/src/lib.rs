//! What several tests of whole programs share.
//!
//! ```text
//!   documents     checks the commands and links of the Markdown files
//!   monitoring    the dashboard, the alerts, and the metrics that they use
//!   resolvers     the answers and queries of real resolvers in pods
//! ```

pub mod documents;
pub mod monitoring;
pub mod resolvers;
