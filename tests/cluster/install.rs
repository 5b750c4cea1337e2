//! Installing, upgrading and removing the product as an operator does: docs/install.md, docs/upgrade.md.

pub(crate) mod callers;
mod cert_manager;
mod definitions;
pub(crate) mod helm;
pub(crate) mod overlays;
pub(crate) mod upgrade;
