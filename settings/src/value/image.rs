//! References to container images.

use super::Expected;

/// The maximum length of the name of a repository (`RepositoryNameTotalLengthMax` in
/// `distribution/reference`).
const LONGEST_NAME: usize = 255;

/// A reference to an image, `registry.example:5000/team/sidecar:1.0@sha256:...`, in the grammar of
/// `distribution/reference`. With any other text the kubelet does not start the pod (`InvalidImageName`).
pub fn image(text: &str) -> Result<String, Expected> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash belongs to a port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let path = match name.split_once('/') {
        Some((domain, path)) if is_domain(domain) => path,
        _ => name,
    };
    let is_valid = name.len() <= LONGEST_NAME
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err("an image reference such as registry.example/sidecar:1.0".to_owned())
    }
}

/// Whether the first part is a registry, and not a part of the path.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_label = |label: &str| {
        let is_inner = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        consists_of(label, is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => consists_of(address, |letter| letter.is_ascii_hexdigit() || letter == ':'),
        None => host.split('.').all(is_label),
    };
    let is_registry = text == "localhost"
        || text.contains(|letter: char| matches!(letter, '.' | ':') || letter.is_ascii_uppercase());
    is_registry && is_host && port.is_none_or(|port| consists_of(port, |letter| letter.is_ascii_digit()))
}

/// Lower case letters and digits, with `.`, `_`, `__` or hyphens between them.
fn is_component(text: &str) -> bool {
    let is_inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    text.starts_with(is_inner) && text.ends_with(is_inner) && text.split(is_inner).all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let is_inner = |letter| is_word(letter) || matches!(letter, '.' | '-');
    text.len() <= 128 && text.starts_with(is_word) && consists_of(text, is_inner)
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let is_part = |part: &str| {
        part.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && consists_of(part, |letter| letter.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(is_part)
        && hex.len() >= 32
        && consists_of(hex, |letter| letter.is_ascii_hexdigit())
}

/// Whether a text has at least one letter, and only such letters.
fn consists_of(text: &str, is_of_them: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(is_of_them)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_valid_if_a_kubelet_accepts_them() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let valid = [
            "sidecar",
            "sidecar:1.0",
            "Registry.example/sidecar",
            "registry.example:5000/a/b__c/d-e.f:v1_2-rc.3",
            "localhost/sidecar",
            "[fd00::1]:5000/sidecar:1",
            &format!("ghcr.io/podlocal-dns/sidecar:0.1.0@{digest}"),
            &format!("sidecar@{digest}"),
        ];
        for text in valid {
            assert_eq!(image(text).as_deref(), Ok(text));
        }
        let refused = [
            "",
            "Sidecar",
            "a b",
            "a:",
            "a:b:c",
            "a/",
            "/a",
            "a//b",
            "a..b",
            "a___b",
            "registry.example/Team/sidecar",
            "registry.example:x/a",
            "https://registry.example/a",
            "a:.1",
            "a@sha256:0",
            "a@",
            "${IMAGE}",
            "ä",
            &format!("a:{}", "1".repeat(129)),
            &"a".repeat(256),
        ];
        for text in refused {
            assert!(image(text).is_err(), "{text}");
        }
    }
}
