//! Command lines that are accepted. `tests/commands/serve.txt` shows the messages about the others.

use super::*;

fn parsed(arguments: &[&str], file: &str) -> Result<Command, ParseError> {
    parse(arguments.iter().map(OsString::from), |_| Ok(file.to_owned()))
}

fn served(arguments: &[&str], file: &str) -> Serve {
    match parsed(arguments, file) {
        Ok(Command::Serve(serve)) => *serve,
        other => panic!("expected serve, got {other:?}"),
    }
}

#[test]
fn clap_accepts_the_definition() {
    Arguments::command().debug_assert();
}

#[test]
fn serve_is_the_default_command_and_needs_no_flag() {
    let serve = served(&[], "");
    assert_eq!(serve.dns_names, ["podlocal-dns-webhook.podlocal-dns.svc"]);
    assert_eq!(serve.common.image, format!("ghcr.io/podlocal-dns/sidecar:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(served(&["--ca-out", "a"], "").ca_out, served(&["serve", "--ca-out=a"], "").ca_out);
}

#[test]
fn the_settings_file_is_in_the_settings_of_the_command() {
    for command in ["serve", "check"] {
        let defaults = match parsed(&[command, "--settings=s.yaml"], "ndots: 3\n") {
            Ok(Command::Serve(serve)) => serve.common.defaults,
            Ok(Command::Check(check)) => check.common.defaults,
            other => panic!("unexpected {other:?}"),
        };
        assert_eq!(defaults.len(), 1, "{command}");
    }
}

#[test]
fn every_example_of_the_help_is_accepted() {
    let lines = [notes::SERVE, notes::INJECT, notes::CHECK].into_iter().flat_map(str::lines);
    let examples: Vec<_> = lines.filter_map(|line| line.split_once("podlocal-webhook ")).collect();
    assert_eq!(examples.len(), 8);
    for (_, arguments) in examples {
        let arguments = arguments.split(" | ").next().unwrap_or_default().split(' ').collect::<Vec<_>>();
        assert!(parsed(&arguments, "").is_ok(), "{arguments:?}");
    }
}
