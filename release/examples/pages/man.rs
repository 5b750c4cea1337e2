//! The man pages in man(7), which every man program can read.

use std::io;

use clap_mangen::Man;
use podlocal_settings::program::{Kind, Program, Row, Section};
use roff::{Inline, Roff, bold, italic, roman};

/// The page of a program, in section 1.
pub(crate) fn page(program: &Program, date: &str) -> String {
    let mut page = Roff::new();
    let source = format!("PodLocal DNS {}", program.version);
    page.control("TH", [program.name.to_ascii_uppercase().as_str(), "1", date, &source, "PodLocal DNS"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{} - {}", program.name, program.sentence))]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(program.name), roman(" [COMMAND] [FLAG]...")]);
    page.control("SH", ["DESCRIPTION"]);
    paragraphs(&mut page, &program.description);
    page.control("SH", ["COMMANDS"]);
    for command in program.commands {
        page.control("TP", []);
        let arguments = (!command.arguments.is_empty()).then(|| roman(format!(" {}", command.arguments)));
        page.text(std::iter::once(bold(command.name)).chain(arguments).collect::<Vec<_>>());
        page.text(inlines(command.sentence));
        for paragraph in command.description {
            page.control("IP", []);
            page.text(inlines(paragraph));
        }
    }
    page.control("SH", ["OPTIONS"]);
    for section in &program.sections {
        options(&mut page, section);
    }
    page.control("SS", ["Others"]);
    for (flags, sentence) in [
        (
            "-h, --help",
            "Prints a brief help; with two hyphens, the whole help; after a command, the help of that command.",
        ),
        ("-V, --version", "Prints the version."),
    ] {
        page.control("TP", []);
        page.text([bold(flags)]);
        page.text([roman(sentence)]);
    }
    page.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in program.exit_codes(None) {
        page.control("TP", []);
        page.text([bold(code.to_string())]);
        page.text(inlines(&meaning));
    }
    page.control("SH", ["EXAMPLES"]);
    for example in program.examples() {
        page.control("TP", []);
        page.text([roman(example.purpose)]);
        page.text([bold(example.line)]);
    }
    page.control("SH", ["SEE ALSO"]);
    paragraphs(&mut page, program.see_also);
    page.render()
}

/// The pages of a program that uses clap: its own, and one for each command. Each has a name and a text.
pub(crate) fn pages_of_clap(command: &clap::Command, date: &str) -> io::Result<Vec<(String, String)>> {
    let mut command = command.clone();
    command.build();
    let source = format!("PodLocal DNS {}", command.get_version().unwrap_or_default());
    let commands = std::iter::once(&command).chain(command.get_subcommands());
    commands.map(|command| page_of_clap(command, &source, date)).collect()
}

fn page_of_clap(command: &clap::Command, source: &str, date: &str) -> io::Result<(String, String)> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let man = Man::new(command.clone()).title(name.to_ascii_uppercase()).date(date).source(source);
    let man = man.manual("PodLocal DNS");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    Ok((name, String::from_utf8_lossy(&text).into_owned() + &sections_of_notes(&notes)))
}

/// The text behind the help as sections, line by line. Each begins with a title and a colon.
fn sections_of_notes(notes: &str) -> String {
    let mut page = Roff::new();
    for section in notes.split("\n\n") {
        let mut lines = section.lines();
        let title = lines.next().unwrap_or_default().trim_end_matches(':').to_ascii_uppercase();
        page.control("SH", [title.as_str()]);
        page.control("nf", []);
        for line in lines {
            page.text([roman(line)]);
        }
        page.control("fi", []);
    }
    page.render()
}

/// Writes paragraphs; the first one of a section needs no macro.
fn paragraphs(page: &mut Roff, texts: &[impl AsRef<str>]) {
    for (place, text) in texts.iter().enumerate() {
        if place > 0 {
            page.control("PP", []);
        }
        page.text(inlines(text.as_ref()));
    }
}

fn options(page: &mut Roff, section: &Section) {
    page.control("SS", [section.title.as_str()]);
    for row in &section.rows {
        page.control("TP", []);
        page.text(term(section.kind, row));
        let repeat = if row.may_repeat && row.remark.is_empty() { "; repeatable" } else { "" };
        if !row.remark.is_empty() {
            page.text([roman(format!("{}.", row.remark))]);
        }
        page.text(inlines(&format!("{}{repeat}", row.sentence)));
    }
}

/// `-f, --file FILE`, or a bare name if it is not a flag.
fn term(kind: Kind, row: &Row) -> Vec<Inline> {
    if kind == Kind::Names {
        return vec![bold(row.name)];
    }
    let short = row.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    let mut term = vec![bold(format!("{short}--{}", row.name))];
    if !row.value.is_empty() {
        term.extend([roman(" "), italic(row.value.as_str())]);
    }
    term
}

/// Text with bold words between backquotes.
fn inlines(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(place, part)| if place % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
