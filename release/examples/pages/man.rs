//! The man page in man(7), which every man program can read.

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
