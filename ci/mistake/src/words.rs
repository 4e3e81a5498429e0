//! The word that was probably meant.

/// The candidate closest to what was written, when it is close enough to be a slip of the hand.
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = |candidate: &str| 1 + candidate.chars().count().max(written.chars().count()) / 4;
    candidates
        .into_iter()
        .map(|candidate| (distance(written, candidate), letters(candidate) != letters(written), candidate))
        .filter(|(distance, _, candidate)| *distance <= near(candidate))
        .min()
        .map(|(_, _, candidate)| format!("did you mean `{candidate}`?"))
}

/// "unknown field `need`, expected one of `needs`, `deadline`" → "did you mean `needs`?"
pub(crate) fn suggestion_in(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    if !is_unknown {
        return None;
    }
    let written = quoted.next()?;
    // TOML's reader quotes what it expected, YAML's lists it bare.
    let bare = message.split_once("expected one of ").or_else(|| message.split_once("expected "));
    let candidates: Vec<&str> = match quoted.collect::<Vec<_>>() {
        quoted if quoted.is_empty() => bare.into_iter().flat_map(|(_, list)| list.split(", ")).collect(),
        quoted => quoted,
    };
    did_you_mean(written, candidates)
}

/// Optimal string alignment: insertions, deletions, substitutions and neighbours swapped each cost 1.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (row, from) in left.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, to) in right.iter().enumerate() {
            let substituted = rows[row][column] + usize::from(from != to);
            let mut best = substituted.min(rows[row][column + 1] + 1).min(next[column] + 1);
            let swapped = row > 0 && column > 0 && *from == right[column - 1] && left[row - 1] == *to;
            if swapped {
                best = best.min(rows[row - 1][column - 1] + 1);
            }
            next.push(best);
        }
        rows.push(next);
    }
    rows[left.len()][right.len()]
}

/// The letters in order: of two words equally close, the one with the same letters was probably meant.
fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_pair_costs_one_and_far_words_are_not_suggested() {
        assert_eq!(distance("naems", "names"), 1);
        assert_eq!(did_you_mean("need", ["needs", "deadline"]), Some("did you mean `needs`?".into()));
        assert_eq!(did_you_mean("colour", ["needs", "deadline"]), None);
    }

    #[test]
    fn of_two_words_equally_close_the_one_with_the_same_letters_is_meant() {
        assert_eq!(did_you_mean("tga", ["tag", "toga"]), Some("did you mean `tag`?".into()));
        assert_eq!(did_you_mean("tga", ["toga", "tag"]), Some("did you mean `tag`?".into()));
    }

    #[test]
    fn a_reader_names_what_it_expected_in_either_form() {
        let quoted = "unknown field `need`, expected one of `needs`, `deadline`";
        assert_eq!(suggestion_in(quoted), Some("did you mean `needs`?".into()));
        let bare = "unknown field `need`, expected one of needs, deadline";
        assert_eq!(suggestion_in(bare), Some("did you mean `needs`?".into()));
        let far = "unknown variant `x`, expected `needs` or `deadline`";
        assert_eq!(suggestion_in(far), None, "the message lists them");
        assert_eq!(suggestion_in("invalid type: integer `3`"), None);
    }
}
