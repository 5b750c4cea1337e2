//! What somebody meant who mistyped a word. Pure.

/// `; did you mean --trace?` where one of `known` is near to `word`, else nothing; `prefix` stands before it.
pub fn did_you_mean<'a>(word: &str, prefix: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|name| format!("; did you mean {prefix}{name}?")).unwrap_or_default()
}

/// The known word that is nearest to `word`, when at most one letter in three differs, and one in short
/// words.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|name| (distance(word, name), name));
    distances
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters have to be put in, taken out, replaced or swapped with the next (optimal string
/// alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 0..one.len() {
        let mut row = vec![i + 1];
        for j in 0..other.len() {
            let replaced = last[j] + usize::from(one[i] != other[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i] == other[j - 1] && one[i - 1] == other[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_put_in_taken_out_replaced_and_swapped_are_counted() {
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
    fn a_word_that_is_near_to_no_other_is_not_guessed() {
        let known = ["serve", "check", "inject"];
        assert_eq!(did_you_mean("chekc", "", known), "; did you mean check?");
        assert_eq!(did_you_mean("injct", "--", known), "; did you mean --inject?");
        for word in ["", "x", "lookup", "app.yaml"] {
            assert_eq!(did_you_mean(word, "", known), "", "{word}");
        }
    }
}
