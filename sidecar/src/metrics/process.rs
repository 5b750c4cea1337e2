//! Metrics of this process and its sockets, read from the kernel at each scrape. They have the prefix of the
//! sidecar, because a pod has other processes, too: `process_open_fds` without it could be the application's.

use std::fmt;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use podlocal_dns::report::stats::Memory;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Prints the metrics of the process in a registry.
#[derive(Debug)]
pub struct Process {
    ports: Vec<u16>,
    restarts: u64,
    /// The count of dropped datagrams, and when it was read.
    dropped: Mutex<Option<(Instant, u64)>>,
}

/// The shortest time between two reads of the dropped datagrams. Every socket is a line of that file: with
/// thousands of queries in flight, reading it takes as long as a thousand answers.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Process {
    /// `ports`: those on which the proxy receives datagrams; `restarts`: how often the process was restarted.
    pub fn new(ports: Vec<u16>, restarts: u64) -> Self {
        Self { ports, restarts, dropped: Mutex::default() }
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
        let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
        let help = "CPU time that the process has used";
        let name = "process_cpu_seconds_total";
        encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_gauge(&seconds)?;
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let values = [
            (
                MetricType::Counter,
                "process_restarts_total",
                "Crashes after which the proxy was restarted in its container",
                self.restarts,
            ),
            (
                MetricType::Counter,
                "udp_receive_dropped_total",
                "Datagrams that the kernel dropped because the receive buffer was full",
                self.dropped(),
            ),
            (
                MetricType::Gauge,
                "process_resident_memory_bytes",
                "Resident memory of the process",
                memory(&text("/proc/self/status")).map_or(0, |memory| memory.resident_bytes),
            ),
            (MetricType::Gauge, "process_open_fds", "Open file descriptors of the process", open as u64),
            (
                MetricType::Gauge,
                "process_max_fds",
                "Limit of open file descriptors of the process",
                getrlimit(Resource::Nofile).current.unwrap_or(i64::MAX.unsigned_abs()),
            ),
        ];
        for (kind, name, help, value) in values {
            encoder.encode_descriptor(name, help, None, kind)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

/// The memory of the process, from the text of `/proc/PID/status` (proc_pid_status(5)).
pub fn memory(status: &str) -> Option<Memory> {
    let bytes = |label: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(label))?;
        Some(rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Memory { resident_bytes: bytes("VmRSS:")?, peak_resident_bytes: bytes("VmHWM:")? })
}

/// The drops of the sockets on these ports, from `/proc/PID/net/udp` (proc_pid_net(5)): the local address is
/// the second column, `ADDRESS:PORT` in hexadecimal, and the drops are the last one. Connected sockets do not
/// serve clients.
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
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    3000 kB\nVmRSS:\t    2816 kB\nThreads:\t1\n";
        let expected = Memory { resident_bytes: 2_883_584, peak_resident_bytes: 3_072_000 };
        assert_eq!(memory(status), Some(expected));
        assert_eq!(memory(""), None);
        assert_eq!(memory("Name:\tx\nVmRSS:\tmuch\n"), None);
    }

    #[test]
    fn drops_of_connected_sockets_are_not_counted() {
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
