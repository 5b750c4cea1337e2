//! Scripts of exchanges: one promise each, which the first line says. Times are in milliseconds.
//!
//! ```text
//! # One promise.
//! each NAME VALUE | VALUE     the script holds for each of these values of $NAME
//! servers 3 tier 1 backup 1   three servers, A to C; the first one is the tier, the last one a backup server
//! servers 2 tier 1 probes 5   the tier answers five probes; otherwise all of them, unless it refuses everything
//! A+ until 5000 silent        what a server does to a query over TCP in the first 5000 ms; the first line that fits holds
//! A answers 5                 the same over any transport: `answers`, `records`, `denies` and `fails` after that time;
//!                             `truncates`, `refuses`, `silent`
//! A lossy answers 5           the same, but about a third of the queries are lost
//! tokens 0                    the retry budget is empty
//! pass 5000                   time passes
//! check 1999 up               the condition of the servers, so long after the next exchange begins: `up`, `down`, `refusing`
//! condition up                the same now
//! ask 3 every 1000 -> NOERROR 5 1    exchanges in a row, with pauses before them: their RCODE or `none`, and how long they
//!                             take; the last time holds for the others, too. `ask together 3`: at the same time;
//!                             `ask cluster`: for a name in the cluster domain
//! sent 0 A, 5 B               all queries since the last exchanges or pause began, `(A)` for a probe
//! count A 2..4                so many of them to that server; `2..`: two at least
//! spread B 26..               they were sent to that server at so many different times
//! first A                     the first one; `last A`: the last one
//! times 0 1000 3000           about at these times; the jitter may delay the last one beyond the deadline
//! ```
//!
//! The end of a range of times may be exceeded by a millisecond of the clock.

use std::collections::BTreeSet;

use podlocal_dns::upstream::EXCHANGE_TIMEOUT;

use super::*;

#[test]
fn the_exchanges_of_the_scripts_happen() {
    for file in [include_str!("one_upstream.txt"), include_str!("backup.txt"), include_str!("tier.txt")] {
        for script in file.split("\n\n").flat_map(expand) {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
            runtime.block_on(run(&script));
        }
    }
}

/// The script with each value of its variables.
fn expand(script: &str) -> Vec<String> {
    let Some(each) = script.lines().find(|line| line.starts_with("each ")) else {
        return vec![script.to_owned()];
    };
    let (name, values) = each.trim_start_matches("each ").split_once(' ').expect("a name and values");
    let with = |value: &str| script.replace(each, "").replace(&format!("${name}"), value.trim());
    values.split('|').flat_map(|value| expand(&with(value))).collect()
}

async fn run(script: &str) {
    let lines = script.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines: Vec<Vec<_>> = lines.map(|line| line.split_whitespace().collect()).collect();
    let kinds = lines.remove(0);
    let kind = |name| kinds.iter().position(|word| *word == name).map(|at| number(kinds[at + 1]));
    let servers = ["servers", "tier", "backup"].map(|name| kind(name).unwrap_or(0) as usize);
    let rules: Vec<_> = lines.iter().filter_map(|line| Rule::parse(line)).collect();
    let does = move |target: Target, at| {
        let name = name_of(target);
        let fits = |rule: &&Rule| name.starts_with(&rule.name) && at < rule.until;
        let rule = rules.iter().find(fits).expect("a line that fits");
        if rule.is_lossy && rule.loses_next() { Silence } else { rule.does }
    };
    let setup = Setup::new(servers, kind("probes").map_or(u32::MAX, |probes| probes as u32), does);
    let mut checks = Vec::new();
    for line in lines.iter().filter(|line| Rule::parse(line).is_none()) {
        if let ["check", at, condition] = line[..] {
            checks.push((number(at), condition));
        } else if let Err(seen) = step(&setup, line, &mut checks).await {
            panic!("{script}\n{}: {seen}", line.join(" "));
        }
    }
}

/// What a server does until a time.
struct Rule {
    name: String,
    until: u64,
    is_lossy: bool,
    queries: AtomicU32,
    does: Does,
}

impl Rule {
    /// `None`: the line is no rule.
    fn parse(line: &[&str]) -> Option<Self> {
        let (name, does) = line.split_first().filter(|(name, _)| name.starts_with(char::is_uppercase))?;
        let (until, does) = match does {
            ["until", until, does @ ..] => (number(until), does),
            does => (u64::MAX, does),
        };
        let (is_lossy, does) = match does {
            ["lossy", does @ ..] => (true, does),
            does => (false, does),
        };
        let does = match does {
            ["answers", after] => answer(number(after)),
            ["records", after] => Respond(Rcode::NO_ERROR, 1, number(after)),
            ["denies", after] => Respond(Rcode::NXDOMAIN, 0, number(after)),
            ["fails", after] => Respond(Rcode::SERVFAIL, 0, number(after)),
            ["truncates"] => Truncate,
            ["refuses"] => Refuse,
            ["silent"] => Silence,
            other => panic!("no server does {other:?}"),
        };
        Some(Self { name: (*name).to_owned(), until, is_lossy, queries: AtomicU32::new(1), does })
    }

    fn loses_next(&self) -> bool {
        // Knuth's multiplicative hash: the same third each time, without a pattern.
        let hash = self.queries.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761) >> 16;
        hash.is_multiple_of(3)
    }
}

/// Takes a step; the error says what was seen.
async fn step(setup: &Setup, line: &[&str], checks: &mut Vec<(u64, &str)>) -> Result<(), String> {
    let asked = setup.network.asked.lock().expect("not poisoned").clone();
    let is_right = match line {
        ["tokens", "0"] => {
            while setup.state.try_spend_token() {}
            true
        }
        ["pass", time] => {
            setup.take_asked();
            sleep(Duration::from_millis(number(time))).await;
            true
        }
        ["ask", rest @ ..] => {
            let start = Instant::now();
            let checked = async {
                for (at, condition) in checks.drain(..) {
                    sleep_until(start + Duration::from_millis(at)).await;
                    assert!(is_in(setup, condition), "not {condition} after {at} ms");
                }
            };
            setup.take_asked();
            return tokio::join!(ask(setup, rest), checked).0;
        }
        ["condition", condition] => is_in(setup, condition),
        ["sent", expected @ ..] => {
            let sent: Vec<_> = asked.iter().map(|(at, name)| format!("{at} {name}")).collect();
            sent.join(", ") == expected.join(" ")
        }
        ["count", name, range] => {
            is_within(asked.iter().filter(|(_, to)| to == name).count() as u64, range, 0)
        }
        ["spread", name, range] => {
            let times = asked.iter().filter(|(_, to)| to == name).map(|(at, _)| at);
            is_within(times.collect::<BTreeSet<_>>().len() as u64, range, 0)
        }
        ["first", name] => asked.first().is_some_and(|(_, to)| to == name),
        ["last", name] => asked.last().is_some_and(|(_, to)| to == name),
        ["times", expected @ ..] => {
            let times: Vec<_> = asked.iter().map(|(at, _)| *at).collect();
            are_about(&times, &expected.iter().map(|time| number(time)).collect::<Vec<_>>())
        }
        _ => return Err("no such step".to_owned()),
    };
    if is_right { Ok(()) } else { Err(format!("{:?}, {asked:?}", setup.condition())) }
}

fn is_in(setup: &Setup, condition: &str) -> bool {
    let Condition { is_down, is_refusing, .. } = setup.condition();
    match condition {
        "refusing" => is_refusing,
        condition => is_down == (condition == "down"),
    }
}

/// Makes exchanges, and compares their outcomes.
async fn ask(setup: &Setup, words: &[&str]) -> Result<(), String> {
    let (mut question, mut count, mut pause, mut is_together) = (QUESTION, 1, 0, false);
    let mut words = words.iter();
    while let Some(word) = words.next().filter(|word| **word != "->") {
        match *word {
            "cluster" => question = CLUSTER_QUESTION,
            "together" => is_together = true,
            "every" => pause = number(words.next().expect("a time")),
            word => count = number(word),
        }
    }
    let rcode = match *words.next().expect("an RCODE") {
        "NOERROR" => Ok(0),
        "SERVFAIL" => Ok(2),
        "NXDOMAIN" => Ok(3),
        "none" => Err(Failed),
        other => panic!("no RCODE {other}"),
    };
    let times = words.as_slice();
    let (mut outcomes, mut running) = (Vec::new(), Vec::new());
    for _ in 0..count {
        if pause > 0 {
            sleep(Duration::from_millis(pause)).await;
        }
        let exchange = tokio::spawn(setup.exchange(question));
        if is_together {
            running.push(exchange);
        } else {
            outcomes.push(exchange.await.expect("no panic"));
        }
    }
    for exchange in running {
        outcomes.push(exchange.await.expect("no panic"));
    }
    for (index, (outcome, took)) in outcomes.into_iter().enumerate() {
        let range = times.get(index).or(times.last());
        let is_in_time = range.is_none_or(|range| is_within(took, range, 1));
        if outcome != rcode || !is_in_time {
            return Err(format!("{outcome:?} after {took} ms, {:?}", setup.take_asked()));
        }
    }
    Ok(())
}

/// The longest jitter of the server's timer, and a millisecond of the clock.
const JITTER: u64 = 401;

fn are_about(times: &[u64], expected: &[u64]) -> bool {
    // The jitter of one expiry delays the next ones, too, and may delay the last one beyond the deadline.
    let fits = |(time, expected): (&u64, &u64)| (*expected..=*expected + JITTER * 5).contains(time);
    let is_late = |time: &u64| time + JITTER * 5 > EXCHANGE_TIMEOUT.as_millis() as u64;
    let missing = expected.get(times.len()..).unwrap_or_default();
    let is_complete = times.len() <= expected.len() && missing.iter().all(is_late);
    is_complete && times.iter().zip(expected).all(fits)
}

/// Whether a value is in a range, of which the end may be exceeded by so much.
fn is_within(value: u64, range: &str, excess: u64) -> bool {
    match range.split_once("..") {
        Some((least, "")) => value >= number(least),
        Some((least, most)) => (number(least)..=number(most) + excess).contains(&value),
        None => value == number(range),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}
