//! The table of settings as a page of the documentation, and as lines of a help text.

use crate::table::{Place, Setting, TABLE};
use crate::value::Role;

/// The settings as a Markdown page; `docs/settings.md` is this text, and a test compares.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Settings\n\n`just settings-page` prints this page from the table in `settings/src/table/rows.rs`.\n\n\
         The setting `cache-size` is the annotation `podlocal-dns.io/cache-size` of a pod, or of its namespace as the \
         default of all pods there. It is also the sidecar's flag `--cache-size` and its variable \
         `PODLOCAL_CACHE_SIZE`; a flag wins over a variable.\n\n\
         For an injected pod, the first of these that has the setting wins: the annotation of the pod, that of its \
         namespace, the settings file of the webhook, the default here. The file is for the whole cluster: see \
         [defaults for all pods](install.md#defaults-for-all-pods).\n\n\
         In the column \"where\", `annotation` means an annotation or a line of that file, and `sidecar` means a flag or a \
         variable of the proxy. Settings with `sidecar` alone are for operators who run the proxy by hand or as a shared \
         tier. The owner of a pod cannot set them, and an operator can with an image of their own; see \
         [what no annotation sets](install.md#what-no-annotation-sets).\n\n\
         Commas separate the elements of a list. A list without a default may be empty, \
         `podlocal-dns.io/wait-for-names: \"\"`: so a pod can remove a list that is set for all pods. An empty value of any \
         other setting is an error.\n\n\
         Where a default says \"shared\", that default holds with `--role shared`, for a shared tier.\n\n\
         | setting | where | default | values | meaning | reason |\n|---|---|---|---|---|---|\n",
    );
    for setting in TABLE {
        let place = match setting.place {
            Place::Sidecar => "sidecar",
            Place::Pod => "annotation",
            Place::Both => "annotation, sidecar",
        };
        let shown = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let [default, shared] = [setting.default, setting.default_in(Role::Shared)].map(shown);
        let default = match (default.as_str(), shared.as_str()) {
            (default, shared) if shared == default => default.to_owned(),
            ("", shared) => format!("shared: {shared}"),
            (default, shared) => format!("{default}; shared: {shared}"),
        };
        page.push_str(&format!(
            "| `{}` | {place} | {default} | {} | {} | {} |\n",
            setting.name,
            bounds(setting),
            setting.sentence,
            setting.source
        ));
    }
    page
}

/// The settings for which `is_listed` is true, as lines of a help text; `prefix` is in front of each name.
pub fn help(prefix: &str, is_listed: impl Fn(&Setting) -> bool) -> String {
    let listed = TABLE.iter().filter(|setting| is_listed(setting));
    let lines = listed.map(|setting| {
        format!("  {prefix}{}  {}\n      {}\n", setting.name, values(setting), setting.sentence)
    });
    lines.collect()
}

/// The values of a setting, and its defaults in brackets: `bytes, 64Ki to 1Gi [4Mi; shared: 64Mi]`.
pub fn values(setting: &Setting) -> String {
    let default = match (setting.default, setting.default_in(Role::Shared)) {
        ("", _) => String::new(),
        (default, shared) if shared == default => format!(" [{default}]"),
        (default, shared) => format!(" [{default}; shared: {shared}]"),
    };
    bounds(setting) + &default
}

/// What a value of a setting looks like, with its bounds.
fn bounds(setting: &Setting) -> String {
    let words = setting.form.words();
    match setting.bounds {
        Some((smallest, largest)) => format!("{words}, {smallest} to {largest}"),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::CACHE_SIZE;

    #[test]
    fn the_page_in_the_docs_is_this_table() {
        let committed = include_str!("../../docs/settings.md");
        assert!(committed == markdown(), "docs/settings.md is out of date: run `just settings-page`");
    }

    #[test]
    fn help_has_the_values_defaults_and_sentence_of_each_listed_setting() {
        let help = help("--", |setting| setting == &CACHE_SIZE);
        assert_eq!(
            help,
            format!(
                "  --cache-size  bytes, 64Ki to 1Gi [4Mi; shared: 64Mi]\n      {}\n",
                CACHE_SIZE.sentence
            )
        );
    }
}
