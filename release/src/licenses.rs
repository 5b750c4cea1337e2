//! The contents of a program, as a text: every crate with its licence, and every licence in full.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::contents::{Contents, Crate, Id};

/// The prefixes of the names of files that contain a licence or a notice, in lower case.
const FILES: &[&str] = &["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// The licence whose text is ours, too, and is the same for every project: a crate that ships no text of its
/// own may have it.
const OURS: &str = "Apache-2.0";

const LGPL: &str = include_str!("lgpl-2.1.txt");

/// The text; an error names the crates without a licence text.
pub(crate) fn text(contents: &Contents) -> Result<String, String> {
    let ours = fs::read_to_string(contents.workspace.join("LICENSE")).unwrap_or_default();
    let mut texts = Texts::default();
    let mut missing = Vec::new();
    texts.add(&ours, &title(&contents.root));
    texts.add(&ours, &format!("the Rust standard library {}", contents.rust));
    for (id, of) in contents.third_party() {
        let found = in_sources(of);
        for text in &found {
            texts.add(text, &title(id));
        }
        match &of.license {
            _ if !found.is_empty() => {}
            Some(license) if license == OURS && !ours.is_empty() => texts.add(&ours, &title(id)),
            license => {
                missing.push(format!("{} ({})", title(id), license.as_deref().unwrap_or("none named")));
            }
        }
    }
    texts.add(LGPL, &format!("the GNU C library {}", contents.glibc));
    if missing.is_empty() {
        return Ok(page(contents, &texts));
    }
    Err(format!(
        "no text of the licence of {}: expected a file LICENSE in the crate, or the licence {OURS}; ask its authors \
         for one",
        missing.join(", ")
    ))
}

fn page(contents: &Contents, texts: &Texts) -> String {
    let Contents { rust, glibc, .. } = contents;
    let mut page = format!(
        "{} is licensed under {OURS}. It contains what is listed here, each under its own licence;\n\
         below, every licence in full. The GNU C library is linked statically: docs/releases.md in the sources\n\
         tells how to build the program again, also with a changed one.\n\n\
         the Rust standard library {rust}: MIT OR {OURS}, <https://github.com/rust-lang/rust>\n\
         the GNU C library {glibc}: LGPL-2.1-or-later, <https://sourceware.org/glibc>\n",
        title(&contents.root)
    );
    for (id, of) in contents.third_party() {
        let license = of.license.as_deref().unwrap_or("its own licence");
        let place = of.repository.as_ref().map(|place| format!(", <{place}>")).unwrap_or_default();
        page.push_str(&format!("{}: {license}{place}\n", title(id)));
    }
    for Text { text, of } in &texts.0 {
        page.push_str(&format!("\n{}\n{}\n\n{text}\n", "=".repeat(78), of.join("\n")));
    }
    page
}

fn title((name, version): &Id) -> String {
    format!("{name} {version}")
}

/// Texts, each once, in the order in which they were added.
#[derive(Default)]
struct Texts(Vec<Text>);

struct Text {
    text: String,
    of: Vec<String>,
}

impl Texts {
    /// Texts that differ only in whitespace are the same.
    fn add(&mut self, text: &str, of: &str) {
        let same = |other: &&mut Text| other.text.split_whitespace().eq(text.split_whitespace());
        match self.0.iter_mut().find(same) {
            Some(known) if known.of.iter().any(|other| other == of) => {}
            Some(known) => known.of.push(of.to_owned()),
            None => self.0.push(Text { text: tidy(text), of: vec![of.to_owned()] }),
        }
    }
}

/// Removes trailing whitespace and surrounding empty lines.
fn tidy(text: &str) -> String {
    let lines: Vec<_> = text.trim_matches(['\n', '\r']).lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

/// The licence texts in the sources of a crate, including those of vendored code, in the order of their
/// paths.
fn in_sources(of: &Crate) -> Vec<String> {
    let mut found = BTreeMap::new();
    let named = of.license_file.as_ref().map(|file| of.folder().join(file));
    let mut folders = vec![of.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if is_license(&path) || named.as_deref() == Some(&path) {
                found.insert(path.clone(), read(&path));
            }
        }
    }
    found.into_values().filter(|text| !text.trim().is_empty()).collect()
}

/// Whether a file has the name of a licence; source files with such names do not count.
fn is_license(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    let is_text = !Path::new(&name)
        .extension()
        .is_some_and(|ending| ["rs", "html", "json", "toml"].iter().any(|other| ending == *other));
    is_text && FILES.iter().any(|beginning| name.starts_with(beginning))
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn license_texts_that_differ_in_whitespace_are_merged() {
        let mut texts = Texts::default();
        for (text, of) in [("Do as\r\n you like.\n", "a 1"), ("  Do as you like.", "b 2"), ("Do not.", "b 2")]
        {
            texts.add(text, of);
        }
        let shown: Vec<_> = texts.0.iter().map(|text| (text.text.as_str(), text.of.join(", "))).collect();
        assert_eq!(shown, [("Do as\n you like.", "a 1, b 2".to_owned()), ("Do not.", "b 2".to_owned())]);
    }

    #[test]
    fn a_license_is_known_by_its_name() {
        for (name, is) in [
            ("LICENSE", true),
            ("LICENSE-MIT", true),
            ("license.md", true),
            ("COPYING", true),
            ("NOTICES.md", true),
            ("license.rs", false),
            ("README.md", false),
        ] {
            assert_eq!(is_license(Path::new(name)), is, "{name}");
        }
    }
}
