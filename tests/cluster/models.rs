//! Compares the models that are used by tests without a cluster with the real cluster.
//!
//! | model | used by | compared |
//! |---|---|---|
//! | kubelet and node (`harness/src/model/pod`, `harness/src/model/node`) | `cargo test`, `gang` | resolv.conf, hosts, lookups, queries (`models/pods.rs`) |
//! | API server of pods (`harness/src/model/admission`) | the same | every field that it stores, warnings |
//! | cluster DNS (`harness/src/model/cluster_dns`) | the same | results of lookups, the number of queries |
//! | API server of the webhook (`webhook/tests/common/api_server`) | tests of the webhook | `models/api_server.rs` |

pub(crate) mod api_server;
pub(crate) mod on_model;
pub(crate) mod pods;
