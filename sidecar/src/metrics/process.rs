//! What the kernel says of this process and its sockets, read when somebody looks. Under our own prefix, as client libraries
//! do it for a process that shares a pod with others: `process_open_fds` alone could be the application's.

use std::fmt;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::shown;
use crate::parent;

/// Shows what the kernel says in a registry.
#[derive(Debug)]
pub struct Process {
    ports: Vec<u16>,
    /// What was dropped, and when that was read.
    dropped: Mutex<Option<(Instant, u64)>>,
}

/// How long what was dropped is not read anew: every socket is a line of that file, and with thousands under way reading it
/// takes as long as a thousand answers.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Process {
    /// With the ports that datagrams are received at.
    pub fn new(ports: Vec<u16>) -> Self {
        Self { ports, dropped: Mutex::default() }
    }

    fn dropped(&self) -> u64 {
        let mut last = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, dropped)) = *last
            && at.elapsed() < READ_AGAIN_AFTER
        {
            return dropped;
        }
        let received = ["/proc/self/net/udp", "/proc/self/net/udp6"].map(text);
        let dropped = received.iter().map(|table| dropped(table, &self.ports)).sum();
        *last = Some((Instant::now(), dropped));
        dropped
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = ConstGauge::new(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9);
        let help = "CPU time of the proxy";
        let name = "process_cpu_seconds_total";
        seconds.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        let restarts = ConstGauge::new(parent::restarts().unwrap_or_default());
        let (name, help) =
            ("process_restarts_total", "Crashes after which the proxy was started again in its container");
        restarts.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        let help = "Datagrams that the kernel dropped because they came faster than they were read";
        let name = "receive_dropped_total";
        shown(self.dropped()).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let gauges = [
            ("process_resident_memory_bytes", "Memory of the proxy", resident(&text("/proc/self/status"))),
            ("process_open_fds", "Open descriptors of the proxy", open as u64),
            (
                "process_max_fds",
                "Descriptors that the proxy may have",
                getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            ),
        ];
        for (name, help, value) in gauges {
            shown(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

/// `VmRSS` of `/proc/PID/status` (proc_pid_status(5)), in bytes; 0 where it is not told.
fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map_or(0, |kibibytes| kibibytes * 1024)
}

/// The drops of the sockets at those ports, from `/proc/PID/net/udp` (proc_pid_net(5)): the local address is the second
/// column, `ADDRESS:PORT` in hexadecimal, and the drops are the last one. Connected sockets are not ours to serve.
fn dropped(table: &str, ports: &[u16]) -> u64 {
    let of_line = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let (_, port) = columns.next()?.rsplit_once(':')?;
        let (_, peer) = columns.next()?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let is_ours = ports.contains(&port) && peer == "0000";
        is_ours.then(|| columns.last()?.parse::<u64>().ok()).flatten()
    };
    table.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_resident_part_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmHWM:\t    3000 kB\nVmRSS:\t    2816 kB\nThreads:\t1\n"), 2_883_584);
        assert_eq!(resident(""), 0);
    }

    #[test]
    fn drops_are_those_of_our_ports_and_not_of_connected_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 65532        0 1 2 0 7
  2: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 65532        0 2 2 0 4
  3: 0100007F:0035 0100007F:9999 01 00000000:00000000 00:00000000 00000000 65532        0 3 2 0 9
  4: 0100007F:0036 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4 2 0 90
";
        assert_eq!(dropped(table, &[0x35]), 11);
        assert_eq!(dropped("", &[0x35]), 0);
    }
}
