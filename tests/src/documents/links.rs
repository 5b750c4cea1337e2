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
