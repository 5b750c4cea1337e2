//! The gang experiment in virtual time, for gangs that no one machine can run.
//!
//! ```text
//!   plan     an arm -> the questions that leave a pod for its three names, step by step; pure
//!   stub     glibc's stub resolver in one pod: answers and time-outs -> what it sends next; pure
//!   policy   whom an exchange asks, how and when, by who leads it; pure
//!   liveness what a sidecar finds out about a silent tier; pure
//!   tier     one process of the shared tier: queues, answers, who waits; pure
//!   model    pods, the way to cluster DNS, its queue; events in order of time -> an outcome
//!   report   outcomes -> table and charts
//! ```
//!
//! The queue is the experiment's own ([`crate::cluster_dns::ServiceQueue`]), the stub resolver is glibc's (time-outs of
//! 5 s, two attempts, its retries after half an answer), the node's cache and the sidecar are their policies: what is
//! asked, by what, and again when. So is the shared tier, whose service rate is a parameter.
//!
//! **Left out:** CPU time of pods, nodes and proxies, but for the tier's; the tier's bounds, and the return of one that was
//! found dead; more than one cluster DNS behind the virtual address; conntrack; TCP handshakes, and segments that are
//! lost; a network that is slower under load; expiry of what the sidecars have cached; the scheduler, image pulls, and
//! back-off between restarts beyond one fixed pause.

mod liveness;
pub mod model;
pub mod plan;
mod policy;
pub mod report;
mod stub;
pub mod tier;
