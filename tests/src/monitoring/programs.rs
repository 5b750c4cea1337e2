//! The metrics of the programs just after their start.

use std::net::SocketAddr;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::loopback::proxy::{Proxy, get};
use podlocal_harness::model::admission::Webhook;
use podlocal_harness::programs::Programs;

/// The metrics of a sidecar with a shared tier and a forward zone, of a shared tier, and of a webhook.
pub async fn pages(programs: &Programs) -> Result<[(&'static str, String); 3], Failure> {
    let folder = tempfile::tempdir().with_context(|| "creating a folder".to_owned())?;
    // An address where no process listens.
    let nobody = ([127, 0, 0, 1], 9).into();
    let flags = ["--shared-tier", "127.0.0.1:9", "--forward-zones", "consul=127.0.0.1:9"];
    let sidecar = Proxy::start(&programs.sidecar, nobody, &flags).await?;
    let tier = Proxy::start(&programs.sidecar, nobody, &["--role", "shared"]).await?;
    let webhook = Webhook::start_alone(&programs.webhook, folder.path()).await?;
    Ok([
        ("sidecar", page(sidecar.admin).await?),
        ("tier", page(tier.admin).await?),
        ("webhook", page(webhook.admin).await?),
    ])
}

/// The metrics of a program.
pub async fn page(admin: SocketAddr) -> Result<String, Failure> {
    let answer = get(admin, "/metrics").await.with_context(|| "reading metrics".to_owned())?;
    Ok(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}
