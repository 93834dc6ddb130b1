//! As much of Markdown as the documents use: fenced blocks, headings, links, code spans, tables.

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// What follows the opening fence: `toml`, `console`, …
    pub(crate) info: &'a str,
    /// The lines between the fences, each with its line end.
    pub(crate) text: String,
    /// The line of the opening fence, from 1.
    pub(crate) line: usize,
}

/// A table: the heading it stands under, and its cells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table<'a> {
    pub(crate) heading: &'a str,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// The fenced blocks of a text.
pub(crate) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => found.push(block),
            (Some(info), None) => open = Some(Block { info, text: String::new(), line: index + 1 }),
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    found
}

/// The lines outside of fenced blocks, with their numbers, from 1.
pub(crate) fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.push((index + 1, line));
        }
    }
    found
}

/// The headings, without their marks.
fn heading(line: &str) -> Option<&str> {
    line.starts_with('#').then(|| line.trim_start_matches('#').trim())
}

/// The names by which GitHub lets headings be linked to; a repeated one gets a number.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for title in prose(text).into_iter().filter_map(|(_, line)| heading(line)) {
        let kept = title.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let before = found.iter().filter(|other| **other == slug).count();
        found.push(if before == 0 { slug } else { format!("{slug}-{before}") });
    }
    found
}

/// The targets of inline links and images, with the line of each. Text in code spans is no link.
pub(crate) fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, words) in prose(text) {
        // The text of a link may hold a code span, so spans are emptied and not cut out.
        let words = without_spans(words);
        for (at, _) in words.match_indices("](") {
            let target: String = words[at + 2..].chars().take_while(|&c| c != ')').collect();
            found.push((line, target));
        }
    }
    found
}

fn without_spans(line: &str) -> String {
    line.split('`').enumerate().filter(|(part, _)| part % 2 == 0).map(|(_, text)| text).collect()
}

/// The code spans of the prose, with the line of each.
pub(crate) fn spans(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (line, words) in prose(text) {
        found.extend(words.split('`').skip(1).step_by(2).map(|span| (line, span)));
    }
    found
}

/// The tables.
pub(crate) fn tables(text: &str) -> Vec<Table<'_>> {
    let mut found: Vec<Table<'_>> = Vec::new();
    let mut title = "";
    let mut last_row = 0;
    for (number, line) in prose(text) {
        if let Some(next) = heading(line) {
            title = next;
        }
        let Some(cells) = cells(line) else { continue };
        match found.last_mut().filter(|_| last_row + 1 == number) {
            Some(_) if cells.iter().all(|cell| cell.trim_matches([':', '-']).is_empty()) => {}
            Some(table) => table.rows.push(cells),
            None => found.push(Table { heading: title, header: cells, rows: Vec::new() }),
        }
        last_row = number;
    }
    found
}

/// The cells of a row; `\|` is a bar within a cell.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?.replace("\\|", "\u{1}");
    Some(inner.split('|').map(|cell| cell.replace('\u{1}', "|").trim().to_owned()).collect())
}

mod checks {
    use super::*;

    const TEXT: &str = "\
# `[a]` One, two

See [one](#a-one-two), [`x`](y.md#z) and `[no](link)`.

| key | is |
| --- | ---: |
| `a` | one \\| two |

## Same
```toml
# not a heading
[no](link)
```
## Same
";

    #[test]
    fn markdown_is_read() {
        assert_eq!(anchors(TEXT), ["a-one-two", "same", "same-1"]);
        assert_eq!(links(TEXT), [(3, "#a-one-two".to_owned()), (3, "y.md#z".to_owned())]);
        assert_eq!(spans(TEXT)[1..3], [(3, "x"), (3, "[no](link)")]);
        let block = Block { info: "toml", text: "# not a heading\n[no](link)\n".to_owned(), line: 10 };
        assert_eq!(blocks(TEXT), [block]);
        let [table] = &tables(TEXT)[..] else { panic!("one table") };
        assert_eq!((table.heading, &table.header[..]), ("`[a]` One, two", &["key".into(), "is".into()][..]));
        assert_eq!(table.rows, [["`a`".to_owned(), "one | two".to_owned()]]);
    }
}
