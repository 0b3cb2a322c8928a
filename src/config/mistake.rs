//! What is wrong with a configuration, and where: each mistake is one line, `ringpost.toml:LINE:COLUMN: what to do`.

use std::fmt;
use std::path::PathBuf;

/// Mistakes shown. More are counted.
pub const MISTAKES_MAX: usize = 100;

/// A word that is compared with those we know, octets. Longer: it is no slip of the pen.
const WORD_BYTES_MAX: usize = 64;

/// A place in the file. Both count from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Where a value, or a mistake, comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A place in the file.
    File(Place),
    /// A flag of the command line, as `--shards`.
    Flag(&'static str),
    /// Nobody said anything.
    Default,
}

/// Something to correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub at: Source,
    /// What to do.
    pub why: String,
}

/// Everything to correct, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// What to correct.
    pub list: Vec<Mistake>,
}

impl Mistakes {
    /// How many lines they take, one each, when shown.
    #[must_use]
    pub fn shown(&self) -> usize {
        self.list.len().min(MISTAKES_MAX)
    }

    /// Puts them into the order of the file.
    pub fn sort(&mut self) {
        self.list.sort_by(|a, b| (&a.at, &a.why).cmp(&(&b.at, &b.why)));
        self.list.dedup();
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map(|f| f.display().to_string()).unwrap_or_default();
        for (i, mistake) in self.list.iter().take(MISTAKES_MAX).enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            // A sentence may quote the file: it stays one line whatever is there.
            let why: String = mistake.why.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            match &mistake.at {
                Source::File(Place { line, column }) => write!(f, "{newline}{file}:{line}:{column}: {why}")?,
                Source::Flag(flag) => write!(f, "{newline}{flag}: {why}")?,
                Source::Default => write!(f, "{newline}{why}")?,
            }
        }
        match self.list.len() - self.shown() {
            0 => Ok(()),
            more => write!(f, "\nand {more} more: correct these first"),
        }
    }
}

/// The lines of a text, to tell places by.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Of this text.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { text, starts }
    }

    /// The octets of the line around an octet, without its end.
    #[must_use]
    pub fn around(&self, at: usize) -> std::ops::Range<usize> {
        let line = self.starts.partition_point(|start| *start <= at);
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        self.starts[line - 1]..end
    }

    /// The place of an octet; one beyond the end, or within a character, is told by what is before it.
    #[must_use]
    pub fn place(&self, at: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[line - 1];
        let end = at.min(self.text.len());
        let column = self.text.as_bytes()[start..end].iter().filter(|b| !matches!(b, 0x80..=0xbf)).count();
        Place { line, column: column + 1 }
    }
}

/// The candidate that a word was probably meant to be.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.replace('-', "_").to_lowercase();
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let near = candidates.map(|c| (strsim::osa_distance(&word, c), c)).min()?;
    (near.0 <= (word.chars().count() / 3).clamp(1, 4)).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let lines = Lines::of("a\nbü = 1\r\n\nx");
        let at = |octet| {
            let Place { line, column } = lines.place(octet);
            (line, column)
        };
        assert_eq!([at(0), at(1), at(2), at(3)], [(1, 1), (1, 2), (2, 1), (2, 2)]);
        assert_eq!(at(5), (2, 3), "behind the ü");
        assert_eq!([at(11), at(12), at(99)], [(3, 1), (4, 1), (4, 2)]);
        assert_eq!([lines.around(0), lines.around(4), lines.around(99)], [0..1, 2..10, 12..13]);
        assert_eq!(Lines::of("").around(0), 0..0);
        assert_eq!(Lines::of("").place(0), Place { line: 1, column: 1 });
    }

    #[test]
    fn a_slip_of_the_pen_is_near_and_another_word_is_not() {
        let words = ["hostname", "port_offset", "data"];
        let near = |word| nearest(word, words.into_iter());
        assert_eq!(near("hostnmae"), Some("hostname"));
        assert_eq!(near("Port-Offset"), Some("port_offset"));
        assert_eq!(near("dta"), Some("data"));
        assert_eq!(near("relay"), None);
        assert_eq!(near(""), None);
    }

    #[test]
    fn mistakes_are_one_line_each_and_no_more_than_a_screenful() {
        let at = Source::File(Place { line: 1, column: 2 });
        let mut many = Mistakes { file: Some("f".into()), list: vec![Mistake { at, why: "a\nb".into() }; 1] };
        assert_eq!(many.to_string(), "f:1:2: a\u{fffd}b");
        many.list = (0..250).map(|n| Mistake { at: Source::Default, why: format!("{n:03}") }).collect();
        assert_eq!(many.to_string().lines().count(), MISTAKES_MAX + 1);
        assert!(many.to_string().ends_with("and 150 more: correct these first"));
    }
}
