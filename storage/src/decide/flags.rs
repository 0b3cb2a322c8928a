//! What becomes of a message's flags: by a STORE, and in the mailbox that it is copied to.
//!
//! A keyword is the same in either case of its ASCII letters (RFC 9051 §2.3.2), and a message has it once. The first
//! spelling stays: adding it in another one changes nothing, and removing it removes every spelling, also where a log of before
//! this rule has two of them on one message. All spellings are of one length, so no bound depends on which one it is.

use std::cmp::Ordering;

use crate::transaction::FlagsHow;
use crate::types::Flags;

/// A change of flags, to be made of many messages.
pub(super) struct Change<'a> {
    how: FlagsHow,
    bits: u32,
    keywords: Vec<&'a str>,
}

impl<'a> Change<'a> {
    pub fn new(how: FlagsHow, flags: &'a Flags) -> Self {
        Change { how, bits: flags.bits, keywords: folded(flags.keywords()) }
    }

    /// What it makes of these (RFC 9051 §6.4.6).
    pub fn of(&self, was: &Flags) -> Flags {
        let had = folded(was.keywords());
        let (bits, keywords): (u32, Vec<&str>) = match self.how {
            FlagsHow::Replace => {
                (self.bits, self.keywords.iter().map(|k| found(&had, k).map_or(*k, |at| had[at])).collect())
            }
            FlagsHow::Add => {
                let new = self.keywords.iter().filter(|k| found(&had, k).is_none());
                (was.bits | self.bits, had.iter().chain(new).copied().collect())
            }
            FlagsHow::Remove => {
                let kept = had.iter().filter(|k| found(&self.keywords, k).is_none());
                (was.bits & !self.bits, kept.copied().collect())
            }
        };
        let keywords = keywords.into_iter().map(Box::from).collect();
        with(bits, keywords)
    }
}

/// The flags with each keyword once.
pub(super) fn once(flags: &Flags) -> Flags {
    with(flags.bits, folded(flags.keywords()).into_iter().map(Box::from).collect())
}

/// Spells the keywords of those that come as `known` has them, first come first served; what is not known there, all in
/// one way.
pub(super) fn spell<'a>(coming: &mut [&mut Flags], known: impl Iterator<Item = &'a [Box<str>]>) {
    let mut spelt: Vec<Box<str>> = Vec::new();
    for keyword in coming.iter().flat_map(|flags| flags.keywords()) {
        if let Err(at) = spelt.binary_search_by(|k| fold(k, keyword)) {
            spelt.insert(at, keyword.clone());
        }
    }
    if spelt.is_empty() {
        return;
    }
    let mut sought = vec![true; spelt.len()];
    let mut left = spelt.len();
    for keyword in known.flatten() {
        if left == 0 {
            break;
        }
        if let Ok(at) = spelt.binary_search_by(|k| fold(k, keyword))
            && std::mem::take(&mut sought[at])
        {
            spelt[at].clone_from(keyword);
            left -= 1;
        }
    }
    let spelling = |flags: &Flags| {
        let at = flags.keywords().iter().filter_map(|k| spelt.binary_search_by(|s| fold(s, k)).ok());
        at.map(|at| spelt[at].clone()).collect()
    };
    for flags in coming.iter_mut() {
        let so = |k: &str| spelt.binary_search_by(|s| fold(s, k)).is_ok_and(|at| *spelt[at] == *k);
        if !flags.keywords().iter().all(|k| so(k)) {
            **flags = with(flags.bits, spelling(flags));
        }
    }
}

fn with(bits: u32, mut keywords: Vec<Box<str>>) -> Flags {
    keywords.sort_unstable();
    keywords.dedup();
    Flags { bits, keywords: if keywords.is_empty() { None } else { Some(keywords.into()) } }
}

/// The order of keywords in which two spellings of one are equal.
fn fold(a: &str, b: &str) -> Ordering {
    let lower = |s| str::bytes(s).map(|byte| byte.to_ascii_lowercase());
    lower(a).cmp(lower(b))
}

/// Each keyword once, in that order.
fn folded(keywords: &[Box<str>]) -> Vec<&str> {
    let mut folded: Vec<&str> = keywords.iter().map(|k| &**k).collect();
    // A stable sort: of two spellings the first stays.
    folded.sort_by(|a, b| fold(a, b));
    folded.dedup_by(|later, first| fold(later, first).is_eq());
    folded
}

fn found(folded: &[&str], keyword: &str) -> Option<usize> {
    folded.binary_search_by(|k| fold(k, keyword)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(keywords: &[&str]) -> Flags {
        with(0, keywords.iter().map(|k| (*k).into()).collect())
    }

    #[test]
    fn a_keyword_is_the_same_in_either_case_and_there_once() {
        let change = |was: &[&str], how, by: &[&str]| Change::new(how, &flags(by)).of(&flags(was));
        let (add, remove, replace) = (FlagsHow::Add, FlagsHow::Remove, FlagsHow::Replace);
        assert_eq!(change(&["Junk"], add, &["JUNK", "b", "B"]), flags(&["B", "Junk"]));
        assert_eq!(change(&["Junk", "a"], remove, &["jUNK"]), flags(&["a"]));
        assert_eq!(change(&["Junk", "a"], replace, &["JUNK", "c"]), flags(&["Junk", "c"]));
        // From a log of before.
        assert_eq!(change(&["JUNK", "Junk"], remove, &["junk"]), flags(&[]));
        assert_eq!(change(&["JUNK", "Junk"], add, &["x"]), flags(&["JUNK", "x"]));
        assert_eq!(once(&flags(&["JUNK", "Junk", "x"])), flags(&["JUNK", "x"]));
        // Letters beyond ASCII are what they are.
        assert_eq!(change(&["\u{e4}"], remove, &["\u{c4}"]), flags(&["\u{e4}"]));
    }

    #[test]
    fn what_comes_is_spelt_as_it_is_known() {
        let (mut a, mut b, mut c) = (flags(&["JUNK", "Q", "Work"]), flags(&["q", "work"]), flags(&[]));
        let known = [flags(&["x"]), flags(&["Junk"]), flags(&["jUnk", "woRk"])];
        spell(&mut [&mut a, &mut b, &mut c], known.iter().map(Flags::keywords));
        assert_eq!((a, b, c), (flags(&["Junk", "Q", "woRk"]), flags(&["Q", "woRk"]), flags(&[])));
    }
}
