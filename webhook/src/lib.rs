//! The admission webhook of PodLocal DNS: it injects a caching DNS proxy, the sidecar, into pods.
//!
//! ```text
//!   main -> app -> server -> connections
//!                         -> admission -> mutate -> decide -> annotations, dns, restored, qos, limits, cluster
//!                                                -> inject -> reinvocation, patch
//!                           notice -> events -> rate
//!                  tls_files, client_ca -> tls
//!                  discovery, dns_checks, tier, limit_ranges -> cluster -> resolv_conf, limits
//!                  names, namespaces, metrics, readiness, shutdown, telemetry
//!   main -> cert_controller -> certificate_manager -> certificates -> tls
//!   main -> offline -> mutate, custom_kinds, misplaced_metadata, yaml
//!   main -> check -> mutate, misplaced_metadata, offline, tier
//!   main -> config -> flags, settings_file
//! ```
//!
//! The path of an admission review:
//!
//! 1. [`server`] reads the bytes of `POST /mutate`, within limits; a request that is not a review gets an
//!    HTTP error.
//! 2. [`admission`] reads the review and writes the answer. It owns the uid and `allowed`. It alone decides
//!    what a failure of the webhook means for a pod: the pod is allowed unchanged.
//! 3. [`mutate`] handles one pod, from a review or from a file: [`decide`] decides whether the pod is
//!    injected and with which settings, and [`inject`] records the edits with [`patch`].
//!
//! Everything below [`mutate`] is a pure function of its arguments, without a client, a clock or a socket.
//! Pods stay JSON from end to end: a typed struct would lose the fields that it does not know.

pub mod admission;
pub mod annotations;
pub mod app;
pub mod cert_controller;
pub mod certificate_manager;
pub mod certificates;
pub mod check;
pub mod client_ca;
pub mod cluster;
pub mod config;
pub mod connections;
pub mod custom_kinds;
pub mod decide;
pub mod discovery;
pub mod dns;
pub mod dns_checks;
pub mod events;
pub mod flags;
pub mod inject;
pub mod limit_ranges;
pub mod limits;
pub mod metrics;
pub mod misplaced_metadata;
pub mod mutate;
pub mod names;
pub mod namespaces;
pub mod nested_runtime;
pub mod notice;
pub mod offline;
pub mod patch;
pub mod qos;
pub mod rate;
pub mod readiness;
pub mod reinvocation;
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
