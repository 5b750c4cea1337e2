//! What applications in injected pods resolve, with glibc and musl.

use podlocal_harness::cluster::client::{Libc, Lookup, SLEEP, pod};
use podlocal_harness::failure::Failure;

use crate::runner::{Context, Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![short_names_fqdns_and_external_names_resolve]
}

async fn short_names_fqdns_and_external_names_resolve(context: Context) -> Result<(), Failure> {
    for libc in Libc::ALL {
        let name = context.namespace.run(pod(&format!("{libc:?}").to_lowercase(), libc, &SLEEP)).await?;
        let names = ["kubernetes.default", "kubernetes.default.svc.cluster.local", "www.example.com"];
        let lookups = context.namespace.look_up(&name, &names).await?;
        assert!(!lookups.iter().any(Lookup::is_failure), "{libc:?}: {lookups:?}");
    }
    Ok(())
}
