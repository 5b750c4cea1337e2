use clap::CommandFactory as _;

use super::*;

fn parsed(line: &str) -> Arguments {
    let words = std::iter::once(NAME).chain(line.split(' '));
    Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn clap_accepts_the_definition() {
    Arguments::command().debug_assert();
}

#[test]
fn flags_of_every_command_may_be_before_and_after_it() {
    let mut arguments = parsed("--json lookup --admin-port=9399 db srv --trace");
    assert_eq!(arguments.check(Some("2")), Ok(9399));
    let Command::Lookup(lookup) = &arguments.command else { panic!("{arguments:?}") };
    assert_eq!((lookup.name.as_str(), lookup.rtypes.as_slice()), ("db", &[33][..]));
    assert!(arguments.json && lookup.trace && lookup.resolv_conf.is_none());
    let mut arguments = parsed("stats --watch --watch");
    assert_eq!((arguments.check(Some("2")), arguments.json), (Ok(2), false));
    assert!(matches!(arguments.command, Command::Stats(StatsArguments { watch: true, names: false })));
}

#[test]
fn without_a_port_the_default_of_the_settings_holds() {
    let default = ADMIN_PORT.default.parse().expect("a port");
    assert_eq!(parsed("stats").check(None), Ok(default));
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
