//! The admission webhook of PodLocal DNS: it puts a caching DNS proxy into pods.
//!
//! ```text
//!   main -> app -> server -> connections
//!                         -> admission -> mutate -> decide -> annotations, dns, restored, qos, limits, cluster
//!                                                -> inject -> again, patch
//!                           notice -> events -> rate
//!                  tls_files, client_ca -> tls
//!                  discovery, impossible, tier, limit_ranges -> cluster -> resolv_conf, limits
//!                  names, namespaces, metrics, readiness, shutdown, telemetry
//!   main -> cert_controller -> keeper -> certificates -> tls
//!   main -> offline -> mutate, custom, misplaced, yaml
//!   main -> check -> mutate, misplaced, offline, tier
//!   main -> config -> flags, settings_file
//! ```
//!
//! The path of a review:
//!
//! 1. [`server`] takes the bytes of `POST /mutate`, within limits; what is no review at all gets an HTTP error.
//! 2. [`admission`] reads the review and writes the answer. It owns the uid and `allowed`, and it alone says
//!    what our own failure means for a pod: nothing, the pod is allowed as it is.
//! 3. [`mutate`] does the work for one pod, from a review or from a file: it asks [`decide`] whether the pod is
//!    injected and with what, and lets [`inject`] record the edits with [`patch`].
//!
//! Everything below [`mutate`] is a function of its arguments and never sees a client, a clock or a socket.
//! Pods stay JSON from end to end: a typed struct would lose the fields it does not know.

pub mod admission;
pub mod again;
pub mod annotations;
pub mod app;
pub mod cert_controller;
pub mod certificates;
pub mod check;
pub mod client_ca;
pub mod cluster;
pub mod config;
pub mod connections;
pub mod custom;
pub mod decide;
pub mod discovery;
pub mod dns;
pub mod events;
pub mod flags;
pub mod impossible;
pub mod inject;
pub mod keeper;
pub mod limit_ranges;
pub mod limits;
pub mod metrics;
pub mod misplaced;
pub mod mutate;
pub mod names;
pub mod namespaces;
pub mod nested;
pub mod notice;
pub mod offline;
pub mod patch;
pub mod qos;
pub mod rate;
pub mod readiness;
pub mod resolv_conf;
pub mod restored;
pub mod server;
pub mod settings_file;
pub mod shutdown;
pub mod telemetry;
pub mod tier;
pub mod tls;
pub mod tls_files;
pub mod yaml;
