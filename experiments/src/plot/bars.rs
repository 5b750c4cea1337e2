//! Bar charts: for each quantity, the values of those that are compared.

use plotters::prelude::*;

use super::{Area, Drawn, HEAD, colour, font, svg};
use podlocal_harness::failure::Failure;

/// Horizontal bars over one axis that starts at 0.
#[derive(Debug, Clone)]
pub struct Bars {
    /// The title, with the unit.
    pub title: String,
    /// The bars, from top to bottom: one of six colours, the name before it, the length, the text after it.
    pub bars: Vec<(usize, String, f64, String)>,
}

/// A page with bar charts.
pub fn bars(title: &str, charts: &[Bars]) -> Result<String, Failure> {
    svg(title, charts.len(), |root, grid| {
        let (_, places) = root.split_vertically(HEAD / 2);
        charts.iter().zip(&places.split_evenly(grid)).try_for_each(|(chart, area)| chart.draw(area))
    })
}

impl Bars {
    fn draw(&self, area: &Area<'_>) -> Drawn {
        let area = area.margin(12, 12, 0, 0).titled(&self.title, font(15))?;
        let (width, height) = area.dim_in_pixel();
        let row = (f64::from(height) / self.bars.len().max(1) as f64) as i32;
        let most = self.bars.iter().map(|(_, _, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (index, (place, name, value, text)) in (0..).zip(&self.bars) {
            let (top, end) = (row * index, 120 + (value / most * f64::from(width - 240)) as i32);
            let bar = [(120, top + 4), (end, top + row - 4)];
            area.draw(&Rectangle::new(bar, colour(*place).filled()))?;
            area.draw_text(name, &font(13), (12, top + row / 2 - 6))?;
            area.draw_text(text, &font(13), (end + 6, top + row / 2 - 6))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_has_its_name_and_its_value() {
        let bar = |name: &str, value: f64| (0, name.to_owned(), value, format!("{value:.1} MiB"));
        let chart =
            Bars { title: "Memory".to_owned(), bars: vec![bar("the one", 2.4), bar("another", 17.3)] };
        let svg = bars("A page", &[chart.clone(), chart]).unwrap();
        for word in ["Memory", "the one", "another", "2.4 MiB", "17.3 MiB"] {
            assert_eq!(svg.matches(word).count(), 2, "{word}");
        }
    }
}
