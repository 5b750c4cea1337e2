//! Man pages: clap_mangen writes the sections that it knows, and the notes behind a help become further
//! sections.

use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// The pages of a program: its own, and one for each command. Each has a name and a text.
pub(crate) fn pages(mut program: Command, date: &str) -> io::Result<Vec<(String, String)>> {
    program.build();
    let source = format!("PodLocal DNS {}", program.get_version().unwrap_or_default());
    let commands = std::iter::once(&program).chain(program.get_subcommands());
    commands.map(|command| page(command, &source, date)).collect()
}

fn page(command: &Command, source: &str, date: &str) -> io::Result<(String, String)> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let man = Man::new(command.clone().mut_args(with_values)).title(name.to_ascii_uppercase());
    let man = man.date(date).source(source).manual("PodLocal DNS");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let notes = command.get_after_long_help().or_else(|| command.get_after_help());
    let notes = notes.map(|notes| sections(&notes.to_string())).unwrap_or_default();
    Ok((name, String::from_utf8_lossy(&text).into_owned() + &notes))
}

/// The possible values in the sentence: mandoc warns about the list that clap_mangen writes.
fn with_values(arg: Arg) -> Arg {
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if values.is_empty() || arg.is_hide_possible_values_set() {
        return arg;
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.hide_possible_values(true).help(format!("{help} [possible values: {}]", values.join(", ")))
}

/// The notes as sections. Each begins with a title and a colon; its other lines are indented, so they stay
/// lines.
fn sections(notes: &str) -> String {
    let mut page = Roff::new();
    for section in notes.split("\n\n") {
        let mut lines = section.lines();
        let title = lines.next().unwrap_or_default().trim_end_matches(':').to_ascii_uppercase();
        page.control("SH", [title.as_str()]);
        for line in lines {
            page.text([roman(line)]);
        }
    }
    page.render()
}
