//! `supervise`: runs the proxy in a child process, and restarts it when it crashes.
//!
//! The kubelet restarts a container immediately the first time, and then after 10 s, 20 s, 40 s: for so long
//! its pod has no DNS. This parent restarts the proxy within milliseconds. It binds the sockets first, so
//! that queries wait while there is no proxy ([`crate::handover`]), and never reads them. It has no threads
//! and no runtime, so that it costs a pod little and has nothing to crash with. A proxy that crashes
//! repeatedly is left to the kubelet: its backoff protects the node and cluster DNS, which every start
//! queries again, and `kubectl get pods` shows it.

use std::env;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use podlocal_settings::Settings;

use crate::listen::{self, Pair};
use crate::{handover, worker};

/// How often the proxy is restarted within [`WINDOW`]; after one more crash the program ends.
const MOST_RESTARTS: usize = 5;

/// A crash is forgotten after this time.
const WINDOW: Duration = Duration::from_secs(60);

const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD];

/// Tells the child that it is one, and how often it was restarted. Not a setting: those have another prefix.
const RESTARTS_VARIABLE: &str = "SUPERVISOR_RESTARTS";

/// Starts this program again, with the same arguments and as the child, and restarts it until it ends by
/// itself or crashes too often.
///
/// # Errors
/// If an address cannot be bound, or the child cannot be started.
pub fn run(settings: &Settings) -> io::Result<ExitCode> {
    let mut sockets =
        listen::bind(&settings.listen, worker::count(settings.workers)).map_err(io::Error::other)?;
    // Blocked, so that they stay pending until `wait` takes them.
    let signals = SigSet::from_iter(SIGNALS);
    signals.thread_block()?;
    let (mut crashes, mut restarts, mut stops) = (Vec::new(), 0_u32, false);
    loop {
        let mut child = start(restarts, &mut sockets)?;
        let status = wait(&mut child, &signals, &mut stops)?;
        let now = Instant::now();
        crashes.retain(|crash| now.duration_since(*crash) < WINDOW);
        if let Some(code) = exit_code(status, stops, crashes.len()) {
            return Ok(ExitCode::from(code));
        }
        crashes.push(now);
        restarts += 1;
        eprintln!("podlocal-sidecar: the proxy crashed ({status}) and is restarted; restarts: {restarts}");
    }
}

/// How often its parent has restarted this process; `None` if it is not a child.
pub fn restarts() -> Option<u64> {
    env::var(RESTARTS_VARIABLE).ok()?.parse().ok()
}

/// The first act of the child. It unblocks the signals that its parent has blocked, and arranges to end when
/// that ends. Returns the sockets of every worker; empty: the child has to bind them itself.
///
/// # Errors
/// Those of the system calls.
pub fn begin_child(settings: &Settings) -> io::Result<Vec<Vec<Pair>>> {
    SigSet::from_iter(SIGNALS).thread_unblock()?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    handover::receive(worker::count(settings.workers))
}

fn start(restarts: u32, sockets: &mut Vec<Vec<Pair>>) -> io::Result<Child> {
    let input = match handover::send(sockets) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("podlocal-sidecar: cannot hand over the sockets: {error}; the proxy binds its own");
            sockets.clear(); // closed, so that it can
            handover::send(sockets)?
        }
    };
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(RESTARTS_VARIABLE, restarts.to_string());
    command.stdin(Stdio::from(input)).spawn()
}

/// Waits until the child has ended, and forwards signals to it.
fn wait(child: &mut Child, signals: &SigSet, stops: &mut bool) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let signal = signals.wait()?;
        if signal != Signal::SIGCHLD {
            *stops = true;
            if let Ok(process) = i32::try_from(child.id()) {
                // Fails if the child has just ended; the next turn notices.
                let _ = kill(Pid::from_raw(process), signal);
            }
        }
    }
}

/// The exit code of this program after the end of the proxy; `None`: it restarts the proxy.
///
/// | the proxy | signal received | crashes within the last minute | reaction |
/// |---|---|---|---|
/// | drained, was interrupted, cannot start, rejects its settings (0, 1, 2, 64) | either | any | end with its code |
/// | killed by a signal, or another code | yes | any | end with 128 + signal, or its code |
/// | the same | no | fewer than five | restart it |
/// | the same | no | five | end with 128 + signal, or its code: the kubelet restarts the container |
fn exit_code(status: ExitStatus, stops: bool, crashes: usize) -> Option<u8> {
    let code =
        status.code().or_else(|| Some(128 + status.signal()?)).and_then(|code| u8::try_from(code).ok());
    let is_crash = !matches!(status.code(), Some(0 | 1 | 2 | 64));
    if is_crash && !stops && crashes < MOST_RESTARTS { None } else { Some(code.unwrap_or(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_restarted_only_after_few_crashes() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let killed = ExitStatus::from_raw(9);
        for code in [0, 1, 2, 64] {
            assert_eq!(exit_code(exit(code), false, 0), Some(u8::try_from(code).unwrap()));
        }
        assert_eq!(exit_code(killed, false, 0), None);
        assert_eq!(exit_code(exit(101), false, MOST_RESTARTS - 1), None);
        assert_eq!(exit_code(killed, false, MOST_RESTARTS), Some(137));
        assert_eq!(exit_code(killed, true, 0), Some(137));
        assert_eq!(exit_code(exit(101), true, 0), Some(101));
    }
}
