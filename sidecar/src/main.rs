//! `podlocal-sidecar`: reads the settings, binds, serves and drains. Every end has its exit code and message.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use podlocal_settings::read::SettingError;
use podlocal_settings::{Settings, table};
use podlocal_sidecar::app::{self, Ended};
use podlocal_sidecar::cli::{self, Command, Invocation};
use podlocal_sidecar::listen::Pair;
use podlocal_sidecar::upstream::nameservers;
use podlocal_sidecar::{gate, parent, worker};

/// Exit code for invalid settings (sysexits.h, EX_USAGE).
const INVALID_SETTINGS: u8 = 64;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(invocation) => invocation,
        Err(errors) => return refuse(&errors),
    };
    let is_child = parent::restarts().is_some();
    if invocation.command == Command::Supervise && !is_child {
        return parent::run(&invocation.settings).unwrap_or_else(|error| cannot_start(&error));
    }
    // A pod has no other thread: the proxy mostly waits, and a pod should not pay for more.
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
        Command::Await => runtime.block_on(await_ready(&invocation.settings)),
        Command::Health => {
            let ready = runtime.block_on(gate::check(invocation.settings.admin_port));
            ready.map_or_else(|reason| fail(&reason), |()| ExitCode::SUCCESS)
        }
        Command::Help => print(&cli::help()),
        Command::Version => print(concat!("podlocal-sidecar ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn cannot_start(error: &io::Error) -> ExitCode {
    fail(&format!("cannot start: {error}"))
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("podlocal-sidecar: {reason}");
    ExitCode::FAILURE
}

async fn serve(invocation: Invocation, sockets: Vec<Vec<Pair>>) -> ExitCode {
    let Invocation { settings, unknown_variables, .. } = invocation;
    let upstream = match upstream(&settings) {
        Ok(upstream) => upstream,
        Err(error) => return refuse(&[error]),
    };
    podlocal_telemetry::log::start(settings.log_level, false);
    for variable in unknown_variables {
        tracing::warn!(variable, "unknown variable ignored; the webhook may be newer than this sidecar");
    }
    match app::serve(&settings, &upstream, sockets).await {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => ExitCode::from(2),
        Err(error) => {
            tracing::error!("cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits until the proxy is ready. If it is not ready in time, the pod starts anyway: a DNS outage must not
/// become a startup outage, and the kubelet kills a container whose hook fails.
async fn await_ready(settings: &Settings) -> ExitCode {
    if let Err(reason) = gate::wait(settings.admin_port, settings.ready_timeout).await {
        eprintln!("podlocal-sidecar: the proxy is not ready, and the pod starts anyway: {reason}");
    }
    ExitCode::SUCCESS
}

/// The servers of the settings, or those of `/etc/resolv.conf`.
fn upstream(settings: &Settings) -> Result<Vec<SocketAddr>, SettingError> {
    const FILE: &str = "/etc/resolv.conf";
    if !settings.upstream.is_empty() {
        return Ok(settings.upstream.clone());
    }
    let text = std::fs::read_to_string(FILE).unwrap_or_default();
    let found = nameservers::upstreams(&text, settings);
    if found.is_empty() {
        let expected = format!("an address, since {FILE} names no nameserver other than the proxy itself");
        return Err(SettingError::new(table::UPSTREAM.flag(), "", expected));
    }
    Ok(found)
}

/// Prints to standard output; fails if the reader has closed the pipe.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(errors: &[SettingError]) -> ExitCode {
    eprintln!("podlocal-sidecar: invalid settings:");
    for error in errors {
        eprintln!("  {error}");
    }
    eprintln!("See podlocal-sidecar --help.");
    ExitCode::from(INVALID_SETTINGS)
}
