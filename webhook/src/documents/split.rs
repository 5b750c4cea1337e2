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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<Option<String>> {
        let documents = read(file).expect("reads");
        documents.into_iter().map(|document| document.text.map(|text| text.whole)).collect()
    }

    #[test]
    fn every_document_has_its_own_text_with_its_comments() {
        let file =
            "# first\na: 1 # one\n---\n# nothing\n\n--- # second\n'b': \"x\"\n...\n---\nc: |\n  text\n";
        let expected = ["# first\na: 1 # one\n", "# second\n'b': \"x\"\n", "c: |\n  text\n"];
        assert_eq!(texts(file), expected.map(|text| Some(text.to_owned())));
    }

    #[test]
    fn crlf_bom_and_missing_final_newline_are_accepted() {
        let expected = ["a: 1\r\n", "b: 2\n"].map(|text| Some(text.to_owned()));
        assert_eq!(texts("\u{feff}a: 1\r\n---\r\nb: 2"), expected);
        assert_eq!(texts(""), []);
    }

    #[test]
    fn with_directives_only_the_values_are_known() {
        assert_eq!(texts("%YAML 1.1\n---\na: 1\n"), [None]);
    }

    #[test]
    fn leading_comments_end_at_the_first_content_line() {
        let text = Text { line: 1, whole: "# one\n\n# two\na: 1\n# three\n".to_owned() };
        assert_eq!(text.leading_comments(), "# one\n\n# two\n");
    }
}
