//! `podlocal-sidecar`: settings, bind, serve, drain; each way of ending has its exit code and its sentence.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use podlocal_settings::read::Mistake;
use podlocal_settings::value::ForwardZone;
use podlocal_settings::{Settings, table};
use podlocal_sidecar::app::{Bound, Ended};
use podlocal_sidecar::cli::{self, Command, Invocation};
use podlocal_sidecar::listen::Pair;
use podlocal_sidecar::upstream::nameservers;
use podlocal_sidecar::{gate, lookup, parent, stats, telemetry, worker};

/// Bad settings (sysexits.h, EX_USAGE).
const BAD_SETTINGS: u8 = 64;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(invocation) => invocation,
        Err(mistakes) => return refuse(&mistakes),
    };
    let is_child = parent::restarts().is_some();
    if invocation.command == Command::Supervise && !is_child {
        return parent::run(&invocation.settings).unwrap_or_else(|error| cannot_start(&error));
    }
    // One thread, and in a pod no other: the work is waiting, and a pod should not pay for more.
    let runtime = match worker::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(&error),
    };
    match invocation.command {
        Command::Serve => runtime.block_on(serve(invocation, Vec::new())),
        Command::Supervise => match parent::begin_child(&invocation.settings) {
            Ok(sockets) => runtime.block_on(serve(invocation, sockets)),
            Err(error) => cannot_start(&error),
        },
        Command::Await => runtime.block_on(hold(&invocation.settings)),
        Command::Health => runtime.block_on(health(&invocation.settings)),
        Command::Lookup(wanted) => runtime.block_on(lookup::run(&wanted, &invocation.settings)),
        Command::Stats(wanted) => runtime.block_on(stats::run(wanted, &invocation.settings)),
        Command::Help(None, length) => print(&cli::about().help(length)),
        Command::Help(Some(command), length) => print(&cli::about().help_of(command, length)),
        Command::Version => print(concat!(
            "podlocal-sidecar ",
            env!("CARGO_PKG_VERSION"),
            "
"
        )),
    }
}

fn cannot_start(error: &io::Error) -> ExitCode {
    eprintln!("podlocal-sidecar: cannot start: {error}");
    ExitCode::FAILURE
}

async fn serve(invocation: Invocation, sockets: Vec<Vec<Pair>>) -> ExitCode {
    let Invocation { settings, unknown_variables, .. } = invocation;
    let upstream = match upstream(&settings) {
        Ok(upstream) => upstream,
        Err(mistake) => return refuse(&[mistake]),
    };
    telemetry::init(settings.log_level);
    for variable in unknown_variables {
        tracing::warn!(variable, "this version does not know the variable; the webhook may be newer");
    }
    let bound = match Bound::bind(&settings, &upstream, sockets) {
        Ok(bound) => bound,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (dns, admin_port) = bound.addresses();
    let version = env!("CARGO_PKG_VERSION");
    let (admin_port, workers) = (admin_port.unwrap_or_default(), bound.workers());
    let tier = settings.shared_tier;
    for ForwardZone { zone, servers } in &settings.forward_zones {
        tracing::info!(zone, ?servers, "a forward zone");
    }
    tracing::info!(version, ?dns, admin_port, ?upstream, shared_tier = ?tier, workers, "serving");
    match bound.run().await {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Cut) => ExitCode::from(2),
        Err(error) => {
            tracing::error!("cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for the proxy; when it does not come, the pod starts all the same: a DNS outage must not become a
/// start-up outage, and a hook that fails kills the container that it waits for.
async fn hold(settings: &Settings) -> ExitCode {
    if let Err(reason) = gate::wait(settings.admin_port, settings.ready_timeout).await {
        eprintln!("podlocal-sidecar: the pod starts although the proxy is not ready: {reason}");
    }
    ExitCode::SUCCESS
}

async fn health(settings: &Settings) -> ExitCode {
    match gate::check(settings.admin_port).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("podlocal-sidecar: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The servers of the settings, or those of `/etc/resolv.conf`.
fn upstream(settings: &Settings) -> Result<Vec<SocketAddr>, Mistake> {
    const FILE: &str = "/etc/resolv.conf";
    if !settings.upstream.is_empty() {
        return Ok(settings.upstream.clone());
    }
    let text = std::fs::read_to_string(FILE).unwrap_or_default();
    let found = nameservers::upstreams(&text, settings);
    if found.is_empty() {
        let expected = format!("an address, since {FILE} names no nameserver other than the proxy itself");
        return Err(Mistake::new(table::UPSTREAM.flag(), "", expected));
    }
    Ok(found)
}

/// Prints to standard output; a reader that has gone away is an ending like any other.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(mistakes: &[Mistake]) -> ExitCode {
    eprintln!("podlocal-sidecar: bad settings:");
    for mistake in mistakes {
        eprintln!("  {mistake}");
    }
    eprintln!("See podlocal-sidecar --help.");
    ExitCode::from(BAD_SETTINGS)
}
