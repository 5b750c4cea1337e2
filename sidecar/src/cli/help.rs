//! The text of `--help`. The generator of the man page and the completions (`release/examples/pages`) reads
//! its parts.

use podlocal_settings::page;
use podlocal_settings::table::{CACHE_SIZE, Setting};

use super::COMMANDS;

/// The purpose of the program.
pub const SENTENCE: &str = "a caching DNS proxy for one pod";

/// Examples, exit codes and further documentation: sections, each of which begins with a title and a colon.
pub const NOTES: &str = "\
Examples:
  # By hand, before a DNS server; then: dig @127.0.0.1 -p 5380 example.com
  podlocal-sidecar --listen 127.0.0.1:5380 --upstream 10.96.0.10
  # A shared tier: one cache for the sidecars of many pods
  podlocal-sidecar serve --role shared --upstream 10.96.0.10
  # Whether the sidecar of a pod is ready, and why not
  kubectl exec POD -c podlocal-dns -- /podlocal-sidecar health

Exit codes:
  0   done; serve, supervise: drained after SIGTERM; health: the proxy is ready; await: always
  1   serve, supervise: cannot start, and the log has the reason; health: the proxy is not ready
  2   serve, supervise: a second signal ended the drain
  64  invalid arguments or settings; all of them are listed

See also:
  podlocal-inspect(1), which shows how it resolves a name, and its counters
  podlocal-webhook(1), which injects it into pods
  docs/settings.md: all settings, with the reasons for their defaults
  https://github.com/podlocal-dns/podlocal-dns";

/// How settings are given.
pub fn description() -> String {
    format!(
        "Each setting is a flag, {}, and a variable, {}; a flag wins. Separate the elements of a list with \
         commas, or repeat the flag.\nIn a pod the webhook has set the variables, by which every command finds \
         the proxy, so kubectl exec needs no flags.\nDefaults are in brackets; one with \"shared\" holds with \
         --role shared.",
        CACHE_SIZE.flag(),
        CACHE_SIZE.variable()
    )
}

/// The whole help.
pub fn help() -> String {
    let commands = COMMANDS.map(|(_, name, sentence)| format!("  {name:<10} {sentence}\n")).concat();
    format!(
        "podlocal-sidecar {}: {SENTENCE}\n\nUsage: podlocal-sidecar [COMMAND] [FLAG]...\n\n\
         Commands:\n{commands}\n{}\n\nFlags:\n{}  -h, --help\n  -V, --version\n\n{NOTES}\n",
        env!("CARGO_PKG_VERSION"),
        description(),
        page::help("--", Setting::is_for_sidecar),
    )
}

#[cfg(test)]
mod tests {
    use podlocal_settings::names::CONTAINER_NAME;
    use podlocal_settings::table::TABLE;

    use super::*;

    #[test]
    fn every_command_and_setting_is_listed_once() {
        let help = help();
        let flags = TABLE.iter().filter(|setting| setting.is_for_sidecar()).map(|setting| setting.flag());
        for term in flags.chain(COMMANDS.map(|(_, name, _)| name.to_owned())) {
            assert_eq!(help.matches(&format!("\n  {term} ")).count(), 1, "{term}");
        }
    }

    #[test]
    fn every_example_is_accepted() {
        let examples: Vec<_> =
            NOTES.lines().filter_map(|line| line.split_once("podlocal-sidecar ")).collect();
        assert_eq!(examples.len(), 3);
        for (before, arguments) in examples {
            assert!(before.trim().is_empty() || before.contains(CONTAINER_NAME), "{before}");
            let arguments = std::iter::once("podlocal-sidecar").chain(arguments.split(' ')).map(Into::into);
            assert!(super::super::parse(arguments, []).is_ok());
        }
    }
}
