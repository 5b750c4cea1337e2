//! Suggestions for mistyped words. Pure.

/// `; did you mean --trace?` if one of `known` is similar to `word`, otherwise an empty text; `prefix` is put
/// before it.
pub fn did_you_mean<'a>(word: &str, prefix: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|name| format!("; did you mean {prefix}{name}?")).unwrap_or_default()
}

/// The known word that is most similar to `word`, if at most a third of its letters differ, or one letter of
/// a short word.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let max = (word.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|name| (distance(word, name), name));
    distances
        .filter(|(distance, _)| *distance <= max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The number of letters that must be inserted, deleted, replaced or swapped with the next one (optimal
/// string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 0..one.len() {
        let mut row = vec![i + 1];
        for j in 0..other.len() {
            let replaced = last[j] + usize::from(one[i] != other[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i] == other[j - 1] && one[i - 1] == other[j] {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits_of_letters() {
        for (one, other, expected) in [
            ("trace", "trace", 0),
            ("trce", "trace", 1),
            ("tracee", "trace", 1),
            ("trade", "trace", 1),
            ("chekc", "check", 1),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn a_word_without_a_similar_one_has_no_suggestion() {
        let known = ["serve", "check", "inject"];
        assert_eq!(did_you_mean("chekc", "", known), "; did you mean check?");
        assert_eq!(did_you_mean("injct", "--", known), "; did you mean --inject?");
        for word in ["", "x", "lookup", "app.yaml"] {
            assert_eq!(did_you_mean(word, "", known), "", "{word}");
        }
    }
}
