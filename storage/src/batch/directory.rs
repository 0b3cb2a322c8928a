//! The directory: a batch's records, one after the other, 8-aligned.
//!
//! The whole directory has a checksum in the batch header, and each record its own, so that one can later be
//! read alone by its place. This file walks a directory whose checksum was verified, and looks at no other.

use crate::record::{Bad, Frame, Record};

/// One record and where it begins in the directory.
#[derive(Debug)]
pub struct Entry<'a> {
    pub at: usize,
    pub frame: Frame<'a>,
    /// `None`: of a kind not known here and flagged as ignorable.
    pub record: Option<Record<'a>>,
}

/// Walks the records of a directory.
///
/// # Errors
/// The iterator yields one [`Bad`] and ends when a record does not decode.
pub fn entries(directory: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Bad>> {
    let mut at = 0;
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || at == directory.len() {
            return None;
        }
        let entry = Frame::of(&directory[at..]).and_then(|frame| {
            let record = Record::of(&frame)?;
            let here = at;
            at += frame.len;
            Ok(Entry { at: here, frame, record })
        });
        broken = entry.is_err();
        Some(entry)
    })
}
