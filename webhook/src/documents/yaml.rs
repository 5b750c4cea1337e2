//! Converts YAML documents to JSON values, and back. Pure.
//!
//! Reading follows `kubectl` (YAML 1.1: `yes` is true, `0755` is 493), because kubectl would read the same
//! file. Writing quotes every string that a YAML reader could take for another type.

use serde_json::Value;

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document {document}{}: {message}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct Error {
    /// The number of the document in its file, from 1.
    pub(crate) document: usize,
    /// The line in the file, from 1.
    pub(crate) line: Option<u64>,
    /// The error of the parser.
    pub(crate) message: String,
}

/// The documents of a text, in order, with the order of keys kept; empty documents are left out.
pub fn read(text: &str) -> Result<Vec<Value>, Error> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let mut bytes = text.as_bytes();
    let mut documents = Vec::new();
    for document in serde_saphyr::read_with_options::<_, Value>(&mut bytes, options) {
        match document {
            Ok(value) => documents.push(value),
            Err(error) => {
                return Err(Error {
                    document: documents.len() + 1,
                    line: error.location().map(|location| location.line()),
                    message: error.without_snippet().to_string(),
                });
            }
        }
    }
    Ok(documents)
}

/// A hint for a text that cannot be parsed because it looks like a template.
pub(crate) fn hint(text: &str) -> &'static str {
    if text.contains("{{") && text.contains("}}") {
        "; it looks like a template: render it first, for example `helm template . | podlocal-webhook check -f -`"
    } else {
        ""
    }
}

/// One document, with a final line break and without a separator.
pub fn write(document: &Value) -> Result<String, Error> {
    // Long lines are not folded, so that they can still be found with grep.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(document, options).map_err(|error| Error {
        document: 1,
        line: None,
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Strings that some YAML reader takes for a boolean, a number, a null, a date or syntax.
    const MISLEADING: &[&str] = &[
        "yes", "no", "on", "Off", "y", "N", "true", "null", "~", "", "0755", "08", "1e3", "1_000", "0x10",
        "0o7", "0b11", "1.0", ".5", ".inf", ".nan", "+1", "-1", "12:30:45", "=", "<<", "- a", "a: b", "a #b",
        "#", "'x", "\"q\"", "{a}", "[b]", "*x", "&x", "!x", "%x", "@x", "`x", "|", ">", "?", "-", "---",
        "...", " x", "x ", "a\nb\n", "a\nb", "a\n\n", "\n a\n", "  a\n x", "a \nb", "a\r\nb", "\u{85}x",
        "\u{2028}", "é",
    ];

    /// Longer ones.
    const LONGER: [&str; 4] = ["190:20:30", "2024-01-01", "2024-01-01T00:00:00Z", "tab\there"];

    #[test]
    fn every_string_reads_back_as_that_string_by_both_versions_of_yaml() {
        let texts = [MISLEADING, &LONGER].concat();
        let keys: serde_json::Map<_, _> = texts.iter().map(|text| ((*text).to_owned(), json!(1))).collect();
        let document = json!({"as values": texts, "as keys": keys});
        let written = write(&document).expect("writes");
        assert_eq!(read(&written).expect("reads"), [document], "{written}");
        for text in
            texts.iter().filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        {
            let plain = format!("- {text}\n");
            assert!(text.is_empty() || !written.contains(&plain), "{text} is written without quotes");
        }
    }

    #[test]
    fn numbers_and_booleans_are_read_as_kubectl_reads_them() {
        let text = "[0755, 0o755, 0x10, 1_000, yes, off, ~, 1.5, 18446744073709551615, 2024-01-01]";
        let expected =
            json!([493, 493, 16, 1000, true, false, null, 1.5, 18_446_744_073_709_551_615_u64, "2024-01-01"]);
        assert_eq!(read(text).expect("reads"), [expected]);
    }

    #[test]
    fn keys_keep_their_order_and_anchors_are_resolved() {
        let documents = read("z: &x {b: 1, a: 2}\na: *x\n---\n# nothing\n---\nc: 1\n").expect("reads");
        assert_eq!(documents.len(), 2);
        assert_eq!(write(&documents[0]).expect("writes"), "z:\n  b: 1\n  a: 2\na:\n  b: 1\n  a: 2\n");
    }

    #[test]
    fn a_bad_document_is_named_by_its_number_and_line() {
        let error = read("a: 1\n---\nb: [\n---\nc: 1\n").expect_err("the bracket stays open");
        assert_eq!((error.document, error.line), (2, Some(3)), "{error}");
        assert!(read("a: 1\na: 2\n").is_err(), "a key twice");
    }

    #[test]
    fn long_lines_are_not_folded() {
        let text = "word ".repeat(100) + "end";
        assert!(write(&json!({"a": text})).expect("writes").contains(&text));
    }
}
