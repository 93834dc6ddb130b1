//! What is wrong with a file, where, and what to do about it: every problem at once, as text for a terminal.

use std::fmt;

/// Problems of one file that are reported. More than these mostly come from one mistake.
pub const PROBLEMS_MAX: usize = 100;

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` where the file could not be read at all.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// A place in a file, with its line as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, the first being 1.
    pub line: usize,
    /// The column in characters, the first being 1.
    pub column: usize,
    /// The line's text, without control characters, cut where it is very long.
    pub text: String,
    /// Characters of `text` before the underline.
    pub indent: usize,
    /// Characters underlined, at least one.
    pub marked: usize,
}

/// Everything that is wrong with one file, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file as the user named it.
    pub file: String,
    /// What is told, at most [`PROBLEMS_MAX`].
    pub told: Vec<Problem>,
    /// Problems beyond those.
    pub untold: usize,
}

impl Problem {
    /// One line for a log: `apex.toml:12:1: unknown key …; did you mean …`.
    pub fn line_for_log(&self, file: &str) -> String {
        let mut line = match &self.place {
            Some(place) => format!("{file}:{}:{}: {}", place.line, place.column, self.what),
            None => format!("{file}: {}", self.what),
        };
        if !self.hint.is_empty() {
            line.push_str("; ");
            line.push_str(&self.hint);
        }
        line
    }

    fn write(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.what)?;
        let Some(place) = &self.place else {
            return if self.hint.is_empty() { Ok(()) } else { writeln!(f, "  hint: {}", self.hint) };
        };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        // A tab before the place is written below it too, so that the underline stands right at any width of tabs.
        let indent: String =
            place.text.chars().take(place.indent).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let underline = "^".repeat(place.marked);
        writeln!(f, "{margin}--> {file}:{}:{}", place.line, place.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{}", format!("{number} | {}", place.text).trim_end())?;
        writeln!(f, "{}", format!("{margin} | {indent}{underline} {}", self.hint).trim_end())
    }
}

impl Problems {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.told.len() + self.untold
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.told.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.write(&self.file, f)?;
        }
        if self.untold > 0 {
            writeln!(f, "\nand {} more", self.untold)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
