//! Keywords in file names: the letters a–z, spelt out by the folder's `dovecot-keywords`, one `number name` a line.

use std::path::Path;

use super::{Complaint, lines};

/// The file beside `cur`.
pub const NAME: &str = "dovecot-keywords";
/// Letters there are. Keywords past them cannot be said in a file name.
pub const LETTERS: usize = 26;
/// One keyword, octets; IMAP takes no longer ones.
const KEYWORD_BYTES_MAX: usize = 64;

/// The keywords of one folder, by letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letters([Option<Box<str>>; LETTERS]);

impl Letters {
    /// Those of a folder; none where it has no such file.
    #[must_use]
    pub fn read(folder: &Path, complaints: &mut Vec<Complaint>) -> Letters {
        let file = folder.join(NAME);
        let mut letters = Letters::default();
        for (number, line) in lines(&file, complaints).unwrap_or_default() {
            let known = line.split_once(' ').and_then(|(n, name)| Some((n.parse::<usize>().ok()?, name)));
            match known {
                Some((n, name)) if n < LETTERS && is_keyword(name) => letters.0[n] = Some(name.into()),
                // Dovecot keeps more of them in its index, where no letter leads to.
                Some((n, _)) if n >= LETTERS => {}
                _ => complaints.push(Complaint::at(&file, number, "no `number keyword`")),
            }
        }
        letters
    }

    /// What a letter means.
    #[must_use]
    pub fn keyword(&self, letter: u8) -> Option<&str> {
        self.0.get(usize::from(letter.checked_sub(b'a')?))?.as_deref()
    }

    /// The letter of a keyword, any case; a new one if need be. `None`: all are taken.
    pub fn letter(&mut self, keyword: &str) -> Option<u8> {
        let known = |k: &Option<Box<str>>| k.as_ref().is_none_or(|k| k.eq_ignore_ascii_case(keyword));
        let at = self.0.iter().position(known)?;
        self.0[at].get_or_insert_with(|| keyword.into());
        Some(b'a' + u8::try_from(at).expect("one of 26"))
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().flatten().enumerate().map(|(n, keyword)| format!("{n} {keyword}\n")).collect()
    }
}

/// True for what IMAP can say as a keyword: an atom that is no system flag (RFC 9051 §9).
#[must_use]
pub fn is_keyword(text: &str) -> bool {
    let atom = |b: u8| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b);
    (1..=KEYWORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(atom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_given_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut letters = Letters::default();
        assert_eq!(
            (letters.letter("$Junk"), letters.letter("work"), letters.letter("$junk")),
            (Some(b'a'), Some(b'b'), Some(b'a'))
        );
        std::fs::write(folder.path().join(NAME), letters.text()).unwrap();
        let mut complaints = Vec::new();
        assert_eq!(Letters::read(folder.path(), &mut complaints), letters);
        assert_eq!((letters.keyword(b'b'), letters.keyword(b'c'), letters.keyword(b'A')), (Some("work"), None, None));
        assert!(complaints.is_empty());
        for n in 2..LETTERS {
            assert!(letters.letter(&format!("k{n}")).is_some());
        }
        assert_eq!(letters.letter("one-more"), None);
    }

    #[test]
    fn what_is_no_keyword_is_complained_of() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "0 fine\n1 not fine\nx y\n2 \\Seen\n70 beyond\n").unwrap();
        let mut complaints = Vec::new();
        let letters = Letters::read(folder.path(), &mut complaints);
        assert_eq!((letters.keyword(b'a'), letters.keyword(b'b')), (Some("fine"), None));
        assert_eq!(complaints.iter().map(|c| c.line.unwrap()).collect::<Vec<_>>(), [2, 3, 4]);
    }
}
