//! The known word nearest to a mistyped one, for hints. It never decides anything: a word is right or it is refused.

/// Characters of a word that is compared at all; every key and flag of Apex is far shorter, and the distance costs the
/// product of both lengths.
const WORD_CHARS_MAX: usize = 64;

/// The one of `known` that was most likely meant by `word`; `None` where nothing is near enough to be worth a hint.
///
/// Letter case and `-` for `_` are forgiven. A whole first part counts as near: `timeout` is near `timeout_secs`.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = plain(word)?;
    let mut best: Option<(usize, &'k str)> = None;
    for &candidate in known {
        let Some(plain_candidate) = plain(candidate) else { continue };
        let edits = distance(&word, &plain_candidate);
        // A third of the letters may be wrong, one in any case: more, and the hint would be a guess.
        let allowed = (word.len().max(plain_candidate.len()) / 3).max(1);
        if edits <= allowed && best.is_none_or(|(fewest, _)| edits < fewest) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate).or_else(|| begins(&word, known))
}

/// The first of `known` of which `word` is the first part, up to a `_`.
fn begins<'k>(word: &[char], known: &[&'k str]) -> Option<&'k str> {
    known.iter().copied().find(|candidate| {
        let mut letters = candidate.chars();
        !word.is_empty()
            && word.iter().all(|&letter| letters.next() == Some(letter))
            && letters.next() == Some('_')
    })
}

/// Lower case, with `_` for `-`; `None` where the word is too long to be compared.
fn plain(word: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = word
        .chars()
        .take(WORD_CHARS_MAX + 1)
        .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
        .collect();
    (letters.len() <= WORD_CHARS_MAX).then_some(letters)
}

/// Edits from `a` to `b`: a letter put in, taken out or replaced, or two neighbours swapped (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut fewest = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                fewest = fewest.min(before_last[j - 2] + 1);
            }
            row.push(fewest);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known =
            ["name", "host", "path_prefix", "strip_prefix", "timeout_secs", "header_timeout_secs", "url"];
        let cases = [
            ("path_prefx", Some("path_prefix")),
            ("path-prefix", Some("path_prefix")),
            ("Path_Prefix", Some("path_prefix")),
            ("nmae", Some("name")),
            ("hosts", Some("host")),
            ("timeout", Some("timeout_secs")),
            ("timeout_ms", Some("timeout_secs")),
            ("path", Some("path_prefix")),
            ("uri", Some("url")),
            ("colour", None),
            ("", None),
            ("x", None),
        ];
        for (word, meant) in cases {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), &known), None);
    }

    #[test]
    fn counts_edits() {
        let edits =
            |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(edits("", ""), 0);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "acb"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
