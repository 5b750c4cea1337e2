//! Medians, ratios, and goals that are met; the table.

use serde::Serialize;

use super::peers::PEERS;
use super::rows::{Goal, Line, Row};
use super::subject::{ECHO, SIDECAR, Subject};
use crate::plot::{Bars, bars};
use podlocal_harness::failure::Failure;
use podlocal_harness::table::{align, percentiles};

/// The values of one turn of one subject.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The number of the round.
    pub round: u16,
    /// The name of the subject.
    pub subject: &'static str,
    /// One value for each measured line of the row.
    pub values: Vec<Option<f64>>,
}

/// All results.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The subjects, in the order of the columns.
    pub subjects: Vec<&'static str>,
    /// The lines of the table.
    pub lines: Vec<Figures>,
    /// Remarks, and failed measurements.
    pub notes: Vec<String>,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// The row of the line.
    pub row: &'static str,
    /// Quantity and unit.
    pub what: &'static str,
    /// One value for each subject that has it.
    pub figures: Vec<Figure>,
    /// The goal for the sidecar, in words.
    pub goal: Option<String>,
    /// Whether the goal is met; `None` without a goal or a measurement.
    pub holds: Option<bool>,
    #[serde(skip)]
    pub(super) line: &'static Line,
}

/// The value of one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The name of the subject.
    pub subject: &'static str,
    /// The median of the rounds.
    pub median: f64,
    /// The value of each round.
    pub rounds: Vec<f64>,
}

impl Report {
    pub(super) fn new(subjects: &[Subject]) -> Self {
        let subjects = subjects.iter().map(|subject| subject.name).collect();
        Self { subjects, lines: Vec::new(), notes: Vec::new() }
    }

    /// Adds a note, once.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn place(&mut self, server: usize, asker: usize) {
        self.note(if server == asker {
            "there is only one core: the load generator takes CPU time from the measured program".to_owned()
        } else {
            format!("the measured program has core {server}; the load generator and the upstream share core {asker}")
        });
    }

    pub(super) fn add(&mut self, row: &'static Row, measured: &[Measured]) {
        self.lines.extend(lines(row, measured).into_iter().filter(|line| !line.figures.is_empty()));
    }

    /// The lines with a missed goal.
    pub fn missed(&self) -> Vec<&Figures> {
        self.lines.iter().filter(|line| line.holds == Some(false)).collect()
    }

    /// The printed table.
    pub fn table(&self) -> String {
        let header = [""].into_iter().chain(self.subjects.iter().copied()).chain(["goal", ""]);
        let mut rows: Vec<Vec<String>> = vec![header.map(str::to_owned).collect()];
        for line in &self.lines {
            let figure = |subject: &&str| {
                line.figure(subject).map_or("-".to_owned(), |figure| line.shown(figure.median))
            };
            let verdict = match line.holds {
                Some(true) => "holds",
                Some(false) => "MISSED",
                None => "",
            };
            let mut row = vec![line.what.to_owned()];
            row.extend(self.subjects.iter().map(figure));
            row.extend([line.goal.clone().unwrap_or_default(), verdict.to_owned()]);
            rows.push(row);
        }
        let mut text: String = align(&rows).lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        text
    }
}

/// A page with a bar chart of the first quantity of each row.
pub fn charts(report: &Report) -> Result<String, Failure> {
    let mut charts: Vec<Bars> = Vec::new();
    let mut row = "";
    for line in report.lines.iter().filter(|line| std::mem::replace(&mut row, line.row) != line.row) {
        let bar = |(colour, subject): (usize, &&'static str)| {
            let median = line.figure(subject)?.median;
            Some((colour, (*subject).to_owned(), median, line.shown(median)))
        };
        let bars = report.subjects.iter().enumerate().filter_map(bar).collect();
        charts.push(Bars { title: line.what.to_owned(), bars });
    }
    bars("The sidecar, a bare echo and other forwarders, on one core", &charts)
}

impl Figures {
    /// The value of one subject.
    pub fn figure(&self, subject: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.subject == subject)
    }

    pub(super) fn shown(&self, value: f64) -> String {
        format!("{value:.*}", self.line.decimals)
    }
}

/// The lines of a row, with the medians over its rounds.
fn lines(row: &'static Row, measured: &[Measured]) -> Vec<Figures> {
    let (mut lines, mut column) = (Vec::new(), 0);
    for line in row.lines {
        // A line of ratios follows the line whose values it compares.
        column += usize::from(!line.is_ratio);
        let value = |turn: &Measured| turn.values.get(column - 1).copied().flatten();
        let echo =
            |round| measured.iter().find(|turn| turn.round == round && turn.subject == ECHO).and_then(value);
        let mut figures: Vec<Figure> = Vec::new();
        for turn in measured {
            let value = if line.is_ratio {
                value(turn).zip(echo(turn.round)).map(|(own, echo)| own / echo)
            } else {
                value(turn)
            };
            let Some(value) = value else { continue };
            match figures.iter_mut().find(|figure| figure.subject == turn.subject) {
                Some(figure) => figure.rounds.push(value),
                None => figures.push(Figure { subject: turn.subject, median: value, rounds: vec![value] }),
            }
        }
        for figure in &mut figures {
            [figure.median] = percentiles(figure.rounds.iter().copied(), [0.5]);
        }
        lines.push(Figures {
            row: row.name,
            what: line.what,
            holds: line.goal.and_then(|goal| is_met(goal, &figures)),
            goal: line.goal.map(describe),
            figures,
            line,
        });
    }
    lines
}

/// Whether the value of the sidecar meets the goal.
fn is_met(goal: Goal, figures: &[Figure]) -> Option<bool> {
    let of = |name: &str| figures.iter().find(|figure| figure.subject == name).map(|figure| figure.median);
    let own = of(SIDECAR)?;
    match goal {
        Goal::AtLeast(least) => Some(own >= least),
        Goal::AtMost(most) => Some(own <= most),
        Goal::AbovePeers => {
            let best = PEERS.iter().filter_map(|peer| of(peer.name)).reduce(f64::max)?;
            Some(own > best)
        }
        Goal::BelowPeers => {
            let best = PEERS.iter().filter_map(|peer| of(peer.name)).reduce(f64::min)?;
            Some(own < best)
        }
    }
}

fn describe(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(least) => format!(">= {least}"),
        Goal::AtMost(most) => format!("<= {most}"),
        Goal::AbovePeers => "the most".to_owned(),
        Goal::BelowPeers => "the least".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::ROWS;

    fn turn(round: u16, subject: &'static str, values: &[f64]) -> Measured {
        Measured { round, subject, values: values.iter().copied().map(Some).collect() }
    }

    #[test]
    fn a_ratio_is_that_of_one_round_and_its_median_that_of_all() {
        let row = ROWS.iter().find(|row| row.name == "udp").unwrap();
        // The machine is half as fast in the second round, which does not change the ratios.
        let rounds = [(0, 1.0), (1, 0.5), (2, 1.0)].map(|(round, speed)| {
            let costs = |answers: f64, cpu: f64| [answers * speed, cpu / speed, 100.0, 50.0];
            [turn(round, SIDECAR, &costs(96.0, 12.0)), turn(round, ECHO, &costs(100.0, 10.0))]
        });
        let lines = lines(row, &rounds.concat());
        let ratios: Vec<_> = lines.iter().filter(|line| line.line.is_ratio).collect();
        let own: Vec<_> = ratios.iter().map(|line| line.figure(SIDECAR).unwrap().median).collect();
        assert!((own[0] - 0.96).abs() < 1e-9 && (own[1] - 1.2).abs() < 1e-9, "{own:?}");
        assert_eq!(ratios.iter().map(|line| line.holds).collect::<Vec<_>>(), [Some(true), Some(false)]);
    }

    #[test]
    fn the_most_is_more_than_every_peer_and_without_peers_nobody_can_say() {
        let figure = |subject, median| Figure { subject, median, rounds: Vec::new() };
        let mut figures = vec![figure(SIDECAR, 10.0), figure(ECHO, 99.0)];
        assert_eq!(is_met(Goal::AbovePeers, &figures), None);
        figures.push(figure("unbound", 9.0));
        assert_eq!(is_met(Goal::AbovePeers, &figures), Some(true));
        figures.push(figure("dnsmasq", 11.0));
        assert_eq!(is_met(Goal::AbovePeers, &figures), Some(false));
        assert_eq!(is_met(Goal::BelowPeers, &figures), Some(false));
        figures.retain(|figure| figure.subject != "unbound");
        assert_eq!(is_met(Goal::BelowPeers, &figures), Some(true));
    }
}
