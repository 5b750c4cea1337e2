//! The real sidecar as a process on the loopback, in front of an upstream with faults.
//!
//! ```text
//!   proxy       the sidecar as a process: its addresses, metrics and memory
//!   tier        a shared tier, and sidecars in front of it
//!   upstream    a DNS server with injected faults, which counts its queries
//!   client      one query and the time until its response
//!   hostile     hostile packets and connections
//! ```

pub mod client;
pub mod hostile;
pub mod proxy;
pub mod tier;
pub mod upstream;
