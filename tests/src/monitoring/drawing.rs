//! The panels of the dashboard's JSON, in its grid, with what Prometheus says: as Grafana shows them, as far as a picture
//! needs it.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

use super::grafana::{filled, place};
use super::panels::TONES;
use super::prometheus::{Prometheus, Series, Span};
use super::stage::EVENTS;
use super::units::{number, scale, shown};
use crate::failure::Failure;
use crate::plot::{COLOURS, Drawing, FAMILY};

/// A dashboard with its data.
#[derive(Debug)]
pub struct Picture {
    title: String,
    panels: Vec<Panel>,
    span: Span,
}

#[derive(Debug)]
struct Panel {
    title: String,
    kind: String,
    unit: String,
    is_stacked: bool,
    /// The value from which a number is red.
    threshold: Option<f64>,
    place: [u32; 4],
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// The size of a cell of the grid, in pixels.
const CELL: (u32, u32) = (56, 30);

/// The height of the title, in pixels.
const TITLE: u32 = 58;

/// How much a rate looks back on, as a share of the whole time; of Grafana's, a scrape must be in it at least four times.
const RANGE: f64 = 0.05;
const SHORTEST_RANGE: f64 = 4.0;

impl Picture {
    /// Asks for every expression of the dashboard.
    pub async fn of(dashboard: &Value, prometheus: &Prometheus, span: Span) -> Result<Self, Failure> {
        let range = format!("{:.0}s", ((span.to - span.from) * RANGE).max(SHORTEST_RANGE));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut panels = Vec::new();
        for panel in dashboard["panels"].as_array().into_iter().flatten() {
            let mut lines = Vec::new();
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = filled(&text(&target["expr"]), &range);
                let legend = text(&target["legendFormat"]);
                let series = prometheus.range(&expression, span).await?;
                lines.extend(series.into_iter().map(|series| line(series, &legend, span)));
            }
            let defaults = &panel["fieldConfig"]["defaults"];
            panels.push(Panel {
                title: text(&panel["title"]),
                kind: text(&panel["type"]),
                unit: text(&defaults["unit"]),
                is_stacked: defaults["custom"]["stacking"]["mode"] == "normal",
                threshold: defaults["thresholds"]["steps"][1]["value"].as_f64(),
                place: place(panel),
                lines,
            });
        }
        Ok(Self { title: text(&dashboard["title"]), panels, span })
    }

    /// The panels that have nothing to show.
    #[must_use]
    pub fn empty(&self) -> Vec<&str> {
        let is_empty =
            |panel: &&Panel| panel.kind != "row" && panel.lines.iter().all(|line| line.points.is_empty());
        self.panels.iter().filter(is_empty).map(|panel| panel.title.as_str()).collect()
    }
}

/// A series under the name that the legend makes of its labels.
fn line(series: Series, legend: &str, span: Span) -> Line {
    let name = series
        .labels
        .iter()
        .fold(legend.to_owned(), |name, (label, value)| name.replace(&format!("{{{{{label}}}}}"), value));
    Line { name, points: series.points.into_iter().map(|(at, value)| (at - span.from, value)).collect() }
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

impl Drawing for Picture {
    fn title(&self) -> &str {
        &self.title
    }

    fn size(&self) -> (u32, u32) {
        let below = self.panels.iter().map(|panel| panel.place[1] + panel.place[3]).max().unwrap_or(1);
        (CELL.0 * 24 + 16, CELL.1 * below + TITLE + 16)
    }

    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>, by_pieces: bool) -> Drawn<B> {
        let seconds = self.span.to - self.span.from;
        let text = format!("{}: {seconds:.0} s with an outage, scraped once a second", self.title);
        root.draw_text(&text, &(FAMILY, 17).into_font().color(&BLACK), (12, 10))?;
        let events = EVENTS.iter().map(|(_, what, _)| *what).filter(|what| !["fine", ""].contains(what));
        let text = format!("Shaded, from left to right: {}.", events.collect::<Vec<_>>().join("; "));
        root.draw_text(&text, &(FAMILY, 13).into_font().color(&BLACK.mix(0.8)), (12, 36))?;
        for panel in &self.panels {
            let [x, y, w, h] = panel.place;
            let at = |cell: u32, size: u32, from: u32| i32::try_from(cell * size + from).unwrap_or_default();
            let (left, top) = (at(x, CELL.0, 8), at(y, CELL.1, TITLE));
            let (right, bottom) = (at(x + w, CELL.0, 8), at(y + h, CELL.1, TITLE));
            let area = root.clone().shrink((left, top), (right - left, bottom - top));
            match panel.kind.as_str() {
                "row" => area.draw_text(&panel.title, &(FAMILY, 16).into_font().color(&BLACK), (4, 10))?,
                "stat" => stat(panel, &area)?,
                _ => panel.draw(&area, self.span, by_pieces)?,
            }
        }
        Ok(())
    }
}

/// A number, its time in the background. A picture shows no moment, so it is the worst: what the threshold is for.
fn stat<B: DrawingBackend>(panel: &Panel, area: &DrawingArea<B, Shift>) -> Drawn<B> {
    frame(&panel.title, area)?;
    let values = || panel.lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let last = panel.lines.iter().filter_map(|line| line.points.last()).map(|(_, value)| *value).next();
    let worst = values().fold(f64::NEG_INFINITY, f64::max);
    let is_red = panel.threshold.is_some_and(|threshold| worst >= threshold);
    let (width, height) = area.dim_in_pixel();
    let centre = i32::try_from(width / 2).unwrap_or_default();
    let middle = Pos::new(HPos::Center, VPos::Center);
    let colour = if is_red { COLOURS[0] } else { COLOURS[4] };
    let shown_value = if panel.threshold.is_some() { worst } else { last.unwrap_or(0.0) };
    let big = (FAMILY, 34).into_font().color(&colour).pos(middle);
    let at = i32::try_from(height / 2 + 8).unwrap_or_default();
    area.draw_text(&shown(shown_value, &panel.unit), &big, (centre, at))?;
    if panel.threshold.is_some() {
        let small = (FAMILY, 12).into_font().color(&BLACK.mix(0.6)).pos(middle);
        let text = format!("at worst; {} at the end", shown(last.unwrap_or(0.0), &panel.unit));
        area.draw_text(&text, &small, (centre, at + 28))?;
    }
    Ok(())
}

fn frame<B: DrawingBackend>(title: &str, area: &DrawingArea<B, Shift>) -> Drawn<B> {
    let (width, height) = area.dim_in_pixel();
    let corner = |value: u32| i32::try_from(value).unwrap_or_default();
    let border = Rectangle::new([(3, 3), (corner(width) - 3, corner(height) - 3)], BLACK.mix(0.25));
    area.draw(&border)?;
    area.draw_text(title, &(FAMILY, 13).into_font().color(&BLACK), (10, 9))
}

impl Panel {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, span: Span, by_pieces: bool) -> Drawn<B> {
        // Where two values are missing, a line has a hole.
        let (seconds, gap) = (span.to - span.from, span.step() * 2.5);
        frame(&self.title, area)?;
        let (width, height) = area.dim_in_pixel();
        let rows = self.legend(width);
        let corner = |value: u32| i32::try_from(value).unwrap_or_default();
        let below = 16 * corner(u32::try_from(rows.len()).unwrap_or_default()) + 14;
        let curves = self.curves();
        let most = curves.iter().flatten().map(|(_, value)| *value).fold(0.0, f64::max);
        let (size, unit) = scale(most, &self.unit);
        let most = if most > 0.0 { most / size * 1.08 } else { 1.0 };
        let inside = area.clone().shrink((8, 26), (corner(width) - 18, corner(height) - 26 - below));
        let mut builder = ChartBuilder::on(&inside);
        builder.x_label_area_size(18).y_label_area_size(58);
        let mut chart = builder.build_cartesian_2d(0.0..seconds, 0.0..most)?;
        for (from, to) in spells() {
            let corners = [(seconds * from, 0.0), (seconds * to, most)];
            chart.draw_series([Rectangle::new(corners, COLOURS[0].mix(0.07).filled())])?;
        }
        let mut mesh = chart.configure_mesh();
        let (time, value) =
            (|at: &f64| format!("{at:.0} s"), |value: &f64| format!("{}{unit}", number(*value)));
        mesh.light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.1)).axis_style(BLACK.mix(0.3));
        mesh.x_labels(6).y_labels(4).label_style((FAMILY, 11));
        mesh.x_label_formatter(&time).y_label_formatter(&value).draw()?;
        let colours = self.colours();
        for (points, colour) in curves.iter().zip(&colours).rev() {
            let points: Vec<_> = points.iter().map(|(at, value)| (*at, value / size)).collect();
            if self.is_stacked {
                let ends = [points.last(), points.first()].into_iter().flatten().map(|(at, _)| (*at, 0.0));
                let corners: Vec<_> = points.iter().copied().chain(ends).collect();
                chart.draw_series([Polygon::new(corners, colour.filled())])?;
            } else {
                let length = if by_pieces { 2 } else { points.len().max(2) };
                let pieces = points.chunk_by(|one, other| other.0 - one.0 < gap);
                let pieces = pieces.flat_map(|piece| piece.windows(length.min(piece.len()).max(1)));
                let series = pieces.map(|piece| PathElement::new(piece.to_vec(), colour.stroke_width(2)));
                chart.draw_series(series)?;
            }
        }
        for (row, names) in rows.iter().enumerate() {
            let mut x = 14;
            let y = corner(height) - below + 2 + 16 * i32::try_from(row).unwrap_or_default();
            for &number in names {
                let name = &self.lines[number].name;
                area.draw(&Rectangle::new([(x, y + 4), (x + 12, y + 8)], colours[number].filled()))?;
                area.draw_text(name, &(FAMILY, 12).into_font().color(&BLACK.mix(0.8)), (x + 16, y))?;
                x += width_of(name);
            }
        }
        Ok(())
    }

    /// The lines as they are drawn: those of a stack above each other.
    fn curves(&self) -> Vec<Vec<(f64, f64)>> {
        if !self.is_stacked {
            return self.lines.iter().map(|line| line.points.clone()).collect();
        }
        let mut times: Vec<f64> =
            self.lines.iter().flat_map(|line| &line.points).map(|(at, _)| *at).collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let mut below = vec![0.0; times.len()];
        let curve = |line: &Line| {
            for (at, sum) in times.iter().zip(&mut below) {
                let place = line.points.binary_search_by(|(other, _)| other.total_cmp(at));
                *sum += place.map_or(0.0, |index| line.points[index].1);
            }
            times.iter().copied().zip(below.iter().copied()).collect()
        };
        self.lines.iter().map(curve).collect()
    }

    /// The colour of each line: what it means, else the next one that means nothing.
    fn colours(&self) -> Vec<RGBColor> {
        let free = if self.is_stacked { &MEANINGLESS[..3] } else { &MEANINGLESS };
        let mut others = (0..).map(|number: usize| {
            let RGBColor(red, green, blue) = free[number % free.len()];
            // Of so many the others are lighter.
            let lighter = |part: u8| if number < free.len() { part } else { part / 2 + 127 };
            RGBColor(lighter(red), lighter(green), lighter(blue))
        });
        let meaning = |line: &Line| {
            let mut tones = TONES.iter().filter(|_| self.is_stacked);
            let tone = tones.find(|(names, _)| names.iter().any(|name| line.name.ends_with(name)));
            tone.map(|(_, colour)| match *colour {
                "red" => COLOURS[0],
                "orange" => COLOURS[1],
                _ => COLOURS[4],
            })
        };
        self.lines.iter().map(|line| meaning(line).or_else(|| others.next()).unwrap_or(BLACK)).collect()
    }

    /// The lines with a name, row by row.
    fn legend(&self, width: u32) -> Vec<Vec<usize>> {
        let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
        let mut x = 14;
        for (number, line) in self.lines.iter().enumerate() {
            if x + width_of(&line.name) > i32::try_from(width).unwrap_or_default() && x > 14 {
                rows.push(Vec::new());
                x = 14;
            }
            x += width_of(&line.name);
            rows.last_mut().into_iter().for_each(|row| row.push(number));
        }
        rows
    }
}

/// When something is wrong, as shares of the whole time.
fn spells() -> impl Iterator<Item = (f64, f64)> {
    let wrong = EVENTS.windows(2).filter(|events| events[0].1 != "fine");
    wrong.map(|events| (f64::from(events[0].0) / 100.0, f64::from(events[1].0) / 100.0))
}

/// Colours of lines whose names mean nothing good or bad; the last two mean something in a stack.
const MEANINGLESS: [RGBColor; 5] = [COLOURS[3], COLOURS[5], COLOURS[2], COLOURS[1], COLOURS[4]];

/// About how wide a name of the legend is, with what stands before and behind it, in pixels.
fn width_of(name: &str) -> i32 {
    i32::try_from(name.len()).unwrap_or_default() * 7 + 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stacked_stands_above_what_is_below_it_and_holes_are_nothing() {
        let line = |points: &[(f64, f64)]| Line { name: String::new(), points: points.to_vec() };
        let panel = Panel {
            title: String::new(),
            kind: "timeseries".to_owned(),
            unit: String::new(),
            is_stacked: true,
            threshold: None,
            place: [0; 4],
            lines: vec![line(&[(0.0, 1.0), (1.0, 2.0)]), line(&[(1.0, 3.0)])],
        };
        assert_eq!(panel.curves(), [vec![(0.0, 1.0), (1.0, 2.0)], vec![(0.0, 1.0), (1.0, 5.0)]]);
    }
}
