//! Command lines as users type them.

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

/// The message about invalid arguments, which has these parts and this number of lines.
fn assert_refused(arguments: &[&str], file: &str, lines: usize, parts: &[&str]) {
    let message = parsed(arguments, file).expect_err("errors").to_string();
    for part in parts {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert_eq!(message.lines().count(), lines, "{message}");
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
fn repeatable_flags_add_up_and_commas_list() {
    let arguments = ["serve", "--cluster-dns", "10.0.0.1,10.0.0.2", "--cluster-dns=[fd00::a]:5353"];
    let dns: Vec<_> = served(&arguments, "").common.cluster().dns.iter().map(ToString::to_string).collect();
    assert_eq!(dns, ["10.0.0.1:53", "10.0.0.2:53", "[fd00::a]:5353"]);
    let tier = format!("--{}=10.96.0.53, 10.96.0.54:5353", podlocal_settings::table::SHARED_TIER.name);
    let tier = served(&[&tier], "").common.cluster().shared_tier;
    assert_eq!(crate::review::dns::addresses(&tier), "10.96.0.53,10.96.0.54:5353");
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
fn all_argument_errors_are_in_one_message() {
    let arguments = [
        "serve",
        "--listen",
        "here",
        "--lisen=1",
        "--tls-cert",
        "a.pem",
        "--namespace=x",
        "extra",
        "--settings",
        "s.yaml",
        "--cluster-domain",
        "a_b",
        "--dns-names=a,b c,-",
        "--log-level=loud",
    ];
    let parts = [
        "unexpected argument '--lisen' found\n    tip: a similar argument exists: '--listen'",
        "unexpected argument '--namespace' found",
        "unexpected argument 'extra' found",
        "arguments were not provided:\n    --tls-key <FILE>",
        "invalid value 'here' for '--listen <ADDR:PORT>': expected an address with its port",
        "invalid value 'a_b' for '--cluster-domain <NAME>': expected a domain name",
        "invalid value 'b c' for '--dns-names <NAME>': expected",
        "invalid value '-' for '--dns-names <NAME>': expected",
        "invalid value 'loud' for '--log-level <LEVEL>'\n    [possible values: error, warn, info,",
        "s.yaml: ndots: invalid value \"many\": expected a whole number",
        "s.yaml: cluster-domain: expected the name of a pod setting",
    ];
    assert_refused(&arguments, "ndots: many\ncluster-domain: a.b\n", 1 + parts.len() + 3, &parts);
}

#[test]
fn values_are_checked_in_spite_of_errors_that_end_the_arguments() {
    let invalid = "invalid value 'x' for '--listen <ADDR:PORT>'";
    for (arguments, part) in [
        (&["--listen=x", "--ca-out=a", "--ca-out=b"][..], "'--ca-out <FILE>' cannot be used multiple times"),
        (&["serve", "--listen=x", "--cluster-dns"], "a value is required for '--cluster-dns <ADDR>'"),
        (&["--listen=x", "--ca-out="], "a value is required for '--ca-out <FILE>'"),
        (&["--listen=x", "check"], "the subcommand 'check' cannot be used with '--listen"),
        (&["--listen=x", "--client-allowed-names=a.b"], "not provided:\n    --client-ca-file <FILE>"),
    ] {
        assert_refused(arguments, "", 3 + part.matches('\n').count(), &[invalid, part]);
    }
}

#[test]
fn unknown_command_is_reported_with_suggestions() {
    let parts = ["unrecognized subcommand 'chekc'", "tip: a similar subcommand exists: 'check'"];
    assert_refused(&["chekc", "--json"], "", 3, &parts);
}

#[test]
fn file_argument_without_flag_suggests_dash_f() {
    for (command, is_answered) in [("check", true), ("inject", true), ("serve", false)] {
        let message = parsed(&[command, "app.yaml"], "").expect_err("errors").to_string();
        assert!(message.contains("unexpected argument 'app.yaml'"), "{message}");
        assert_eq!(message.contains("did you mean '-f app.yaml'?"), is_answered, "{message}");
    }
}

#[test]
fn help_is_that_of_the_preceding_command() {
    for (arguments, part) in [
        (&["check", "--help"][..], "--as-if-enabled"),
        (&["check", "--names=x", "--what", "-h"], "podlocal-webhook check -f app.yaml"),
        (&["-h", "check"], "cert-controller"),
        (&["--help"], "bytes, 64Ki to 1Gi [4Mi"),
        (&["inject", "-h"], "[possible values: yaml, json]"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let Err(ParseError::Help(help)) = parsed(arguments, "") else { panic!("{arguments:?}") };
        assert!(help.to_string().contains(part), "{help}");
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

#[test]
fn check_takes_documents_or_a_cluster_and_switches_take_no_value() {
    let Ok(Command::Check(check)) = parsed(&["check", "--json", "--json", "-n", "web", "--names=1"], "")
    else {
        panic!("expected check");
    };
    assert_eq!(
        (check.json, check.strict, check.names, check.namespace.as_deref()),
        (true, false, 1, Some("web"))
    );
    let parts = [
        "the argument '--file <FILE>' cannot be used with '--context <NAME>'",
        "invalid value '0' for '--names <COUNT>': expected a whole number from 1 to 1000",
        "unexpected argument '-o' found",
    ];
    let arguments = ["check", "-f", "-", "--context", "x", "--names", "0", "-o"];
    assert_refused(&arguments, "", 1 + parts.len(), &parts);
    assert_refused(&["check", "--json=yes"], "", 2, &["unexpected value 'yes' for '--json'"]);
}

#[test]
fn inject_needs_a_file() {
    assert_refused(&["inject"], "", 3, &["not provided:\n    --file <FILE>"]);
    assert!(parsed(&["inject", "-f", "-", "--namespace", "a.b"], "").is_err());
    assert!(matches!(parsed(&["inject", "-f", "-", "-f", "a"], ""), Ok(Command::Inject(_))));
}
