//! Line and bar charts on a page, written as SVG and as PNG. The font is included, so that the machine needs
//! none.

mod axis;
mod bars;

pub use axis::{Axis, Scale};
pub use bars::{Bar, BarChart};

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontTransform, register_font};

use podlocal_harness::failure::{Failure, WithContext};
use podlocal_harness::programs::target_directory;

/// The ASCII glyphs of DejaVu Sans; the licence is in the same folder.
const FONT: &[u8] = include_bytes!("plot/DejaVuSans.ttf");

/// The registered name of the font; viewers of the SVG have a font for it.
const FAMILY: &str = "sans-serif";

/// The size of one chart, in pixels.
const CHART: (u32, u32) = (620, 380);

/// The height of the line above the charts, in pixels.
const TITLE: u32 = 40;

/// Colours that people with any colour vision can distinguish (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
];

/// The flag with the path of the plot.
#[derive(Debug, Clone, clap::Args)]
pub struct PlotFlag {
    /// Write the plot to PREFIX.svg and PREFIX.png; default: the program's name in cargo's target directory.
    #[arg(long, value_name = "PREFIX")]
    plot: Option<PathBuf>,
}

impl PlotFlag {
    /// Whether the flag was given.
    pub fn is_given(&self) -> bool {
        self.plot.is_some()
    }

    /// Writes a page to that path, by default under `name` in cargo's target directory, and prints the paths.
    pub fn write(&self, page: &Page<impl Panel>, name: &str) -> Result<(), Failure> {
        let prefix = self.plot.clone().map_or_else(|| Ok(target_directory()?.join(name)), Ok)?;
        let [svg, png] = page.write(&prefix)?;
        eprintln!("plots: {} and {}", svg.display(), png.display());
        Ok(())
    }
}

/// Charts of one kind, two beside each other.
#[derive(Debug, Clone)]
pub struct Page<P = Chart> {
    /// The title above the charts.
    pub title: String,
    /// The charts, row by row.
    pub charts: Vec<P>,
}

/// A chart on a page.
pub trait Panel {
    /// Draws the chart. With `by_pieces` each piece of a line is drawn separately, because a bitmap draws a
    /// thick line far beyond a sharp corner.
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        by_pieces: bool,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>;
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
    /// The index of one of six colours; the same on every chart of a page for the same subject.
    pub colour: usize,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

impl<P: Panel> Page<P> {
    /// Writes `<prefix>.svg` and `<prefix>.png`, and returns the paths.
    pub fn write(&self, prefix: &Path) -> Result<[PathBuf; 2], Failure> {
        let with = |extension: &str| {
            let mut name = prefix.as_os_str().to_owned();
            name.push(format!(".{extension}"));
            PathBuf::from(name)
        };
        let files = [with("svg"), with("png")];
        if let Some(directory) = prefix.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        }
        for (file, bytes) in files.iter().zip([self.svg()?.into_bytes(), self.png()?]) {
            fs::write(file, bytes)
                .with_context(|| format!("writing {}; use --plot for another path", file.display()))?;
        }
        Ok(files)
    }

    /// The page as SVG.
    fn svg(&self) -> Result<String, Failure> {
        let mut text = String::new();
        self.draw(&SVGBackend::with_string(&mut text, self.size()).into_drawing_area(), false)?;
        Ok(text)
    }

    /// The page as PNG.
    fn png(&self) -> Result<Vec<u8>, Failure> {
        let (width, height) = self.size();
        let mut pixels = vec![0; width as usize * height as usize * 3];
        self.draw(&BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area(), true)?;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
        written.with_context(|| "writing a PNG".to_owned())?;
        Ok(bytes)
    }

    /// Width and height, in pixels.
    fn size(&self) -> (u32, u32) {
        let rows = u32::try_from(self.charts.len().div_ceil(2)).unwrap_or(1);
        (CHART.0 * if self.charts.len() > 1 { 2 } else { 1 }, CHART.1 * rows + TITLE)
    }

    /// Draws the page on a white background; `by_pieces` as for a [`Panel`].
    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>, by_pieces: bool) -> Result<(), Failure> {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| {
            // An error would appear below, as text that cannot be drawn.
            let _ = register_font(FAMILY, FontStyle::Normal, FONT);
        });
        let (title, charts) = root.split_vertically(TITLE);
        let columns = if self.charts.len() > 1 { 2 } else { 1 };
        let areas = charts.split_evenly((self.charts.len().div_ceil(columns), columns));
        let done = root
            .fill(&WHITE)
            .and_then(|()| title.draw_text(&self.title, &(FAMILY, 17).into_font().color(&BLACK), (12, 12)))
            .and_then(|()| {
                let mut charts = self.charts.iter().zip(&areas);
                charts.try_for_each(|(chart, area)| chart.draw(area, by_pieces))
            })
            .and_then(|()| root.present());
        done.map_err(|error| Failure::new(format!("drawing {:?}: {error}", self.title)))
    }
}

impl Panel for Chart {
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        by_pieces: bool,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let x = self.x.range(all().map(|(x, _)| *x));
        let y = self.y.range(all().map(|(_, y)| *y));
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).margin_right(24).x_label_area_size(42).y_label_area_size(64);
        builder.caption(&self.title, (FAMILY, 15).into_font().transform(FontTransform::None));
        let mut chart = builder.build_cartesian_2d(x.clone(), y.clone())?;
        let mut mesh = chart.configure_mesh();
        let (x_label, y_label) = (|value: &f64| self.x.shown(*value), |value: &f64| self.y.shown(*value));
        mesh.x_desc(self.x.label).y_desc(self.y.label).light_line_style(TRANSPARENT);
        mesh.bold_line_style(BLACK.mix(0.12)).label_style((FAMILY, 13)).axis_desc_style((FAMILY, 13));
        mesh.x_labels(self.x.most_labels(&x)).y_labels(self.y.most_labels(&y));
        mesh.x_label_formatter(&x_label).y_label_formatter(&y_label).draw()?;
        for line in &self.lines {
            let colour = COLOURS[line.colour % COLOURS.len()];
            let points: Vec<_> =
                line.points.iter().map(|(x, y)| (self.x.place(*x), self.y.place(*y))).collect();
            let bends = bends(&points);
            let length = if by_pieces { 2 } else { bends.len().max(2) };
            let pieces = bends.windows(length);
            let series = pieces.map(|piece| PathElement::new(piece.to_vec(), colour.stroke_width(2)));
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3));
            chart.draw_series(series)?.label(&line.name).legend(legend);
        }
        let mut labels = chart.configure_series_labels();
        labels.background_style(WHITE.mix(0.8)).label_font((FAMILY, 13)).border_style(BLACK.mix(0.2));
        labels.position(self.legend(&x, &y)).draw()
    }
}

impl Chart {
    /// The position of the legend: the corner with the fewest lines.
    fn legend(&self, x: &Range<f64>, y: &Range<f64>) -> SeriesLabelPosition {
        let share = |value: f64, of: &Range<f64>| (value - of.start) / (of.end - of.start);
        let place = |&(one, other): &(f64, f64)| (share(self.x.place(one), x), share(self.y.place(other), y));
        let between = |pair: &[(f64, f64)]| {
            let [from, to] = [pair[0], pair[1]].each_ref().map(place);
            (0..=STEPS)
                .map(move |step| f64::from(step) / f64::from(STEPS))
                .map(move |part| (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part))
        };
        let places: Vec<_> =
            self.lines.iter().flat_map(|line| line.points.windows(2).flat_map(between)).collect();
        let covered = |(_, right, top): &(SeriesLabelPosition, bool, bool)| {
            let (width, height) = LEGEND;
            let is_in = |(x, y): &&(f64, f64)| {
                (if *right { *x > 1.0 - width } else { *x < width })
                    && (if *top { *y > 1.0 - height } else { *y < height })
            };
            places.iter().filter(is_in).count()
        };
        let corners = [
            (SeriesLabelPosition::LowerRight, true, false),
            (SeriesLabelPosition::UpperRight, true, true),
            (SeriesLabelPosition::UpperLeft, false, true),
            (SeriesLabelPosition::LowerLeft, false, false),
        ];
        let best = corners.into_iter().min_by_key(covered);
        best.map_or(SeriesLabelPosition::UpperRight, |(position, ..)| position)
    }
}

/// The share of a chart that a legend with five lines covers, and the number of sample points per piece of a
/// line.
const LEGEND: (f64, f64) = (0.37, 0.36);
const STEPS: u32 = 20;

/// The points without those inside a level piece.
fn bends(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let level = |one: &(f64, f64), other: &(f64, f64)| (one.1 - other.1).abs() < f64::EPSILON;
    let is_bend = |index: usize| {
        let neighbours =
            index.checked_sub(1).and_then(|before| points.get(before)).zip(points.get(index + 1));
        neighbours
            .is_none_or(|(before, after)| !level(before, &points[index]) || !level(&points[index], after))
    };
    (0..points.len()).filter(|index| is_bend(*index)).map(|index| points[index]).collect()
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
    fn a_page_is_written_as_svg_with_its_words_and_as_png_of_its_size() {
        let line = Line { name: "one".to_owned(), colour: 0, points: vec![(0.0, 1.0), (2.0, 300.0)] };
        let chart = |scale| Chart {
            title: "Something over time".to_owned(),
            x: Axis::linear("seconds"),
            y: Axis { label: "queries", scale },
            lines: vec![line.clone()],
        };
        let page = Page {
            title: "A page".to_owned(),
            charts: [Scale::Linear, Scale::Logarithmic].map(chart).into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let [svg, png] = page.write(&folder.path().join("new/plot")).unwrap();
        let svg = fs::read_to_string(svg).unwrap();
        for word in ["A page", "Something over time", "seconds", "queries", "one", "1000"] {
            assert!(svg.contains(word), "{word}");
        }
        let bytes = fs::read(png).unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), page.size());
        assert!(bytes.len() > 5_000, "something is drawn");
    }

    #[test]
    fn the_legend_stands_in_the_corner_that_the_lines_leave_free() {
        let legend = |points: [(f64, f64); 3]| {
            let line = Line { name: String::new(), colour: 0, points: points.to_vec() };
            let [x, y] = ["x", "y"].map(Axis::linear);
            let chart = Chart { title: String::new(), x, y, lines: vec![line] };
            chart.legend(&(0.0..1.0), &(0.0..1.0))
        };
        let (low, high) = ((0.0, 0.0), (1.0, 1.0));
        assert!(matches!(legend([low, (0.1, 0.9), high]), SeriesLabelPosition::LowerRight));
        assert!(matches!(legend([(0.0, 1.0), low, (1.0, 0.0)]), SeriesLabelPosition::UpperRight));
        assert!(matches!(legend([low, (1.0, 0.0), high]), SeriesLabelPosition::UpperLeft));
    }

    #[test]
    fn a_level_line_is_drawn_over_its_full_length() {
        let points = [1.0, 1.0, 1.0, 1.0, 5.0, 5.0, 0.0].into_iter().enumerate();
        let points: Vec<_> = points.map(|(x, y)| (x as f64, y)).collect();
        assert_eq!(bends(&points), [(0.0, 1.0), (3.0, 1.0), (4.0, 5.0), (5.0, 5.0), (6.0, 0.0)]);
    }

    #[test]
    fn a_distribution_ends_at_all_of_them() {
        assert_eq!(distribution(&[1.0, 3.0], 100.0), [(1.0, 0.0), (1.0, 50.0), (3.0, 100.0)]);
        assert_eq!(distribution(&[], 100.0), []);
    }
}
