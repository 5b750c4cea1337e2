//! The description of the program, from which `--help`, the man page and the completions are made.

use podlocal_settings::program::{Kind, Program, Row, Section};
use podlocal_settings::table::{
    ADMIN_PORT, CACHE_SIZE, CLUSTER_DOMAIN, LISTEN, LOG_LEVEL, QUERY_LOG, SHARED_TIER, Setting, TABLE,
    UPSTREAM,
};

use super::commands::COMMANDS;

/// The settings in the short help.
const USED_MOST: &[&Setting] =
    &[&LISTEN, &UPSTREAM, &SHARED_TIER, &CLUSTER_DOMAIN, &CACHE_SIZE, &ADMIN_PORT, &LOG_LEVEL, &QUERY_LOG];

/// The sidecar, for its help, its man page and its completions.
pub fn about() -> Program {
    let others = TABLE.iter().filter(|setting| setting.is_for_sidecar() && !USED_MOST.contains(setting));
    let section = |title: &str, is_brief, rows: Vec<Row>| Section {
        title: title.to_owned(),
        kind: Kind::Settings,
        is_brief,
        rows,
    };
    let sections = vec![
        section("Settings used most", true, USED_MOST.iter().copied().map(Row::of_setting).collect()),
        section("Other settings", false, others.copied().map(Row::of_setting).collect()),
    ];
    Program {
        name: "podlocal-sidecar",
        version: env!("CARGO_PKG_VERSION"),
        sentence: "a caching DNS proxy for one pod",
        description: vec![
            format!(
                "Each setting is a flag, {}, and a variable, {}; a flag wins. Separate the elements of a list with \
                 commas, or repeat the flag. In a pod the webhook has set the variables, by which every command \
                 finds the proxy, so `kubectl exec` needs no flags. Every setting has a default.",
                CACHE_SIZE.flag(),
                CACHE_SIZE.variable()
            ),
            "A default with \"shared\" holds with --role shared.".to_owned(),
        ],
        commands: COMMANDS,
        sections,
        exit_codes: &[(0, "done"), (64, "invalid arguments or settings; all of them are listed")],
        see_also: &[
            "podlocal-inspect(1), which shows how it resolves a name, and its counters",
            "podlocal-webhook(1), which injects it into pods",
            "docs/settings.md: all settings, with the reasons for their defaults",
            "https://github.com/podlocal-dns/podlocal-dns",
        ],
    }
}

#[cfg(test)]
mod tests {
    use podlocal_settings::names;
    use podlocal_settings::program::Length;

    use super::*;

    #[test]
    fn every_setting_is_listed_once() {
        let program = about();
        let mut flags: Vec<_> = program.flags().map(|row| row.name).collect();
        let settings = TABLE.iter().filter(|setting| setting.is_for_sidecar()).map(|setting| setting.name);
        let mut expected: Vec<_> = settings.collect();
        flags.sort_unstable();
        expected.sort_unstable();
        assert_eq!(flags, expected);
    }

    #[test]
    fn every_example_is_accepted() {
        for example in about().examples() {
            let (before, arguments) = example.line.split_once("podlocal-sidecar ").expect("the program");
            assert!(before.is_empty() || before.contains(names::CONTAINER_NAME), "{}", example.line);
            let arguments = std::iter::once("podlocal-sidecar").chain(arguments.split(' ')).map(Into::into);
            assert!(super::super::parse(arguments, []).is_ok(), "{}", example.line);
        }
    }

    #[test]
    fn the_short_help_has_fewer_than_80_lines() {
        let lines = about().help(Length::Brief).lines().count();
        assert!(lines < 80, "{lines} lines");
    }
}
