//! The table of metrics in the documentation, generated from the metrics of the programs.

use std::collections::BTreeSet;

use super::exposition::{Families, Family};

/// The markers for the beginning and the end of the table in the document.
pub const MARKS: [&str; 2] = ["<!-- metrics: `monitoring write` -->\n", "<!-- end of metrics -->"];

/// The document with the current table.
///
/// `None` when a marker is missing.
#[must_use]
pub fn updated_document(document: &str, families: &Families) -> Option<String> {
    let [begin, end] = MARKS;
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{}{end}{after}", table(families)))
}

/// The table, with one row for each family.
fn table(families: &Families) -> String {
    let mut text = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, family) in families {
        text += &format!("| `{name}` | {} | {} | {} |\n", family.kind, labels(family), family.help);
    }
    text
}

/// Each label with its values; only the name of labels whose values depend on the installation.
fn labels(family: &Family) -> String {
    let is_open = |label: &str| ["address", "version", "zone"].contains(&label);
    let shown = |(label, values): (&String, &BTreeSet<String>)| {
        let values = values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        if is_open(label) { label.clone() } else { format!("{label}: {values}") }
    };
    let labels = family.labels.iter().filter(|(label, _)| *label != "le");
    labels.map(shown).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::exposition::read;
    use super::*;

    #[test]
    fn the_table_stands_between_its_marks_and_what_is_around_stays() {
        let page = "# HELP a_total How many.\n# TYPE a_total counter\na_total{kind=\"x\"} 1\na_total{kind=\"y\"} 1\n";
        let families = read(page).unwrap();
        let document = format!("before\n{}old\n{}\nafter\n", MARKS[0], MARKS[1]);
        let new = updated_document(&document, &families).unwrap();
        assert!(new.starts_with("before\n") && new.ends_with("\nafter\n") && !new.contains("old"), "{new}");
        assert!(new.contains("| `a_total` | counter | kind: `x`, `y` | How many |\n"), "{new}");
        assert_eq!(updated_document("no marks", &families), None);
    }
}
