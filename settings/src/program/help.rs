//! The text of `-h` and `--help`.

use super::{Command, Example, Kind, Program, Row, Section};

/// The length of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// `-h`: the commands, examples and the most common settings.
    Brief,
    /// `--help`: everything.
    Whole,
}

/// The column at which explanations begin.
const COLUMN: usize = 27;

/// The column at which the meanings of exit codes begin.
const CODE_COLUMN: usize = 5;

/// The longest line.
const WIDTH: usize = 100;

impl Program {
    /// The help of the program: its purpose, the commands, an example of each, flags and settings, exit
    /// codes, further documentation.
    pub fn help(&self, length: Length) -> String {
        let mut text = format!("{} {}: {}\n\n", self.name, self.version, self.sentence);
        text.push_str(&format!("Usage: {} [COMMAND] [FLAG]...\n\nCommands:\n", self.name));
        for command in self.commands {
            text.push_str(&entry(&command.usage(), "", command.sentence));
        }
        text.push_str(&examples(self.commands.iter().filter_map(|command| command.examples.first())));
        for paragraph in &self.description {
            text.push_str(&format!("\n{}", wrapped(paragraph, 0)));
        }
        let shown = |section: &&Section| length == Length::Whole || section.is_brief;
        for section in self.sections.iter().filter(shown) {
            text.push_str(&rows(section, |_| true));
        }
        text.push_str("\nOthers:\n");
        let of_command = "print the short help or the whole help; after a command, the help of that command";
        text.push_str(&entry("-h, --help", "", of_command));
        text.push_str(&entry("-V, --version", "", "print the version"));
        text.push_str(&self.ending(None));
        text.push_str("\nMore:\n");
        for place in self.see_also {
            text.push_str(&format!("  {place}\n"));
        }
        text
    }

    /// The help of one command: its flags and examples. For a command without flags of its own it is
    /// [`Self::help`].
    pub fn help_of(&self, command: &Command, length: Length) -> String {
        let is_own = |row: &Row| row.commands.contains(&command.name);
        if !self.flags().any(is_own) {
            return self.help(length);
        }
        let mut text = format!("{} {}: {}\n\n", self.name, command.name, command.sentence);
        text.push_str(&format!("Usage: {} {} [FLAG]...\n", self.name, command.usage()));
        for paragraph in command.description {
            text.push_str(&format!("\n{}", wrapped(paragraph, 0)));
        }
        text.push_str(&examples(command.examples.iter()));
        for section in self.sections.iter().filter(|section| section.kind == Kind::Flags) {
            text.push_str(&rows(section, |row| row.is_for(command.name)));
        }
        text.push_str(&self.ending(Some(command)));
        let kinds: Vec<_> = self.sections.iter().map(|section| section.kind).collect();
        let settings = if kinds.contains(&Kind::Settings) {
            "The settings are flags, too; help for all of them"
        } else {
            "Help for all commands"
        };
        text + &format!("\n{settings}: {} --help\n", self.name)
    }

    /// The exit codes, as the help lists them.
    fn ending(&self, of: Option<&Command>) -> String {
        let mut text = "\nExit codes:\n".to_owned();
        for (code, meaning) in self.exit_codes(of) {
            text.push_str(&format!("  {code:<3}{}", wrapped(&meaning, CODE_COLUMN).trim_start()));
        }
        text
    }
}

fn examples<'a>(examples: impl Iterator<Item = &'a Example>) -> String {
    let lines: Vec<_> =
        examples.map(|example| format!("  # {}\n  {}\n", example.purpose, example.line)).collect();
    if lines.is_empty() { String::new() } else { format!("\nExamples:\n{}", lines.concat()) }
}

/// A section with the selected rows; an empty text if there are none.
fn rows(section: &Section, is_shown: impl Fn(&Row) -> bool) -> String {
    let mut text = String::new();
    for row in section.rows.iter().filter(|row| is_shown(row)) {
        let repeat = if row.may_repeat && row.remark.is_empty() { "; repeatable" } else { "" };
        let sentence = format!("{}{repeat}", row.sentence);
        text.push_str(&entry(&spelled(section.kind, row), &row.remark, &sentence));
    }
    if text.is_empty() { text } else { format!("\n{}:\n{text}", section.title) }
}

/// The flag with its short form and its value; for settings, the remark describes the value.
fn spelled(kind: Kind, row: &Row) -> String {
    let hyphens = if kind == Kind::Names { "" } else { "--" };
    let short = row.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    let value = if row.remark.is_empty() { row.value.as_str() } else { "" };
    format!("{short}{hyphens}{} {value}", row.name).trim_end().to_owned()
}

/// A term with its explanation beside it, or below it if the term is long.
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
    use crate::program::{Flag, find};
    use crate::table::{CACHE_SIZE, Setting, TABLE};

    const COMMANDS: &[Command] = &[
        Command {
            name: "run",
            arguments: "NAME",
            sentence: "runs",
            examples: &[Example { purpose: "Run it", line: "program run it" }],
            ..Command::EMPTY
        },
        Command {
            name: "look",
            sentence: "looks",
            description: &["It looks."],
            examples: &[
                Example { purpose: "Look", line: "program look" },
                Example { purpose: "Look well", line: "program look --well" },
            ],
            exit_codes: &[(2, "saw nothing")],
            ..Command::EMPTY
        },
    ];

    const FLAGS: &[Flag] = &[Flag::new("well", "", &["look"], "Look well")];

    fn program(rows: Vec<Row>) -> Program {
        let section = |title: &str, is_brief, rows| Section {
            title: title.to_owned(),
            kind: Kind::Settings,
            is_brief,
            rows,
        };
        let mut sections = Section::of_flags(FLAGS, true);
        sections.push(section("Most used", true, vec![Row::of_setting(&CACHE_SIZE)]));
        sections.push(section("Others", false, rows));
        Program {
            name: "program",
            version: "1.2.3",
            sentence: "an example",
            description: vec!["To be known.".to_owned()],
            commands: COMMANDS,
            sections,
            exit_codes: &[(64, "bad settings")],
            see_also: &["docs"],
        }
    }

    #[test]
    fn the_whole_help_has_every_row_and_the_short_one_some() {
        let rows = TABLE.iter().copied().filter(|setting| setting.is_for_sidecar()).map(Row::of_setting);
        let program = program(rows.collect());
        let [brief, whole] = [Length::Brief, Length::Whole].map(|length| program.help(length));
        for setting in TABLE.iter().filter(|setting| Setting::is_for_sidecar(setting)) {
            assert!(whole.contains(&format!("\n  {} ", setting.flag())), "{}", setting.name);
        }
        assert!(
            brief.contains(&CACHE_SIZE.flag()) && brief.lines().count() * 2 < whole.lines().count(),
            "{brief}"
        );
        for part in ["program run it", "  64 bad settings", "1.2.3", "run NAME ", "program look\n", "--well"]
        {
            assert!(brief.contains(part) && whole.contains(part), "{part}");
        }
        assert!(!whole.contains("look --well"), "one example of each command\n{whole}");
    }

    #[test]
    fn the_help_of_a_command_has_its_flags_and_examples() {
        let program = program(Vec::new());
        let command = find(COMMANDS, "look").expect("a command");
        assert_eq!(
            program.help_of(command, Length::Brief),
            "program look: looks\n\nUsage: program look [FLAG]...\n\nIt looks.\n\n\
             Examples:\n  # Look\n  program look\n  # Look well\n  program look --well\n\n\
             Flags of look:\n  --well                   Look well\n\n\
             Exit codes:\n  2  saw nothing\n  64 bad settings\n\n\
             The settings are flags, too; help for all of them: program --help\n"
        );
        let run = find(COMMANDS, "run").expect("a command");
        assert_eq!(program.help_of(run, Length::Brief), program.help(Length::Brief));
    }

    #[test]
    fn only_long_defaults_exceed_the_width() {
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
