//! CPU time, memory and cores of a process, from the kernel.

use std::fs;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::failure::{Failure, WithContext};

/// The resources that a process has used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time, including that of ended children, in seconds.
    pub cpu: f64,
    /// Resident memory, in MiB.
    pub resident: f64,
    /// The peak resident memory so far, in MiB.
    pub most_resident: f64,
}

/// The resources that the process has used so far.
pub fn usage(id: u32) -> Result<Usage, Failure> {
    let read = |name: &str| {
        let file = format!("/proc/{id}/{name}");
        fs::read_to_string(&file).with_context(|| format!("reading {file}"))
    };
    let (stat, status) = (read("stat")?, read("status")?);
    let cpu = cpu_in(&stat).with_context(|| format!("understanding {stat:?}"))?;
    let mebibytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    };
    Ok(Usage { cpu, resident: mebibytes("VmRSS:"), most_resident: mebibytes("VmHWM:") })
}

/// The CPU time in a line of proc_pid_stat(5), user and system time including that of ended children, in
/// seconds. The name of the program in parentheses may contain any character; a tick is 10 ms on every
/// supported architecture.
pub(crate) fn cpu_in(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(4).map(|field| field.parse::<f64>().ok());
    Some(ticks.sum::<Option<f64>>()? / 100.0)
}

/// A sample of the CPU time that the whole machine and this process have used.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    at: Instant,
    busy: f64,
    own: f64,
}

impl Machine {
    /// Takes a sample.
    pub fn now() -> Result<Self, Failure> {
        let stat = fs::read_to_string("/proc/stat").with_context("reading /proc/stat")?;
        // The sums over all cores, in hundredths of a second: user, nice, system, idle, iowait, irq, softirq,
        // steal.
        let line = stat.lines().next().unwrap_or_default();
        let fields: Vec<u64> =
            line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|field| fields.get(*field)).sum();
        Ok(Self { at: Instant::now(), busy: busy as f64 / 100.0, own: usage(std::process::id())?.cpu })
    }

    /// The share of the machine that other programs have used since the sample: all CPU time except that of
    /// this process and `cpu` seconds.
    pub fn share_of_others(&self, cpu: f64) -> Result<f64, Failure> {
        let now = Self::now()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = (now.busy - self.busy) - (now.own - self.own) - cpu;
        Ok((others / (cores * (now.at - self.at).as_secs_f64())).clamp(0.0, 1.0))
    }
}

/// The number of datagrams that the IPv4 sockets of a local port dropped (proc_pid_net(5), `udp`).
pub fn datagrams_dropped(port: u16) -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/net/udp").with_context("reading /proc/net/udp")?;
    let ending = format!(":{port:04X}");
    let of_port = |line: &&str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&ending));
    let lines = text.lines().filter(of_port);
    Ok(lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum())
}

/// The cores that this thread may use.
pub fn cores() -> Result<Vec<usize>, Failure> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).with_context("reading the allowed cores")?;
    Ok((0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect())
}

/// Pins the thread to one core until this is dropped. A process that the thread starts in the meantime stays
/// pinned.
#[derive(Debug)]
pub struct Pinned(CpuSet);

impl Pinned {
    /// Pins this thread. Do not await anything before it is dropped, because the task could move to another
    /// thread.
    pub fn to(core: usize) -> Result<Self, Failure> {
        let pinning = || format!("pinning a thread to core {core}");
        let before = sched_getaffinity(Pid::from_raw(0)).with_context(pinning)?;
        let cores = alone(core).with_context(pinning)?;
        sched_setaffinity(Pid::from_raw(0), &cores).with_context(pinning)?;
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

/// Pins every thread of this process to one core until this is dropped.
#[derive(Debug)]
pub struct Confined(CpuSet);

impl Confined {
    /// Pins the existing threads, and so the threads that they start.
    pub fn to(core: usize) -> Result<Self, Failure> {
        let confining = || format!("confining this process to core {core}");
        let before = sched_getaffinity(Pid::from_raw(0)).with_context(confining)?;
        confine(&alone(core).with_context(confining)?)?;
        Ok(Self(before))
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        let _ = confine(&self.0);
    }
}

fn confine(cores: &CpuSet) -> Result<(), Failure> {
    let threads = fs::read_dir("/proc/self/task").with_context("reading /proc/self/task")?;
    let ids = threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    for id in ids {
        // A thread may have ended in the meantime.
        let _ = sched_setaffinity(Pid::from_raw(id), cores);
    }
    Ok(())
}
