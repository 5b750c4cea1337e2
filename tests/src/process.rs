//! What the kernel says of a process, and the cores that it may use.

use std::fs;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::failure::{Failure, Tried};

/// What a process has taken.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time, that of children which have ended included, in seconds.
    pub cpu: f64,
    /// Resident memory, in MiB.
    pub resident: f64,
    /// The most resident memory so far, in MiB.
    pub most_resident: f64,
}

/// What that process has taken by now.
pub fn usage(id: u32) -> Result<Usage, Failure> {
    let read = |name: &str| {
        let file = format!("/proc/{id}/{name}");
        fs::read_to_string(&file).tried(|| format!("reading {file}"))
    };
    let (stat, status) = (read("stat")?, read("status")?);
    // The name in parentheses may hold blanks; user and system time are fields 14 to 17 (proc_pid_stat(5)), in
    // hundredths of a second on every architecture that we build for.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    let mebibytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    };
    Ok(Usage { cpu: ticks as f64 / 100.0, resident: mebibytes("VmRSS:"), most_resident: mebibytes("VmHWM:") })
}

/// What the whole machine has taken by a moment, and what this process has.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    at: Instant,
    busy: f64,
    own: f64,
}

impl Machine {
    /// Now.
    pub fn now() -> Result<Self, Failure> {
        let stat = fs::read_to_string("/proc/stat").tried(|| "reading /proc/stat".to_owned())?;
        // All cores together, in hundredths of a second: user, nice, system, idle, iowait, irq, softirq, steal.
        let line = stat.lines().next().unwrap_or_default();
        let fields: Vec<u64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|field| fields.get(*field)).sum();
        Ok(Self { at: Instant::now(), busy: busy as f64 / 100.0, own: usage(std::process::id())?.cpu })
    }

    /// The share of the machine that others have taken since then: all but this process and who took `cpu` seconds.
    pub fn share_of_others(&self, cpu: f64) -> Result<f64, Failure> {
        let now = Self::now()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = (now.busy - self.busy) - (now.own - self.own) - cpu;
        Ok((others / (cores * (now.at - self.at).as_secs_f64())).clamp(0.0, 1.0))
    }
}

/// Datagrams that the sockets of a local port had no room for, by IPv4 (proc_pid_net(5), `udp`).
pub fn datagrams_dropped(port: u16) -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/net/udp").tried(|| "reading /proc/net/udp".to_owned())?;
    let ending = format!(":{port:04X}");
    let of_port = |line: &&str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&ending));
    let lines = text.lines().filter(of_port);
    Ok(lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum())
}

/// The cores that this thread may use.
pub fn cores() -> Result<Vec<usize>, Failure> {
    let allowed =
        sched_getaffinity(Pid::from_raw(0)).tried(|| "reading which cores may be used".to_owned())?;
    Ok((0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect())
}

/// The thread runs on that core alone until this is dropped; so does a process that it starts meanwhile, for ever.
#[derive(Debug)]
pub struct Pinned(CpuSet);

impl Pinned {
    /// Pins this thread. Nothing may be awaited before it is dropped.
    pub fn to(core: usize) -> Result<Self, Failure> {
        let pinning = || format!("pinning a thread to core {core}");
        let before = sched_getaffinity(Pid::from_raw(0)).tried(pinning)?;
        let cores = alone(core).tried(pinning)?;
        sched_setaffinity(Pid::from_raw(0), &cores).tried(pinning)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(Pid::from_raw(0), &self.0);
    }
}

fn alone(core: usize) -> nix::Result<CpuSet> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(cores)
}

/// Every thread of this process runs on that core until this is dropped.
#[derive(Debug)]
pub struct Confined(CpuSet);

impl Confined {
    /// Confines those that there are, and so those that they start.
    pub fn to(core: usize) -> Result<Self, Failure> {
        let confining = || format!("confining this process to core {core}");
        let before = sched_getaffinity(Pid::from_raw(0)).tried(confining)?;
        confine(&alone(core).tried(confining)?)?;
        Ok(Self(before))
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        let _ = confine(&self.0);
    }
}

fn confine(cores: &CpuSet) -> Result<(), Failure> {
    let threads = fs::read_dir("/proc/self/task").tried(|| "reading /proc/self/task".to_owned())?;
    let ids = threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    for id in ids {
        // A thread that has ended meanwhile needs no core.
        let _ = sched_setaffinity(Pid::from_raw(id), cores);
    }
    Ok(())
}
