//! Tests the program `bench`: it measures the sidecar and the echo and prints the results. The values are not
//! asserted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use podlocal_experiments::bench::peers::PEERS;
use podlocal_harness::programs::{Programs, SIDECAR_VARIABLE};
use serde_json::Value;

/// Runs it with only the sidecar and the echo.
fn bench(arguments: &[&str]) -> Output {
    let sidecar = Programs::build_sidecar().expect("the sidecar is built");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.env(SIDECAR_VARIABLE, sidecar).args(arguments);
    command.args(["--subject", "sidecar", "--subject", "echo"]).output().expect("it runs")
}

#[test]
fn a_table_has_a_line_for_everything_that_was_measured() {
    let output =
        bench(&["--only", "udp", "--only", "latency", "--only", "tcp", "--rounds", "1", "--seconds", "0.1"]);
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
    let columns: Vec<_> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(columns, ["sidecar", "echo", "goal"], "{table}");
    for line in ["hot UDP, answers a second", "ratio to the echo", "CPU for one, us", "p99.9, us", "hot TCP"]
    {
        assert!(table.lines().any(|text| text.trim_start().starts_with(line)), "{line} is not in\n{table}");
    }
}

#[test]
fn json_has_every_round_and_says_what_is_promised() {
    let arguments =
        ["--only", "cold", "--only", "memory", "--only", "in-flight", "--only", "start", "--only", "size"];
    let more = ["--rounds", "2", "--seconds", "0.1", "--no-million", "--json", "-"];
    let output = bench(&[&arguments[..], &more].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let lines = report["lines"].as_array().expect("lines");
    let of = |what: &str| {
        lines.iter().find(|line| line["what"] == what).unwrap_or_else(|| panic!("{what} in {text}"))
    };
    let start = of("start to first answer, ms");
    assert_eq!(start["goal"], "<= 5");
    assert_eq!(start["figures"].as_array().map(Vec::len), Some(1), "an echo has nothing to start: {text}");
    assert_eq!(start["figures"][0]["rounds"].as_array().map(Vec::len), Some(2));
    assert!(
        of("misses a second")["figures"][0]["median"].as_f64().is_some_and(|median| median > 0.0),
        "{text}"
    );
    assert!(
        of("memory idle, MiB")["figures"][0]["median"].as_f64().is_some_and(|median| median > 0.5),
        "{text}"
    );
}

#[test]
fn unknown_names_are_refused_with_the_list_of_known_ones() {
    for (flag, unknown, known) in [("--only", "upd", "udp"), ("--subject", "bind", "unbound")] {
        let output = bench(&[flag, unknown]);
        let sentence = String::from_utf8(output.stderr).expect("text");
        assert!(
            !output.status.success() && sentence.contains(unknown) && sentence.contains(known),
            "{sentence}"
        );
    }
}

#[test]
fn every_peer_gets_a_complete_configuration() {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    for peer in PEERS {
        let text = peer.configuration(address(5301), address(5302), Path::new("/somewhere"));
        let left = ["{port}", "{upstream-port}", "{directory}"].iter().filter(|name| text.contains(**name));
        assert_eq!(left.count(), 0, "{}: {text}", peer.name);
        assert!(text.contains("5301") && text.contains("5302"), "{}: {text}", peer.name);
        assert!(!text.contains("0.0.0.0"), "{} listens on the loopback alone: {text}", peer.name);
    }
}
