//! The table for people: the page in the docs.

use crate::table::{Place, Setting, TABLE};
use crate::value::Role;

/// The settings as a Markdown page; `docs/settings.md` is this text, and a test compares.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Settings\n\nPrinted from the table in `settings/src/table.rs` by `just settings-page`.\n\n\
         A setting named `cache-size` is the annotation `podlocal-dns.io/cache-size` of a pod, or of its \
         namespace as the default of all pods there, the sidecar's flag `--cache-size` and its variable `PODLOCAL_CACHE_SIZE`; a flag wins over a variable.\n\n\
         For an injected pod the annotation of the pod wins over that of its namespace, that over the cluster-wide \
         settings file of the webhook, and that over the default here, setting by setting: \
         [defaults for all pods](install.md#defaults-for-all-pods).\n\n\
         \"Where\" says `annotation` of what may be an annotation or a line of that file, and `sidecar` of what the proxy \
         takes as flag or variable. With `sidecar` alone it is for who runs the proxy by hand or as a shared tier: the \
         owner of a pod cannot set it, and an operator can by an image of their own: \
         [what no annotation sets](install.md#what-no-annotation-sets).\n\n\
         Lists have commas between their elements. A list without a default may be given empty, \
         `podlocal-dns.io/patient-names: \"\"`: then nothing holds that was given elsewhere, so one pod can take back \
         what is set for all. An empty value of any other setting is a mistake.\n\n\
         Where a default says \"shared\", it is another one with `--role shared`: for the tier between the pods' proxies and \
         the cluster's DNS.\n\n\
         | setting | where | default | bounds | what it does | why |\n|---|---|---|---|---|---|\n",
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

/// What a value of a setting looks like, with its bounds.
pub(crate) fn bounds(setting: &Setting) -> String {
    if setting.smallest.is_empty() {
        setting.unit.to_owned()
    } else {
        format!("{}, {} to {}", setting.unit, setting.smallest, setting.largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_docs_is_this_table() {
        let committed = include_str!("../../docs/settings.md");
        assert!(committed == markdown(), "docs/settings.md is out of date: run `just settings-page`");
    }
}
