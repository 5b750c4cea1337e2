//! Compares the figures of the documents with `docs/results.yaml`.
//!
//! A page shows a measured figure between `<!--result:KEY-->` and `<!--/-->`, which readers of the page do not
//! see. The same marks enclose whole tables and `text` blocks. Elsewhere, a number with a unit must be one of
//! the `constants` of the file: a figure of the code or of another program, not a measurement.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::repository::root;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde::Deserialize;

/// Units of measured figures.
const UNITS: [&str; 13] = ["ns", "us", "µs", "ms", "s", "KB", "kB", "KiB", "MB", "MiB", "GB", "GiB", "%"];

/// A line of a block with so many decimal fractions is a row of results.
const FRACTIONS: usize = 3;

/// The contents of `docs/results.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    measurements: Vec<Measurement>,
    /// For each figure, files with the text that defines it there, or `other` with a reason.
    constants: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "people read how and when a value was measured")]
struct Measurement {
    command: String,
    date: String,
    machine: String,
    values: BTreeMap<String, String>,
}

impl Results {
    /// Reads the file.
    pub fn read() -> Result<Self, Failure> {
        let text = fs::read_to_string(root().join("docs/results.yaml"));
        let text = text.with_context(|| "reading docs/results.yaml".to_owned())?;
        serde_saphyr::from_str(&text).with_context(|| "parsing docs/results.yaml".to_owned())
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.measurements
            .iter()
            .find_map(|measurement| measurement.values.get(key))
            .map(|value| value.trim_end())
    }

    /// The page with the values of the file.
    pub fn update(&self, page: &str) -> String {
        let mut updated = page.to_owned();
        for (key, place) in shown(page).into_iter().rev() {
            if let Some(value) = self.value(key) {
                updated.replace_range(place, value);
            }
        }
        updated
    }

    /// One line for each value of a page that differs from the file, and for each figure that is neither a
    /// value nor a constant.
    pub fn mistakes_of(&self, path: &str, page: &str) -> Vec<String> {
        let shown = shown(page);
        let mut mistakes = Vec::new();
        let mut mistake = |at: usize, what: String| {
            mistakes.push(format!("{path}:{}: {what}", page[..at].matches('\n').count() + 1));
        };
        for (key, place) in &shown {
            match self.value(key) {
                None => mistake(place.start, format!("docs/results.yaml has no {key}")),
                Some(value) if value != &page[place.clone()] => {
                    mistake(place.start, format!("{key} is {value}; UPDATE=1 corrects the page"));
                }
                Some(_) => {}
            }
        }
        for (at, figure) in figures(page) {
            if !self.constants.contains_key(&figure) && !shown.iter().any(|(_, place)| place.contains(&at)) {
                mistake(at, format!("{figure} is neither marked as a result nor one of the constants"));
            }
        }
        mistakes
    }

    /// One line for each value and constant that no page shows, for each number that is not in the table of
    /// its measurement, and for each constant that is not in its file.
    pub fn mistakes(&self, pages: &[(String, String)]) -> Vec<String> {
        let used: BTreeSet<_> = pages.iter().flat_map(|(_, page)| shown(page)).map(|(key, _)| key).collect();
        let figures: BTreeSet<_> =
            pages.iter().flat_map(|(_, page)| figures(page)).map(|(_, figure)| figure).collect();
        let mut mistakes = Vec::new();
        for measurement in &self.measurements {
            let table =
                measurement.values.values().max_by_key(|value| value.len()).map_or("", String::as_str);
            let in_table: Vec<_> = numbers(table).collect();
            for (key, value) in &measurement.values {
                if !used.contains(key.as_str()) {
                    mistakes.push(format!("no page shows {key}"));
                }
                let rounds_to = |(number, digits): (f64, usize)| {
                    let text = |number: f64| format!("{number:.digits$}");
                    in_table.iter().any(|(exact, _)| text(*exact) == text(number))
                };
                if table.contains('\n') && !numbers(value).all(rounds_to) {
                    mistakes
                        .push(format!("{key}: a number of {value:?} is not in the table of its measurement"));
                }
            }
        }
        for (constant, sources) in &self.constants {
            if !figures.contains(constant) {
                mistakes.push(format!("no page shows the constant {constant}"));
            }
            for (path, text) in sources.iter().filter(|(path, _)| *path != "other") {
                if !fs::read_to_string(root().join(path)).is_ok_and(|file| file.contains(text)) {
                    mistakes.push(format!("{constant}: {path} does not contain {text}"));
                }
            }
        }
        mistakes
    }
}

/// The values that a page shows: the key, and the place of the value without line breaks and fences around it.
fn shown(page: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let mut opened = None;
    for (event, range) in Parser::new_ext(page, Options::ENABLE_TABLES).into_offset_iter() {
        if !matches!(event, Event::Html(_) | Event::InlineHtml(_)) {
            continue;
        }
        let mark = page[range.clone()].trim();
        if let Some(key) = mark.strip_prefix("<!--result:").and_then(|rest| rest.strip_suffix("-->")) {
            opened = Some((key, range.end));
        } else if let (Some((key, start)), "<!--/-->") = (opened, mark) {
            found.push((key, value_in(page, start..range.start)));
            opened = None;
        }
    }
    found
}

fn value_in(page: &str, place: Range<usize>) -> Range<usize> {
    let text = page[place.clone()].trim_end();
    let start = text.len() - text.trim_start_matches('\n').len();
    match (text[start..].starts_with("```"), text[start..].find('\n'), text.rfind('\n')) {
        (true, Some(fence), Some(end)) if start + fence < end => {
            place.start + start + fence + 1..place.start + end
        }
        _ => place.start + start..place.start + text.len(),
    }
}

/// The figures of a page: numbers with units in sentences and tables, heads of tables with units, and lines of
/// blocks that look like rows of results.
fn figures(page: &str) -> Vec<(usize, String)> {
    let mut figures = Vec::new();
    // The sentences and tables at their places; everything else is blank.
    let mut prose = vec![b' '; page.len()];
    let (mut in_block, mut in_head) = (false, false);
    for (event, range) in Parser::new_ext(page, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_block = true,
            Event::End(TagEnd::CodeBlock) => in_block = false,
            Event::Start(Tag::TableHead) => in_head = true,
            Event::End(TagEnd::TableHead) => in_head = false,
            Event::Text(text) if in_block => {
                let is_fraction = |word: &&str| word.contains('.') && word.parse::<f64>().is_ok();
                let is_row = |line: &&str| line.split_whitespace().filter(is_fraction).count() >= FRACTIONS;
                figures
                    .extend(text.lines().find(is_row).map(|row| (range.start, format!("the row {row:?}"))));
            }
            Event::Text(text) => {
                if in_head && text.split([' ', ',']).any(|word| word != "s" && UNITS.contains(&word)) {
                    figures.push((range.start, format!("the table with {text:?}")));
                }
                prose[range.clone()].copy_from_slice(&page.as_bytes()[range]);
            }
            _ => {}
        }
    }
    let prose = String::from_utf8_lossy(&prose);
    let words: Vec<&str> = prose.split_whitespace().collect();
    for (index, word) in words.iter().enumerate() {
        let next = |distance: usize| words.get(index + distance).map_or("", |word| trim_end(word));
        let number = word.trim_start_matches(['(', '[', '"']);
        let (number, unit) = number.split_once('%').map_or((number, next(1)), |(number, _)| (number, "%"));
        let is_rate = |distance| matches!(next(distance), "a" | "per") && next(distance + 1) == "second";
        let unit = if is_rate(1) || is_rate(2) { "a second" } else { unit };
        if parse(number).is_some() && (unit == "a second" || UNITS.contains(&unit)) {
            figures.push((word.as_ptr().addr() - prose.as_ptr().addr(), format!("{number} {unit}")));
        }
    }
    figures
}

/// The numbers of a text, each with its digits after the point.
fn numbers(text: &str) -> impl Iterator<Item = (f64, usize)> {
    text.split_whitespace().filter_map(|word| parse(trim_end(word.trim_start_matches('('))))
}

fn parse(number: &str) -> Option<(f64, usize)> {
    let digits = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let is_number = number.starts_with(|first: char| first.is_ascii_digit());
    number.replace(',', "").parse().ok().filter(|_| is_number).map(|number| (number, digits))
}

fn trim_end(word: &str) -> &str {
    word.trim_end_matches([',', '.', ';', ':', ')', ']', '"'])
}
