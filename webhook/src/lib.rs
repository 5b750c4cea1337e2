//! The admission webhook of PodLocal DNS: it injects a caching DNS proxy, the sidecar, into pods.
//!
//! ```text
//!   main -> app -> server -> review        the bytes of a review -> its response
//!               -> cluster -> review       what is watched or asked, and Events
//!               -> certificates            TLS; its own command keeps the certificate
//!        -> offline -> review, documents   `inject`: documents on disk
//!        -> check -> review, documents     `check`: documents, or a cluster
//!        -> config                          the command line
//! ```
//!
//! [`review`], [`cluster`], [`certificates`], [`documents`] and [`check`] each hold one kind of knowledge. Their
//! first lines say which, and what they import. Imports between modules never form a circle: a test checks it.
//!
//! The path of an admission review:
//!
//! 1. [`server`] reads the bytes of `POST /mutate`, within limits; a request that is not a review gets an
//!    HTTP error.
//! 2. [`review::admission`] reads the review and writes the answer. It owns the uid and `allowed`. It alone
//!    decides what a failure of the webhook means for a pod: the pod is allowed unchanged.
//! 3. [`review::mutate`] handles one pod, from a review or from a file: [`review::decide`] decides whether the
//!    pod is injected and with which settings, and `inject` records the edits with `patch`.
//!
//! Everything in [`review`] is a pure function of its arguments, without a client, a clock or a socket.
//! Pods stay JSON from end to end: a typed struct would lose the fields that it does not know.

pub mod app;
pub mod certificates;
pub mod check;
pub mod cluster;
pub mod config;
mod connections;
pub mod documents;
pub mod metrics;
pub mod offline;
mod rate;
pub mod review;
pub mod server;
mod shutdown;
