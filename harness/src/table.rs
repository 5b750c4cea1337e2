//! Printed tables, and the percentiles in them.

/// Aligns rows of equal length: each column is as wide as its widest cell. The first column holds text, the
/// others numbers.
pub fn align<Row: AsRef<[String]>>(rows: &[Row]) -> String {
    let cells = || rows.iter().map(AsRef::as_ref);
    let width =
        |column: usize| cells().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..).map_while(width).collect();
    let mut text = String::new();
    for row in cells() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => text += &format!("{cell:<width$}"),
                _ => text += &format!("  {cell:>width$}"),
            }
        }
        text.push('\n');
    }
    text
}

/// The text of a cell, from the item of its row.
pub type Cell<'a, Item> = &'a dyn Fn(&Item) -> String;

/// A table with one row per item; a column is its header, and the text of its cells.
pub fn columns<Item>(items: &[Item], columns: &[(&str, Cell<'_, Item>)]) -> String {
    let header = columns.iter().map(|(header, _)| (*header).to_owned()).collect();
    let row = |item| columns.iter().map(|(_, cell)| cell(item)).collect();
    align(&[header].into_iter().chain(items.iter().map(row)).collect::<Vec<Vec<String>>>())
}

/// The smallest value that at least `share` of the ascending values do not exceed (nearest rank); 0 for no
/// values.
pub fn percentile(ascending: &[f64], share: f64) -> f64 {
    // A rank is a small whole number, so the cast after `ceil` is exact.
    #[expect(clippy::cast_sign_loss, reason = "shares and lengths are not negative")]
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(rank.max(1) - 1).copied().unwrap_or_default()
}

/// Percentiles of values in any order.
pub fn percentiles<const N: usize>(values: impl IntoIterator<Item = f64>, shares: [f64; N]) -> [f64; N] {
    let mut ascending: Vec<_> = values.into_iter().collect();
    ascending.sort_by(f64::total_cmp);
    shares.map(|share| percentile(&ascending, share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values = (1..=200).rev().map(f64::from);
        assert_eq!(
            percentiles(values, [0.5, 0.99, 1.0]).map(f64::to_bits),
            [100.0, 198.0, 200.0].map(f64::to_bits)
        );
        assert_eq!(percentile(&[], 0.5).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn columns_line_up() {
        let rows = [["arm", "ms"], ["direct", "1200"]].map(|row| row.map(str::to_owned));
        assert_eq!(align(&rows), "arm       ms\ndirect  1200\n");
    }
}
