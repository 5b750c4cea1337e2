//! Command lines as users type them.

use super::*;

fn parsed(arguments: &[&str], file: &str) -> Result<Command, ArgumentErrors> {
    parse(arguments.iter().map(OsString::from), |_| Ok(file.to_owned()))
}

fn served(arguments: &[&str], file: &str) -> Serve {
    match parsed(arguments, file) {
        Ok(Command::Serve(serve)) => *serve,
        other => panic!("expected serve, got {other:?}"),
    }
}

#[test]
fn serve_is_the_default_command_and_needs_no_flag() {
    let serve = served(&[], "");
    assert_eq!(serve.dns_names, ["podlocal-dns-webhook.podlocal-dns.svc"]);
    assert_eq!(serve.common.image, format!("ghcr.io/podlocal-dns/sidecar:{}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn repeatable_flags_add_up_and_commas_list() {
    let arguments = ["serve", "--cluster-dns", "10.0.0.1,10.0.0.2", "--cluster-dns=[fd00::a]:5353"];
    let dns: Vec<_> = served(&arguments, "").common.cluster.dns.iter().map(ToString::to_string).collect();
    assert_eq!(dns, ["10.0.0.1:53", "10.0.0.2:53", "[fd00::a]:5353"]);
    let tier = format!("--{}=10.96.0.53,10.96.0.54:5353", table::SHARED_TIER.name);
    let tier = served(&[&tier], "").common.cluster.shared_tier;
    assert_eq!(crate::review::dns::addresses(&tier), "10.96.0.53,10.96.0.54:5353");
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
        "--namespace",
        "x",
        "extra",
        "--settings",
        "s.yaml",
        "--cluster-domain",
        "a_b",
        "--ca-out",
        "a",
        "--ca-out",
        "b",
        "--cluster-dns",
    ];
    let message = parsed(&arguments, "ndots: many\ncluster-domain: a.b\n").expect_err("errors").to_string();
    for part in [
        "--listen: invalid value \"here\": expected an address",
        "unknown flag --lisen; did you mean --listen?",
        "--tls-cert and --tls-key",
        "--namespace is not a flag of this command, but of inject or check",
        "unexpected argument \"extra\"",
        "s.yaml: ndots: invalid value \"many\": expected a whole number",
        "s.yaml: cluster-domain: expected the name of a pod setting",
        "--cluster-domain: invalid value \"a_b\": expected a domain name",
        "--ca-out \"b\": may be given only once",
        "--cluster-dns: missing argument",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert_eq!(message.lines().count(), 11, "{message}");
}

#[test]
fn unknown_command_is_reported_with_suggestions() {
    let message = parsed(&["chekc", "--json"], "").expect_err("errors").to_string();
    let expected = "the command: invalid value \"chekc\": expected serve, cert-controller, inject or check; did you mean check?";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn file_argument_without_flag_suggests_dash_f() {
    for (command, is_answered) in [("check", true), ("inject", true), ("serve", false)] {
        let message = parsed(&[command, "app.yaml"], "").expect_err("errors").to_string();
        assert!(message.contains("unexpected argument \"app.yaml\""), "{message}");
        assert_eq!(message.contains("did you mean -f app.yaml?"), is_answered, "{message}");
    }
}

#[test]
fn help_applies_to_the_preceding_command() {
    for (arguments, word, length) in [
        (["check", "--help"], Some(word::CHECK), Length::Whole),
        (["inject", "-h"], Some(word::INJECT), Length::Brief),
        (["-h", "check"], None, Length::Brief),
    ] {
        let Ok(Command::Help(command, asked)) = parsed(&arguments, "") else { panic!("help") };
        assert_eq!((command.map(|command| command.name), asked), (word, length));
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
    let message =
        parsed(&["check", "-f", "-", "--context", "x", "--json=yes", "--names", "0", "-o", "json"], "");
    let message = message.expect_err("errors").to_string();
    for part in [
        "--context needs a cluster and cannot be combined with --file",
        "--json: invalid value \"yes\": expected no value",
        "--names: invalid value \"0\": expected a whole number from 1 to 1000",
        "--output is not a flag of this command, but of inject",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
}

#[test]
fn inject_needs_a_file() {
    assert!(parsed(&["inject"], "").is_err());
    assert!(parsed(&["inject", "-f", "-", "--namespace", "a.b"], "").is_err());
    assert!(matches!(parsed(&["inject", "-f", "-", "-f", "a"], ""), Ok(Command::Inject(_))));
}
