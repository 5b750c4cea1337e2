//! The table of settings as lines of a help text, and as the table of `docs/settings.md`, which the test writes.

use crate::table::{Setting, TABLE};

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
    let default = match (setting.default, setting.shared) {
        ("", _) => String::new(),
        (default, None) => format!(" [{default}]"),
        (default, Some(shared)) => format!(" [{default}; shared: {shared}]"),
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
    use crate::table::{CACHE_SIZE, Place};

    /// The head and the rows of the table, in Markdown.
    fn markdown() -> String {
        let mut table = String::from(
            "| setting | where | default | values | meaning | reason |\n|---|---|---|---|---|---|\n",
        );
        for setting in TABLE {
            let Setting { name, sentence, source, .. } = setting;
            let place = match setting.place {
                Place::Sidecar => "sidecar",
                Place::Pod => "annotation",
                Place::Both => "annotation, sidecar",
            };
            let default = Some(format!("`{}`", setting.default)).filter(|_| !setting.default.is_empty());
            let shared = setting.shared.map(|shared| format!("shared: `{shared}`"));
            let defaults = default.into_iter().chain(shared).collect::<Vec<_>>().join("; ");
            let values = bounds(setting);
            table.push_str(&format!(
                "| `{name}` | {place} | {defaults} | {values} | {sentence} | {source} |\n"
            ));
        }
        table
    }

    #[test]
    fn the_page_in_the_docs_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
        let page = std::fs::read_to_string(path).expect("the page");
        let (prose, _) = page.split_once("| setting |").expect("the table");
        let expected = prose.to_owned() + &markdown();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, expected).expect("writes");
        } else {
            assert!(page == expected, "docs/settings.md is out of date: run `just settings-page`");
        }
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
