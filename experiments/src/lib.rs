//! Experiments: programs that measure the product. Each module has a program with the same name.
//!
//! ```text
//!   gang           the pods of a Job, with and without injection, on this machine or on a real cluster
//!   simulation     the same in virtual time, for large gangs (program `gang-simulation`)
//!   bench          speed and size of the sidecar, an echo and other forwarders
//!   promises       sidecar, shared tier and webhook during faults and under load, compared with goals
//!   attacks        on a real cluster: the effect of a hostile neighbour on other pods
//!   first_lookups  on a real cluster: whether the first lookup of a starting application fails
//!   start          on a real cluster: the cost for a node of starting an injected pod
//!   load           a load generator for DNS queries
//!   plot           line charts as SVG
//!   program        what the programs share: the flag `--json`, the end after a signal, the exit code
//! ```

pub mod attacks;
pub mod bench;
pub mod first_lookups;
pub mod gang;
mod load;
pub mod plot;
pub mod program;
pub mod promises;
pub mod simulation;
pub mod start;
