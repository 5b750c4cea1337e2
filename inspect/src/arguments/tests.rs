use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn try_parsed(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once(NAME).chain(line.split(' ')))
}

fn parsed(line: &str) -> Arguments {
    try_parsed(line).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn clap_accepts_the_definition() {
    Arguments::command().debug_assert();
}

#[test]
fn flags_of_every_command_may_be_before_and_after_it() {
    let invocation = parsed("--json lookup --admin-port=9399 db srv --trace").check(Some("2"));
    let Ok(Invocation { admin_port: 9399, request: Request::Lookup(options) }) = invocation else {
        panic!("{invocation:?}")
    };
    assert_eq!((options.name.as_str(), options.rtypes.as_slice()), ("db", &[33][..]));
    assert!(options.json && options.trace && options.resolv_conf.is_none());
    let stats = StatsOptions { watch: true, names: false, json: false };
    let expected = Invocation { admin_port: 2, request: Request::Stats(stats) };
    assert_eq!(parsed("stats --watch --watch").check(Some("2")), Ok(expected));
}

#[test]
fn without_a_port_the_default_of_the_settings_holds() {
    let default = ADMIN_PORT.default.parse().expect("a port");
    assert_eq!(parsed("stats").check(None).map(|invocation| invocation.admin_port), Ok(default));
}

#[test]
fn all_invalid_values_are_reported_together() {
    let errors = parsed("lookup a..b AA --admin-port x").check(Some("70000")).expect_err("invalid");
    let origins = [ADMIN_PORT.flag(), ADMIN_PORT.variable(), "NAME".to_owned(), "TYPE".to_owned()];
    assert_eq!(errors.len(), origins.len(), "{errors:?}");
    for (error, origin) in errors.iter().zip(origins) {
        assert!(error.to_string().starts_with(&format!("{origin}: invalid value ")), "{error}");
    }
}

#[test]
fn unknown_words_and_misplaced_flags_are_refused() {
    for (line, kind, part) in [
        ("lokup db", ErrorKind::InvalidSubcommand, "lookup"),
        ("lookup", ErrorKind::MissingRequiredArgument, "NAME"),
        ("lookup a b c", ErrorKind::UnknownArgument, "'c'"),
        ("lookup db --trce", ErrorKind::UnknownArgument, "--trace"),
        ("lookup db --watch", ErrorKind::UnknownArgument, "--watch"),
        ("stats --trace", ErrorKind::UnknownArgument, "--trace"),
        ("lookup db --resolv-conf", ErrorKind::InvalidValue, "--resolv-conf"),
    ] {
        let error = try_parsed(line).expect_err("invalid");
        assert_eq!(error.kind(), kind, "{line}");
        assert!(error.use_stderr() && error.to_string().contains(part), "{line}: {error}");
    }
}

#[test]
fn every_example_of_the_help_is_accepted() {
    let lines = [LOOKUP_NOTES, STATS_NOTES].into_iter().flat_map(str::lines);
    let examples: Vec<_> = lines.filter_map(|line| line.split_once("podlocal-inspect ")).collect();
    assert_eq!(examples.len(), 5);
    for (before, arguments) in examples {
        assert!(before.trim().is_empty() || before.contains("-c podlocal-dns -- /"), "{before}");
        assert!(parsed(arguments).check(None).is_ok(), "{arguments}");
    }
}

#[test]
fn invalid_names_are_explained() {
    for (name, part) in [
        ("", "such as api.example.com"),
        ("a..b", "1 to 63 characters"),
        ("10.0.0.1", "lookup 1.0.0.10.in-addr.arpa. PTR"),
        ("fd00::1", "0.0.0.0.0.0.0.d.f.ip6.arpa. PTR"),
        ("b\u{fc}cher.example", "xn--"),
        ("a b", "without spaces"),
    ] {
        let expected = expected_name(name).unwrap_or_default();
        assert!(expected.contains(part), "{name}: {expected}");
    }
    for name in ["db", "db.", "_grpc._tcp.db", "0/25.2.0.192.in-addr.arpa", "10.0.0"] {
        assert_eq!(expected_name(name), None, "{name}");
    }
}
