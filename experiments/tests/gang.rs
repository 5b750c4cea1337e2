//! Tests the program `gang` end to end, and that it leaves nothing behind.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podlocal_experiments::simulation::Arm;
use podlocal_experiments::simulation::plan::questions;
use podlocal_harness::model::node::EXIT_REFUSED;
use serde_json::Value;

/// A time-out far above the usual time.
const DEADLINE: Duration = Duration::from_secs(120);

/// The number of runs until one is not slow.
const ATTEMPTS: u32 = 5;

/// `gang` enters a node itself, so these tests run outside of one.
fn main() -> ExitCode {
    let tests = vec![
        Trial::ignorable_test(
            "every_lookup_is_answered_and_cluster_dns_is_asked_less",
            injection_answers_all_lookups_with_fewer_queries,
        ),
        Trial::ignorable_test(
            "behind_the_tier_cluster_dns_is_asked_once_for_each_name_and_type",
            cluster_dns_is_queried_once_for_each_question,
        ),
        Trial::ignorable_test("a_slow_cluster_dns_gets_less_and_fails_nobody", slow_cluster_dns),
        Trial::ignorable_test("nothing_is_left_after_the_end", nothing_is_left_after_the_end),
        Trial::ignorable_test("nothing_is_left_after_a_kill", nothing_is_left_after_a_kill),
        Trial::test("a_manifest_that_is_no_job_is_refused", || {
            let output = gang(&["--job", "/dev/null"]).output().map_err(Failed::from)?;
            assert_eq!(output.status.code(), Some(1));
            Ok(())
        }),
        Trial::test("an_impossible_capacity_is_refused_by_name", || {
            for (flag, value) in
                [("--service-rate", "0"), ("--loss", "1.5"), ("--pods", "0"), ("--arms", "x")]
            {
                let output = gang(&[flag, value]).output().map_err(Failed::from)?;
                assert_eq!(output.status.code(), Some(2), "{flag}");
                assert!(String::from_utf8_lossy(&output.stderr).contains(flag), "{flag}");
            }
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn gang(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gang"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// The reason for ignoring the test when the machine does not allow namespaces.
fn refusal(code: Option<i32>, error: &[u8]) -> Option<Completion> {
    let reason = String::from_utf8_lossy(error).lines().last().unwrap_or_default().to_owned();
    (code == Some(i32::from(EXIT_REFUSED))).then(|| Completion::ignored_with(reason))
}

fn injection_answers_all_lookups_with_fewer_queries() -> Result<Completion, Failed> {
    let arguments = ["--pods", "5", "--unlimited", "--arms", "direct,injected", "--json", "-"];
    let output = gang(&arguments).output()?;
    if let Some(ignored) = refusal(output.status.code(), &output.stderr) {
        return Ok(ignored);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout)?;
    let of =
        |arm: usize, key: &str| figures["arms"][arm][key].as_u64().unwrap_or_else(|| panic!("{figures}"));
    assert_eq!((of(0, "answered"), of(1, "answered")), (15, 15), "{figures}");
    // kubernetes.default: 2 candidates; api.example.com and missing.example.com: 4 each; each A and AAAA.
    assert_eq!(of(0, "queries_udp"), 5 * 20, "{figures}");
    // The simulation assumes these numbers. Depending on timing, a query about a namespace may be sent once
    // more or less.
    let planned = |arm| 5 * u64::from(questions(arm));
    assert_eq!(of(0, "queries_udp"), planned(Arm::Direct));
    let injected = of(1, "queries_udp") + of(1, "queries_tcp");
    assert!(injected.abs_diff(planned(Arm::Sidecars)) <= 5, "{injected}: {figures}");
    Ok(Completion::Completed)
}

/// This includes the names that the applications look up and the queries of their sidecars: namespaces,
/// candidates of the search list.
///
/// The tier retransmits a query to cluster DNS after 150 ms, so a busy machine gets more attempts.
fn cluster_dns_is_queried_once_for_each_question() -> Result<Completion, Failed> {
    let mut figures = Value::Null;
    for _ in 0..ATTEMPTS {
        let output = gang(&["--pods", "10", "--unlimited", "--arms", "shared", "--json", "-"]).output()?;
        if let Some(ignored) = refusal(output.status.code(), &output.stderr) {
            return Ok(ignored);
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        figures = serde_json::from_slice::<Value>(&output.stdout)?["arms"][0].take();
        let longest = figures["lookup_milliseconds"].as_array().and_then(|all| all.last()?.as_f64());
        if longest.is_some_and(|milliseconds| milliseconds < 150.0) {
            break;
        }
    }
    assert_eq!((&figures["answered"], &figures["failed"]), (&30.into(), &0.into()), "{figures}");
    let asked = figures["asked"].as_object().ok_or("no questions in the figures")?;
    for question in
        ["kubernetes.default.svc.cluster.local A", "api.example.com AAAA", "com.svc.cluster.local A"]
    {
        assert!(asked.contains_key(question), "{question}: {asked:#?}");
    }
    assert!(asked.values().all(|times| *times == 1), "{asked:#?}");
    Ok(Completion::Completed)
}

/// A cluster DNS that needs some seconds for the queries of the pods: no pod fails, and injection sends fewer
/// queries.
fn slow_cluster_dns() -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let plot = folder.path().join("plot");
    let output = gang(&["--pods", "10", "--service-rate", "50"])
        .args(["--arms", "direct,injected", "--json", "-", "--plot"])
        .arg(&plot)
        .output()?;
    if let Some(ignored) = refusal(output.status.code(), &output.stderr) {
        return Ok(ignored);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout)?;
    let queries = |arm: usize| figures["arms"][arm]["queries_udp"].as_u64().unwrap_or_default();
    for arm in &figures["arms"].as_array().cloned().unwrap_or_default() {
        assert_eq!((&arm["restarts"], &arm["failed"]), (&0.into(), &0.into()), "{figures}");
    }
    assert!(queries(0) >= 200 && 10 * queries(1) <= 7 * queries(0), "{} and {}", queries(0), queries(1));
    assert!(fs::metadata(folder.path().join("plot.svg"))?.len() > 5_000);
    Ok(Completion::Completed)
}

fn nothing_is_left_after_the_end() -> Result<Completion, Failed> {
    let temporary = tempfile::tempdir()?;
    let output =
        gang(&["--pods", "2", "--unlimited"]).env("TMPDIR", temporary.path()).process_group(0).output()?;
    if let Some(ignored) = refusal(output.status.code(), &output.stderr) {
        return Ok(ignored);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(temporary.path())?.count(), 0, "files are left in the temporary directory");
    Ok(Completion::Completed)
}

fn nothing_is_left_after_a_kill() -> Result<Completion, Failed> {
    let temporary = tempfile::tempdir()?;
    let mut child = gang(&["--pods", "20"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    // It starts itself again inside the node; then it creates pods, whose containers are processes.
    let processes = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(refusal(status.code(), b"the machine refuses the namespaces").unwrap_or_else(|| {
                panic!("gang ended before it created pods: {:?} {:?}", status.code(), status.signal())
            }));
        }
        assert!(start.elapsed() < DEADLINE, "gang created no pods");
        let processes = with_descendants(child.id());
        if processes.len() > 20 {
            break processes;
        }
        thread::yield_now();
    };
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
    child.wait()?;
    // A process that has ended and that nobody has waited for has no command line (proc_pid_cmdline(5)).
    let is_left =
        |process: &u32| fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty());
    while let Some(process) = processes.iter().find(|process| is_left(process)) {
        assert!(start.elapsed() < DEADLINE, "process {process} is left");
        thread::yield_now();
    }
    assert_eq!(fs::read_dir(temporary.path())?.count(), 0, "files are left in the temporary directory");
    Ok(Completion::Completed)
}

/// This process, and all that it has started, directly or not.
fn with_descendants(process: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The state, then the parent; the name before them may contain any character (proc_pid_stat(5)).
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, parent))
        })
        .collect();
    let (mut found, mut next) = (vec![process], 0);
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    found
}
