//! The statistics as text. Pure. Bars are plain ASCII, because people paste pages into logs and chats.

use anstyle::Style;
use podlocal_dns::report::stats::{Counts, ForwardZone, Names, Server, Stats, Upstream};
use podlocal_dns::report::words::{counted, duration};

use crate::paint::{BAD, GOOD, STRONG, paint};

/// The length of the bar that stands for all queries.
const BAR_LENGTH: u64 = 40;

/// The page; with a rate if there is a previous page.
pub fn page(stats: &Stats, previous: Option<&Stats>) -> String {
    let Stats { version, uptime_s, role, listen, workers, cache, memory, panics, .. } = stats;
    let mut out = String::new();
    let mut line = |label: &str, text: String| {
        out.push_str(&format!("{}{text}\n", paint(STRONG, format!("{label:<11}"))));
    };
    line(
        "podlocal",
        format!("sidecar {version}, {role}, {}, up {}", counted(*workers as u64, "thread"), time(*uptime_s)),
    );
    line("listening", listen.join(" "));
    line("queries", format!("{}{}", sum(&stats.queries), rate(stats, previous)));
    for (outcome, count) in sorted(&stats.outcomes) {
        let tone = if FAILURES.contains(&outcome) { BAD } else { GOOD };
        line("", outcome_line(outcome, count, sum(&stats.outcomes), tone));
    }
    line("hit rate", hit_rate(&stats.outcomes));
    line(
        "waiting",
        format!(
            "{}, {} in flight",
            counted(stats.queries_waiting as u64, "client"),
            counted(stats.queries_in_flight as u64, "upstream exchange")
        ),
    );
    line(
        "cache",
        format!(
            "{}, {} of {}",
            counted(cache.entries as u64, "answer"),
            bytes(cache.bytes),
            bytes(cache.max_bytes)
        ),
    );
    if let Some(memory) = memory {
        line(
            "memory",
            format!("{}, at most {}", bytes(memory.resident_bytes), bytes(memory.peak_resident_bytes)),
        );
    }
    line("upstream", upstream(&stats.upstream));
    for server in &stats.upstream.servers {
        line("", server_line(server));
    }
    for ForwardZone { zone, upstream: servers } in &stats.forward_zones {
        line("forward", format!("{zone} {}", upstream(servers)));
        for server in &servers.servers {
            line("", server_line(server));
        }
    }
    line("background", list(&stats.background_queries));
    line("limits", list(&stats.limits_reached));
    if *panics > 0 {
        line("panics", paint(BAD, format!("{panics}; please report the lines in the log")));
    }
    if let Some(names) = &stats.names {
        line("names", format!("counted for {}", time(names.counted_for_s)));
        out.push_str(&top(names));
    }
    out
}

/// Outcomes that are failures for the client.
const FAILURES: [&str; 5] = ["loop", "over_limit", "rate_limited", "source_not_allowed", "upstream_failed"];

fn outcome_line(outcome: &str, count: u64, all: u64, tone: Style) -> String {
    // At least one mark, so that rare outcomes are visible.
    let marks = (count * BAR_LENGTH).div_ceil(all.max(1)) as usize;
    format!("{outcome:<18}{count:>10}  {:>5} %  {}", share(count, all), paint(tone, "#".repeat(marks)))
}

/// The hits among the queries that the cache can answer, and the queries that were answered without a query
/// to a server.
fn hit_rate(outcomes: &Counts) -> String {
    let sum_of = |names: &[&str]| names.iter().filter_map(|name| outcomes.get(*name)).sum::<u64>();
    let hits = sum_of(&["hit"]);
    let cacheable = hits + sum_of(&["miss", "coalesced", "stale", "upstream_failed", "over_limit"]);
    let local = hits + sum_of(&["impossible_name", "nxdomain_cut", "stale"]);
    let all = cacheable + sum_of(&["impossible_name", "nxdomain_cut"]);
    if all == 0 {
        return "no queries yet".to_owned();
    }
    format!(
        "{} % from the cache, {} % answered without an upstream query",
        share(hits, cacheable),
        share(local, all)
    )
}

fn upstream(upstream: &Upstream) -> String {
    let Upstream { is_unavailable, retry_budget, attempts, retransmissions, retry_budget_exhausted, .. } =
        upstream;
    let condition = if *is_unavailable { paint(BAD, "unavailable") } else { paint(GOOD, "available") };
    format!(
        "{condition}; {}: {}; {}; retry budget {retry_budget}, exhausted {}",
        counted(sum(attempts), "attempt"),
        list(attempts),
        counted(*retransmissions, "retransmission"),
        counted(*retry_budget_exhausted, "time")
    )
}

fn server_line(server: &Server) -> String {
    let Server { address, is_shared_tier, is_ejected, srtt_us, rttvar_us, .. } = server;
    let condition = if *is_ejected {
        paint(BAD, format!("ejected after {}", counted(server.failures.into(), "failure")))
    } else {
        paint(GOOD, "healthy")
    };
    let mut text = format!("{address}{} {condition}", if *is_shared_tier { " (shared tier)" } else { "" });
    match (srtt_us, rttvar_us) {
        (Some(mean), Some(variation)) => {
            text.push_str(&format!(", round-trip time {} +- {}", duration(*mean), duration(*variation)));
        }
        _ => text.push_str(", no response yet"),
    }
    if let Some(ago) = server.last_response_s {
        text.push_str(&format!(", last response {} ago", time(ago)));
    }
    if let (Some(ago), Some(result)) = (server.last_failure_s, &server.last_failure) {
        text.push_str(&format!(", last failure {} ago ({result})", time(ago)));
    }
    text
}

fn top(names: &Names) -> String {
    if names.top.is_empty() {
        return format!("{:<11}none yet: run stats again, or use --watch\n", "");
    }
    let mut out = String::new();
    for name in &names.top {
        let error =
            if name.error > 0 { format!(" (at most {} too high)", name.error) } else { String::new() };
        out.push_str(&format!("{:<11}{:>10}  {}{error}\n", "", name.count, name.name));
    }
    out
}

/// Queries per second since the previous page.
fn rate(stats: &Stats, previous: Option<&Stats>) -> String {
    let Some(previous) = previous else { return String::new() };
    let seconds = stats.uptime_s.saturating_sub(previous.uptime_s).max(1);
    let more = sum(&stats.queries).saturating_sub(sum(&previous.queries));
    format!(", {} per second", more / seconds)
}

fn list(counts: &Counts) -> String {
    let texts: Vec<_> = sorted(counts).into_iter().map(|(label, count)| format!("{label} {count}")).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// The counts above zero, the highest first.
fn sorted(counts: &Counts) -> Vec<(&str, u64)> {
    let mut counts: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(label, count)| (label.as_str(), *count))
        .collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn sum(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// A share in per cent, with one decimal digit.
fn share(part: u64, whole: u64) -> String {
    let tenths = (part * 1000 + whole / 2) / whole.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => {
            let tenths = (bytes * 10 + (1 << 19)) >> 20;
            format!("{}.{} MiB", tenths / 10, tenths % 10)
        }
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
