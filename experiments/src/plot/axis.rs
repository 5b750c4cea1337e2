//! An axis: the positions of values, and the labels.

use std::ops::Range;

/// An axis. It starts at 0, or with [`Scale::Logarithmic`] at the largest power of ten below the values.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Quantity and unit.
    pub label: &'static str,
    /// Its scale.
    pub scale: Scale,
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub enum Scale {
    Linear,
    Logarithmic,
}

/// The smallest value of a logarithmic axis.
const LEAST: f64 = 0.01;

impl Axis {
    /// A linear axis from 0; the label is quantity and unit.
    pub fn linear(label: &'static str) -> Self {
        Self { label, scale: Scale::Linear }
    }

    /// A logarithmic axis; the label is quantity and unit. Values below 0.01 are drawn at 0.01.
    pub fn logarithmic(label: &'static str) -> Self {
        Self { label, scale: Scale::Logarithmic }
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(LEAST).log10(),
        }
    }

    pub(super) fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let places: Vec<f64> = values.map(|value| self.place(value)).collect();
        let most = places.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = places.iter().copied().fold(f64::INFINITY, f64::min);
        match self.scale {
            Scale::Linear => 0.0..if most > 0.0 { most * 1.05 } else { 1.0 },
            Scale::Logarithmic if places.is_empty() => 0.0..1.0,
            Scale::Logarithmic => least.floor()..most.ceil().max(least.floor() + 1.0),
        }
    }

    pub(super) fn most_labels(&self, range: &Range<f64>) -> usize {
        match self.scale {
            Scale::Linear => 8,
            // One label for each power of ten. The numbers are small and positive, so the cast is exact.
            #[expect(clippy::cast_sign_loss, reason = "an end is not below its beginning")]
            Scale::Logarithmic => (range.end - range.start) as usize + 1,
        }
    }

    pub(super) fn shown(&self, place: f64) -> String {
        let value = match self.scale {
            Scale::Linear => place,
            Scale::Logarithmic => 10_f64.powf(place),
        };
        let decimals = match value.abs() {
            size if size >= 10.0 || size == 0.0 => 0,
            size if size >= 1.0 && value.fract() == 0.0 => 0,
            size if size >= 0.1 => 1,
            _ => 2,
        };
        format!("{value:.decimals$}")
    }
}
