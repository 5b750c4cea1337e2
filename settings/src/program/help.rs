//! The text of `-h` and `--help`.

use super::{Kind, Program, Row, Section};

/// How much of the help is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// `-h`: what is used most.
    Brief,
    /// `--help`: everything.
    Whole,
}

/// Where the explanations begin, counted from the left edge.
const COLUMN: usize = 27;

/// Where lines end.
const WIDTH: usize = 100;

impl Program {
    /// The help: what it is, the commands, examples, what may be given, exit codes, where to read on.
    pub fn help(&self, length: Length) -> String {
        let mut text = format!("{} {}: {}\n\n", self.name, self.version, self.sentence);
        text.push_str(&format!("Usage: {} [COMMAND] [FLAG]...\n\nCommands:\n", self.name));
        for command in self.commands {
            let shown = format!("{} {}", command.name, command.arguments);
            text.push_str(&entry(shown.trim_end(), "", command.sentence));
        }
        text.push_str("\nExamples:\n");
        for example in self.examples {
            text.push_str(&format!("  # {}\n  {}\n", example.purpose, example.line));
        }
        for paragraph in &self.description {
            text.push_str(&format!("\n{}", wrapped(paragraph, 0)));
        }
        let shown = |section: &&Section| length == Length::Whole || section.is_brief;
        for section in self.sections.iter().filter(shown) {
            text.push_str(&format!("\n{}:\n", section.title));
            for row in &section.rows {
                let repeat = if row.may_repeat && row.remark.is_empty() { "; repeatable" } else { "" };
                let sentence = format!("{}{repeat}", row.sentence);
                text.push_str(&entry(&spelled(section.kind, row), &row.remark, &sentence));
            }
        }
        text.push_str("\nOthers:\n");
        text.push_str(&entry("-h, --help", "", "-h prints what is used most, --help everything"));
        text.push_str(&entry("-V, --version", "", "print the version"));
        text.push_str("\nExit codes:\n");
        for (code, meaning) in self.exit_codes {
            text.push_str(&format!("  {code:<3}{meaning}\n"));
        }
        text.push_str("\nMore:\n");
        for place in self.see_also {
            text.push_str(&format!("  {place}\n"));
        }
        text
    }
}

/// How a row is spelled where it is given; settings say in their remark what a value looks like.
fn spelled(kind: Kind, row: &Row) -> String {
    let hyphens = if kind == Kind::Flags { "--" } else { "" };
    let short = row.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    let value = if row.remark.is_empty() { row.value.as_str() } else { "" };
    format!("{short}{hyphens}{} {value}", row.name).trim_end().to_owned()
}

/// A term and its explanation beside it, or below where the term is long.
fn entry(term: &str, remark: &str, sentence: &str) -> String {
    let sentence = wrapped(sentence, COLUMN);
    if !remark.is_empty() {
        format!("  {term:<24} {remark}\n{sentence}")
    } else if term.len() <= COLUMN - 3 {
        format!("  {term:<24} {}", sentence.trim_start())
    } else {
        format!("  {term}\n{sentence}")
    }
}

/// The words of `text` in lines of at most [`WIDTH`] columns, each indented.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        if column == 0 || column + 1 + word.len() > WIDTH {
            lines.push_str(if column == 0 { "" } else { "\n" });
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += word.len();
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Command, Example};
    use crate::table::{CACHE_SIZE, Setting, TABLE};

    fn program(rows: Vec<Row>) -> Program {
        let section = |title: &str, is_brief, rows| Section {
            title: title.to_owned(),
            kind: Kind::Flags,
            is_brief,
            rows,
        };
        Program {
            name: "program",
            version: "1.2.3",
            sentence: "an example",
            description: vec!["To be known.".to_owned()],
            commands: &[Command { name: "run", arguments: "NAME", sentence: "runs" }],
            sections: vec![
                section("Most used", true, vec![Row::of_setting(&CACHE_SIZE)]),
                section("Others", false, rows),
            ],
            examples: &[Example { purpose: "Run it", line: "program run it" }],
            exit_codes: &[(64, "bad settings")],
            see_also: &["docs"],
        }
    }

    #[test]
    fn the_whole_help_has_every_row_and_the_short_one_what_is_used_most() {
        let rows = TABLE.iter().copied().filter(|setting| setting.is_for_sidecar()).map(Row::of_setting);
        let program = program(rows.collect());
        let [brief, whole] = [Length::Brief, Length::Whole].map(|length| program.help(length));
        for setting in TABLE.iter().filter(|setting| Setting::is_for_sidecar(setting)) {
            assert!(whole.contains(&format!("\n  {} ", setting.flag())), "{}", setting.name);
        }
        assert!(brief.contains(&CACHE_SIZE.flag()) && brief.lines().count() < 30, "{brief}");
        for part in ["program run it", "  64 bad settings", "1.2.3", "run NAME "] {
            assert!(brief.contains(part) && whole.contains(part), "{part}");
        }
    }

    #[test]
    fn no_line_is_longer_than_the_width_but_for_a_long_default() {
        let rows = TABLE.iter().copied().map(Row::of_setting);
        let help = program(rows.collect()).help(Length::Whole);
        assert!(help.lines().all(|line| line.chars().count() <= WIDTH + 10), "{help}");
    }

    #[test]
    fn a_long_term_has_a_line_of_its_own() {
        assert_eq!(entry("--short X", "", "Text"), format!("  {:<25}Text\n", "--short X"));
        let term = "--a-name-that-is-long VALUE";
        assert_eq!(entry(term, "", "Text"), format!("  {term}\n{}Text\n", " ".repeat(COLUMN)));
    }
}
