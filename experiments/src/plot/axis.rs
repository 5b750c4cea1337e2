//! An axis: the positions of values, and the labels.

use std::ops::Range;

/// An axis. It starts at 0, or when logarithmic at the largest power of ten below the values.
#[derive(Debug, Clone)]
pub struct Axis {
    pub(super) label: &'static str,
    is_logarithmic: bool,
}

impl Axis {
    /// A linear axis; the label is quantity and unit.
    pub fn linear(label: &'static str) -> Self {
        Self { label, is_logarithmic: false }
    }

    /// A logarithmic axis; the label is quantity and unit. Values below 0.01 are drawn at 0.01.
    pub fn logarithmic(label: &'static str) -> Self {
        Self { label, is_logarithmic: true }
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        if self.is_logarithmic { value.max(0.01).log10() } else { value }
    }

    pub(super) fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let places: Vec<f64> = values.map(|value| self.place(value)).collect();
        let most = places.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = places.iter().copied().fold(f64::INFINITY, f64::min).floor();
        match self.is_logarithmic {
            _ if most == f64::NEG_INFINITY => 0.0..1.0,
            true => least..most.ceil().max(least + 1.0),
            false => 0.0..if most > 0.0 { most * 1.05 } else { 1.0 },
        }
    }

    /// The largest number of labels; on a logarithmic axis one for each power of ten.
    pub(super) fn labels(&self, range: &Range<f64>) -> usize {
        #[expect(clippy::cast_sign_loss, reason = "an end is not below its beginning")]
        if self.is_logarithmic { (range.end - range.start) as usize + 1 } else { 8 }
    }

    pub(super) fn text(&self, place: f64) -> String {
        let value = if self.is_logarithmic { 10_f64.powf(place) } else { place };
        ((value * 100.0).round() / 100.0).to_string()
    }
}
