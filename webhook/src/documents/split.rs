//! Splits a file into its documents, each with its text. Pure.

use serde_json::Value;

use super::yaml;

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// Its number, from 1; empty documents do not count.
    pub(crate) number: usize,
    /// Its value.
    pub(crate) value: Value,
    /// Its original text, if known.
    pub(crate) text: Option<Text>,
}

/// The text of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// The line in which it begins, from 1.
    pub(crate) line: usize,
    /// The whole text, with a final line break and without the separator.
    pub(crate) whole: String,
}

impl Document {
    /// Its number and its line, if known.
    pub(crate) fn place(&self) -> String {
        let line = self.text.as_ref().map(|text| format!(", line {}", text.line)).unwrap_or_default();
        format!("document {}{line}", self.number)
    }
}

impl Text {
    /// The comments before its first line.
    pub(crate) fn leading_comments(&self) -> &str {
        let comments = self.whole.split_inclusive('\n').take_while(|line| is_blank(line));
        &self.whole[..comments.map(str::len).sum()]
    }
}

/// The documents of a file.
pub(crate) fn read(text: &str) -> Result<Vec<Document>, yaml::Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let values = yaml::read(text)?;
    let mut texts: Vec<_> = split(text).into_iter().map(Some).collect();
    // A directive affects more than its own line; then only the values are known.
    if texts.len() != values.len() || text.lines().any(|line| line.starts_with('%')) {
        texts = vec![None; values.len()];
    }
    let documents = values.into_iter().zip(texts).enumerate();
    Ok(documents.map(|(index, (value, text))| Document { number: index + 1, value, text }).collect())
}

/// The texts between the separators, without empty ones. `---` and `...` at the beginning of a line are
/// always separators (YAML 1.2 section 9.1.2), even inside quotes and block scalars.
fn split(text: &str) -> Vec<Text> {
    let mut texts = vec![Text { line: 1, whole: String::new() }];
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let is_separator = ["---", "..."].iter().any(|mark| {
            line.strip_prefix(mark)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        });
        let mut rest = line;
        if is_separator {
            rest = line[3..].trim_start_matches([' ', '\t']);
            texts.push(Text { line: index + 1, whole: String::new() });
        }
        if let Some(text) = texts.last_mut()
            && !(is_separator && rest.trim().is_empty())
        {
            text.whole.push_str(rest);
        }
    }
    texts.retain(|text| !text.whole.lines().all(is_blank));
    for text in &mut texts {
        if !text.whole.ends_with('\n') {
            text.whole.push('\n');
        }
    }
    texts
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}
