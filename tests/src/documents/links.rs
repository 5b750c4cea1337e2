//! Checks the targets of links.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Document, root};

/// Adds the anchor that GitHub generates for a heading: lower case, hyphens instead of blanks, no
/// punctuation; a duplicate gets a number.
pub(super) fn add_anchor(anchors: &mut BTreeSet<String>, heading: &str) {
    let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    let anchor: String =
        kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect();
    let numbered = (1..).map(|number| format!("{anchor}-{number}"));
    let free = std::iter::once(anchor.clone()).chain(numbered).find(|name| !anchors.contains(name));
    anchors.extend(free);
}

impl Document {
    /// One line for each relative link that leads neither to one of `all` documents nor to a file of the
    /// repository.
    pub fn dead_links(&self, all: &[Self]) -> Vec<String> {
        let folder = Path::new(&self.path).parent().unwrap_or(Path::new(""));
        let mut dead = Vec::new();
        for (line, link) in self.links.iter().filter(|(_, link)| !is_elsewhere(link)) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { self.path.clone() } else { normal(&folder.join(file)) };
            let target = all.iter().find(|document| document.path == path);
            if target.is_none() && !root().join(&path).exists() {
                dead.push(format!("{}:{line}: there is no {path}", self.path));
            } else if !anchor.is_empty() && !target.is_some_and(|target| target.anchors.contains(anchor)) {
                dead.push(format!("{}:{line}: there is no heading #{anchor} in {path}", self.path));
            }
        }
        dead
    }
}

/// Links to other hosts are not checked, because tests need no Internet.
fn is_elsewhere(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

/// Removes `.` and `..` from a path.
pub(super) fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()) {
        match part.as_str() {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_spelled_as_github_spells_them() {
        let mut anchors = BTreeSet::new();
        for heading in ["What is lost", "5-second delays, and why", "QoS: `Guaranteed`?", "What is lost"] {
            add_anchor(&mut anchors, heading);
        }
        let expected = ["5-second-delays-and-why", "qos-guaranteed", "what-is-lost", "what-is-lost-1"];
        assert_eq!(anchors.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_link_to_nothing_is_named_with_its_line_and_others_are_not() {
        let text = "# Here\n[a](../README.md) [b](#here) [c](https://example.com/x) [d](../docs)\n\n[e](gone.md) [f](#gone)\n";
        let document = Document::of("docs/x.md", text);
        let dead = document.dead_links(std::slice::from_ref(&document));
        assert_eq!(
            dead,
            ["docs/x.md:4: there is no docs/gone.md", "docs/x.md:4: there is no heading #gone in docs/x.md"]
        );
    }
}
