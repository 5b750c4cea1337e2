//! Installing, upgrading and removing the product as an operator does: docs/install.md, docs/upgrade.md.

mod callers;
mod cert_manager;
mod definitions;
mod helm;
mod overlays;
mod upgrade;

use crate::runner::Test;

pub(crate) fn tests() -> Vec<Test> {
    [overlays::tests(), upgrade::tests(), helm::tests(), callers::tests()].into_iter().flatten().collect()
}
