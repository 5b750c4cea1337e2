//! TLS: the certificate that the webhook serves, its CA, and the certificates of its clients.
//!
//! ```text
//!   identity      a CA and a serving certificate: create, renew, check; the truth table of renewal
//!   manager       keeps an identity in a Secret, and its CA in the webhook configuration
//!   client_ca     the CA of the clients, from a file
//!   tls_files     the serving certificate, from files
//!   reload        files that are used again whenever they change
//!   tls           the certificate for handshakes, replaced without a restart
//! ```
//!
//! This module imports `metrics`. It knows nothing of pods.

pub(crate) mod client_ca;
pub mod identity;
pub mod manager;
pub(crate) mod reload;
pub mod tls;
pub(crate) mod tls_files;
