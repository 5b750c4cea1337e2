//! Looks up names with `getaddrinfo` of the real libc, as an application does, and prints the results.

use std::fs::File;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use podlocal_harness::model::lookup::{BARRIER_VARIABLE, Lookup, WAITING};

/// Looks up names with getaddrinfo of the libc, one after the other, and prints one line of JSON for each.
///
/// Exits with 1 when a name was not found, or when a name was found that must not exist.
#[derive(Debug, Parser)]
struct Arguments {
    /// Names that must exist.
    names: Vec<String>,
    /// Name that must not exist; may be repeated.
    #[arg(long, value_name = "NAME")]
    expect_missing: Vec<String>,
    /// Wait until someone opens this FIFO for writing, so that many programs start at the same instant.
    #[arg(long, value_name = "FIFO", env = BARRIER_VARIABLE)]
    start_barrier: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(barrier) = &arguments.start_barrier
        && let Err(error) = wait_at(barrier)
    {
        eprintln!("lookup: waiting at {}: {error}", barrier.display());
        return ExitCode::from(2);
    }
    let expected = arguments.names.iter().map(|name| (name, true));
    let missing = arguments.expect_missing.iter().map(|name| (name, false));
    let mut all_as_expected = true;
    for (name, is_expected) in expected.chain(missing) {
        let lookup = look_up(name, is_expected);
        all_as_expected &= lookup.as_expected;
        println!("{}", serde_json::to_string(&lookup).unwrap_or_default());
    }
    ExitCode::from(u8::from(!all_as_expected))
}

/// Waits at the barrier: opening a FIFO for reading blocks until it is opened for writing (fifo(7)).
fn wait_at(barrier: &Path) -> std::io::Result<()> {
    eprintln!("{WAITING}");
    File::open(barrier).map(drop)
}

fn look_up(name: &str, is_expected: bool) -> Lookup {
    let start = Instant::now();
    // std calls getaddrinfo with AF_UNSPEC: A and AAAA are queried at the same time, and the search list is
    // used.
    let found = (name, 0).to_socket_addrs();
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
    let (addresses, error): (Vec<IpAddr>, Option<String>) = match found {
        Ok(addresses) => (addresses.map(|address| address.ip()).collect(), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    // EAI_AGAIN means that there was no answer: the name may or may not exist.
    let is_missing =
        error.as_deref().is_some_and(|error| error.contains("not known") || error.contains("No address"));
    let as_expected = if is_expected { error.is_none() } else { is_missing };
    Lookup { name: name.to_owned(), milliseconds, addresses, error, as_expected }
}
