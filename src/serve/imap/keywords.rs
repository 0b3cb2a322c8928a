//! The keywords of a mailbox: how each is spelt there, and how many there may be (A126).

use std::collections::BTreeMap;

use ringpost_storage::Message;

use crate::proto::imap::{FlagList, No};

/// Different keywords in one mailbox. More: NO [LIMIT].
const KEYWORDS_MAX: usize = 1_024;

/// Keywords by their lower case; two spellings of one are one. At most [`KEYWORDS_MAX`].
pub(super) struct Keywords(BTreeMap<String, Box<str>>);

impl Keywords {
    /// Those in use.
    pub(super) fn of<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Keywords {
        let mut known = Keywords(BTreeMap::new());
        // Of more than there may be, which can only come from another time, those beyond are not shown.
        let _ = known.take(messages.into_iter().flat_map(|m| m.keywords()));
        known
    }

    /// Takes in what is not known yet.
    pub(super) fn take<'a>(&mut self, keywords: impl IntoIterator<Item = &'a Box<str>>) -> Result<(), No> {
        for keyword in keywords {
            let folded = keyword.to_ascii_lowercase();
            if self.0.contains_key(&folded) {
                continue;
            }
            if self.0.len() >= KEYWORDS_MAX {
                return Err(No::Limit);
            }
            self.0.insert(folded, keyword.clone());
        }
        Ok(())
    }

    /// The flags with their keywords spelt as they are known; new ones are known from now on.
    pub(super) fn spelt(&mut self, flags: &FlagList) -> Result<FlagList, No> {
        self.take(&flags.keywords)?;
        let mut keywords: Vec<Box<str>> =
            flags.keywords.iter().filter_map(|k| self.0.get(&k.to_ascii_lowercase()).cloned()).collect();
        keywords.sort_unstable();
        keywords.dedup();
        Ok(FlagList { bits: flags.bits, keywords })
    }

    /// All of them, sorted.
    pub(super) fn into_all(self) -> Vec<Box<str>> {
        self.0.into_values().collect()
    }
}

/// The flags with their keywords spelt as these messages have them.
pub(super) fn spelt_as_known(flags: &FlagList, messages: &[Message]) -> Result<FlagList, No> {
    if flags.keywords.is_empty() { Ok(flags.clone()) } else { Keywords::of(messages).spelt(flags) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(keywords: &[&str]) -> FlagList {
        FlagList { bits: 0, keywords: keywords.iter().map(|k| (*k).into()).collect() }
    }

    #[test]
    fn a126_keywords_are_spelt_as_they_were_first_and_come_to_an_end() {
        let mut known = Keywords::of(&[]);
        assert_eq!(known.spelt(&flags(&["Junk", "b"])), Ok(flags(&["Junk", "b"])));
        assert_eq!(known.spelt(&flags(&["JUNK", "a"])), Ok(flags(&["Junk", "a"])));
        for n in 4..KEYWORDS_MAX {
            assert!(known.spelt(&flags(&[&format!("k{n}")])).is_ok());
        }
        assert!(known.spelt(&flags(&["last"])).is_ok());
        assert_eq!(known.spelt(&flags(&["one-more"])), Err(No::Limit));
        assert_eq!(known.spelt(&flags(&["LAST"])), Ok(flags(&["last"])));
        assert_eq!(known.into_all().len(), KEYWORDS_MAX);
    }
}
