//! Horizontal bars, each with its name before it and its value after it.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{COLOURS, FAMILY, Panel};

/// Bars over one axis that starts at 0.
#[derive(Debug, Clone)]
pub struct BarChart {
    /// The title, with the unit.
    pub title: String,
    /// The bars, from top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// The name before it.
    pub name: String,
    /// The length.
    pub value: f64,
    /// The text after it.
    pub text: String,
    /// The index of one of six colours.
    pub colour: usize,
}

impl Panel for BarChart {
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        _by_pieces: bool,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let most = self.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        // Room for the text after the longest bar.
        let end = if most > 0.0 { most * 1.18 } else { 1.0 };
        let count = i32::try_from(self.bars.len()).unwrap_or(i32::MAX);
        let name = |place: &SegmentValue<i32>| match place {
            // The axis grows upwards.
            SegmentValue::CenterOf(place) => {
                let bar = usize::try_from(count - 1 - place).ok().and_then(|index| self.bars.get(index));
                bar.map_or(String::new(), |bar| bar.name.clone())
            }
            _ => String::new(),
        };
        let mut builder = ChartBuilder::on(area);
        builder.margin(12).margin_right(24).x_label_area_size(8).y_label_area_size(96);
        builder.caption(&self.title, (FAMILY, 15).into_font().transform(FontTransform::None));
        let mut chart = builder.build_cartesian_2d(0.0..end, (0..count).into_segmented())?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_mesh().x_labels(0).y_labels(self.bars.len()).y_label_formatter(&name);
        mesh.label_style((FAMILY, 13)).axis_style(BLACK.mix(0.3)).draw()?;
        let label = (FAMILY, 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        for (place, bar) in (0..count).rev().zip(&self.bars) {
            let colour = COLOURS[bar.colour % COLOURS.len()];
            let corners = [(0.0, SegmentValue::Exact(place)), (bar.value, SegmentValue::Exact(place + 1))];
            let mut rectangle = Rectangle::new(corners, colour.filled());
            rectangle.set_margin(4, 4, 0, 0);
            chart.draw_series([rectangle])?;
            let at = (bar.value + end * 0.01, SegmentValue::CenterOf(place));
            chart.draw_series([Text::new(bar.text.clone(), at, label.clone())])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::Page;

    #[test]
    fn every_bar_has_its_name_and_its_value() {
        let bar = |name: &str, value: f64| Bar {
            name: name.to_owned(),
            value,
            text: format!("{value:.1} MiB"),
            colour: 3,
        };
        let chart =
            BarChart { title: "Memory".to_owned(), bars: vec![bar("the one", 2.4), bar("another", 17.3)] };
        let page = Page { title: "A page".to_owned(), charts: vec![chart.clone(), chart] };
        let svg = page.svg().unwrap();
        for word in ["A page", "Memory", "the one", "another", "2.4 MiB", "17.3 MiB"] {
            assert_eq!(svg.matches(word).count(), if word == "A page" { 1 } else { 2 }, "{word}");
        }
        assert!(page.png().is_ok());
    }
}
