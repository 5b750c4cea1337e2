//! Validates names by the rules of Kubernetes, because any client may have written the review. Pure.
//!
//! The API server sends only valid names, so invalid ones are left out of logs and Events instead of escaped.

/// The name of a namespace, or the uid of an object: an RFC 1123 label.
pub(crate) fn label(text: &str) -> Option<&str> {
    let is_label =
        text.len() <= 63 && is_edged(text) && text.bytes().all(|byte| is_lower(byte) || byte == b'-');
    is_label.then_some(text)
}

/// The name of an object: an RFC 1123 subdomain.
pub(crate) fn subdomain(text: &str) -> Option<&str> {
    (text.len() <= 253 && text.split('.').all(|part| label(part).is_some())).then_some(text)
}

/// A `generateName` prefix, which may end with `-` or `.`, or a whole name.
pub fn prefix(text: &str) -> Option<&str> {
    subdomain(text.trim_end_matches(['-', '.'])).filter(|name| text.len() - name.len() <= 1).map(|_| text)
}

/// An API version: a version, or a group and a version.
pub(crate) fn api_version(text: &str) -> Option<&str> {
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    ((group.is_empty() && !text.contains('/') || subdomain(group).is_some()) && label(version).is_some())
        .then_some(text)
}

/// The kind of an object: `CamelCase`.
pub(crate) fn kind(text: &str) -> Option<&str> {
    let is_kind = (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_kind.then_some(text)
}

fn is_edged(text: &str) -> bool {
    let is_end = |byte: Option<u8>| byte.is_some_and(is_lower);
    is_end(text.bytes().next()) && is_end(text.bytes().next_back())
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no name of any sort may be: of other characters, or too long.
    fn never() -> Vec<String> {
        let texts =
            ["", "a\nb", "a b", "\u{1b}[31m", "ä", "a\"b", "a/b/c", "<b>", "a\u{202e}b", "-", ".", "/"];
        texts.iter().map(|text| (*text).to_owned()).chain(["a".repeat(300)]).collect()
    }

    #[test]
    fn kubernetes_names_are_accepted_and_other_texts_rejected() {
        type Check = fn(&str) -> Option<&str>;
        let longest = "a".repeat(63);
        let rows: [(Check, &[&str], &[&str]); 5] = [
            (
                label,
                &["web", "a-1", "1", "705ab4f5-6393-11e8-b7cc-42010a800002", &longest],
                &["a.b", "u_1", "Web", "-a", "a-", &format!("{longest}a")],
            ),
            (subdomain, &["web", "a.b-c.d", "1.2"], &["a..b", "a.-b", "A.b", "a.", ".a"]),
            (prefix, &["web", "web-", "a.b.", "a.b"], &["-web", "web--", "web-.", "Web-"]),
            (api_version, &["v1", "batch/v1", "kubeflow.org/v2beta1"], &["/v1", "batch/", "a b/v1", "B/v1"]),
            (kind, &["Job", "ReplicaSet", "X9"], &["a-b", "Job!"]),
        ];
        for (number, (check, good, bad)) in rows.into_iter().enumerate() {
            for text in good {
                assert_eq!(check(text), Some(*text), "row {number}");
            }
            for text in bad.iter().map(|text| (*text).to_owned()).chain(never()) {
                assert_eq!(check(&text), None, "row {number}: {text:?}");
            }
        }
    }
}
