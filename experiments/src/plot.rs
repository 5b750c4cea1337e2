//! Line charts on a page, and bar charts, written as SVG. Viewers of the SVG have the font.

mod axis;
mod bars;

pub use axis::Axis;
pub use bars::{Bars, bars};

use std::fs;
use std::io;
use std::path::PathBuf;

use plotters::coord::Shift;
use plotters::prelude::*;

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::target_directory;

/// The size of one chart, in pixels.
const CHART: (u32, u32) = (620, 380);

/// The height of the title and the legend above the charts, in pixels.
const HEAD: u32 = 60;

/// Colours that people with any colour vision can distinguish (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// The flag with the path of the plot.
#[derive(Debug, Clone, clap::Args)]
pub struct PlotFlag {
    /// Write the plot to PREFIX.svg; default: the program's name in cargo's target directory.
    #[arg(long, value_name = "PREFIX")]
    plot: Option<PathBuf>,
}

impl PlotFlag {
    /// Whether the flag was given.
    pub fn is_given(&self) -> bool {
        self.plot.is_some()
    }

    /// Writes a page to that path, by default under `name` in cargo's target directory, and prints the path.
    pub fn write(&self, page: &Page, name: &str) -> Result<(), Failure> {
        self.write_svg(&page.svg()?, name)
    }

    /// Writes an SVG to that path.
    pub fn write_svg(&self, svg: &str, name: &str) -> Result<(), Failure> {
        let prefix = self.plot.clone().map_or_else(|| Ok(target_directory()?.join(name)), Ok)?;
        let mut file = prefix.into_os_string();
        file.push(".svg");
        let file = PathBuf::from(file);
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        }
        fs::write(&file, svg)
            .with_context(|| format!("writing {}; use --plot for another path", file.display()))?;
        eprintln!("plot: {}", file.display());
        Ok(())
    }
}

/// Charts, two beside each other, below a title and a common legend.
#[derive(Debug, Clone)]
pub struct Page {
    /// The title above the charts.
    pub title: String,
    /// The charts, row by row.
    pub charts: Vec<Chart>,
}

/// Lines over two axes.
#[derive(Debug, Clone)]
pub struct Chart {
    /// The title.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line through points.
#[derive(Debug, Clone)]
pub struct Line {
    /// The name in the legend.
    pub name: String,
    /// The index of one of six colours; the same on every chart of a page for the same name.
    pub colour: usize,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

impl Page {
    pub(crate) fn svg(&self) -> Result<String, Failure> {
        svg(&self.title, self.charts.len(), |root, grid| self.draw(root, grid))
    }

    fn draw(&self, root: &Area<'_>, grid: (usize, usize)) -> Drawn {
        let (mut x, mut named) = (12, Vec::new());
        for line in self.charts.iter().flat_map(|chart| &chart.lines) {
            if !named.contains(&&line.name) {
                named.push(&line.name);
                root.draw(&PathElement::new([(x, 46), (x + 18, 46)], colour(line.colour).stroke_width(3)))?;
                root.draw_text(&line.name, &font(13), (x + 24, 40))?;
                x += 48 + 7 * i32::try_from(line.name.len()).unwrap_or_default();
            }
        }
        let (_, charts) = root.split_vertically(HEAD);
        self.charts.iter().zip(&charts.split_evenly(grid)).try_for_each(|(chart, area)| chart.draw(area))
    }
}

impl Chart {
    fn draw(&self, area: &Area<'_>) -> Drawn {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = self.x.range(points().map(|(x, _)| *x));
        let y = self.y.range(points().map(|(_, y)| *y));
        let labels = [self.x.labels(&x), self.y.labels(&y)];
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).margin_right(24).x_label_area_size(42).y_label_area_size(64);
        let mut chart = builder.caption(&self.title, font(15)).build_cartesian_2d(x, y)?;
        let mut mesh = chart.configure_mesh();
        let (x_text, y_text) = (|place: &f64| self.x.text(*place), |place: &f64| self.y.text(*place));
        mesh.x_desc(self.x.label).y_desc(self.y.label).light_line_style(TRANSPARENT);
        mesh.bold_line_style(BLACK.mix(0.12)).label_style(font(13)).axis_desc_style(font(13));
        mesh.x_labels(labels[0]).y_labels(labels[1]);
        mesh.x_label_formatter(&x_text).y_label_formatter(&y_text).draw()?;
        for line in &self.lines {
            let points = line.points.iter().map(|(x, y)| (self.x.place(*x), self.y.place(*y)));
            chart.draw_series(LineSeries::new(points, colour(line.colour).stroke_width(2)))?;
        }
        Ok(())
    }
}

/// The text of a page with so many charts, two beside each other; `draw` gets the page, its rows and columns.
fn svg(
    title: &str,
    charts: usize,
    draw: impl Fn(&Area<'_>, (usize, usize)) -> Drawn,
) -> Result<String, Failure> {
    let grid = (charts.div_ceil(2), charts.clamp(1, 2));
    let size = (CHART.0 * grid.1 as u32, CHART.1 * grid.0 as u32 + HEAD);
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let title_at = (12, 12);
    let drawn = root
        .fill(&WHITE)
        .and_then(|()| root.draw_text(title, &font(17), title_at))
        .and_then(|()| draw(&root, grid))
        .and_then(|()| root.present());
    drawn.map_err(|error| Failure::new(format!("drawing {title:?}: {error}")))?;
    drop(root);
    Ok(text)
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn font(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

/// The cumulative distribution of values: from `(first, 0)` to `(last, most)`.
pub fn distribution(ascending: &[f64], most: f64) -> Vec<(f64, f64)> {
    let count = ascending.len().max(1) as f64;
    let begin = ascending.first().map(|first| (*first, 0.0));
    let steps =
        ascending.iter().enumerate().map(|(index, value)| (*value, (index + 1) as f64 / count * most));
    begin.into_iter().chain(steps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_with_its_words() {
        let line = Line { name: "one".to_owned(), colour: 0, points: vec![(0.0, 1.0), (2.0, 300.0)] };
        let chart = |y| Chart {
            title: "Something over time".to_owned(),
            x: Axis::linear("seconds"),
            y,
            lines: vec![line.clone()],
        };
        let charts = [Axis::linear("queries"), Axis::logarithmic("queries")].map(chart).into();
        let folder = tempfile::tempdir().unwrap();
        let flag = PlotFlag { plot: Some(folder.path().join("new/plot.1")) };
        flag.write(&Page { title: "A page".to_owned(), charts }, "name").unwrap();
        let svg = fs::read_to_string(folder.path().join("new/plot.1.svg")).unwrap();
        for word in ["A page", "Something over time", "seconds", "queries", "one", "1000"] {
            assert!(svg.contains(word), "{word}");
        }
        assert_eq!(svg.matches("one\n").count(), 1, "one legend for all charts");
        assert!(svg.matches("<polyline").count() > 3, "the lines are drawn");
    }

    #[test]
    fn a_distribution_ends_at_all_of_them() {
        assert_eq!(distribution(&[1.0, 3.0], 100.0), [(1.0, 0.0), (1.0, 50.0), (3.0, 100.0)]);
        assert_eq!(distribution(&[], 100.0), []);
    }
}
