//! What IMAP needs to list a message without reading it: envelope, structure, chosen header fields, sizes.
//!
//! Computed by [`mime::Scan`](crate::mail::mime::Scan), kept by the volume as opaque octets:
//!
//! ```text
//!   "RPsm"  version u16 LE  zero u16  length u32 LE  check u32 LE (low half of xxh3-64 of the archive)
//!   rkyv archive of `Summary`: little endian, unaligned, 32-bit offsets, root at the end
//! ```
//!
//! The archive is validated before it is looked at; one that does not fit (another version, a torn write, an unlucky
//! bit) counts as absent and is computed again. rkyv has no schema evolution: any change of the types in
//! [`structure`](crate::mail::structure) or here takes a new [`VERSION`]; a golden test holds the octets.

use std::rc::Rc;

use rkyv::rancor::Error;
use rkyv::{Archive, Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::mail::content::fields;
use crate::mail::mime::Structure;
use crate::mail::structure::{Octets, Part};

/// Version of the archived layout.
pub const VERSION: u16 = 1;
/// A summary longer than this is not kept: the message is scanned again when asked for.
pub const SUMMARY_BYTES_MAX: usize = 64 << 10;
/// Octets of chosen fields in a summary. A message with more keeps none, and its header is read when asked for.
pub const CHOSEN_BYTES_MAX: usize = 8 << 10;
/// The fields that mail programs ask for when they list a mailbox.
pub const CHOSEN: [&str; 21] = [
    "bcc",
    "cc",
    "content-type",
    "date",
    "delivered-to",
    "disposition-notification-to",
    "from",
    "importance",
    "in-reply-to",
    "list-id",
    "list-post",
    "list-unsubscribe",
    "message-id",
    "newsgroups",
    "priority",
    "references",
    "reply-to",
    "sender",
    "subject",
    "to",
    "x-priority",
];

const MAGIC: [u8; 4] = *b"RPsm";
const HEAD: usize = 16;

/// What is known of a message.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Octets of the message.
    pub octets: u64,
    /// Its parts in pre-order; the first is the message itself. Never empty.
    pub parts: Vec<Part>,
    /// The [`CHOSEN`] fields as they stand in the header, or `None` where they are too many.
    pub chosen: Option<Octets>,
}

impl From<Structure> for Summary {
    fn from(structure: Structure) -> Self {
        let mut chosen = Vec::new();
        for field in fields(&structure.header) {
            if is_chosen(field.name) {
                chosen.extend_from_slice(field.whole);
            }
        }
        let chosen = Some(chosen).filter(|c| c.len() <= CHOSEN_BYTES_MAX);
        Summary { octets: structure.octets, parts: structure.parts, chosen }
    }
}

/// True if a summary holds all fields of this name, in any case.
#[must_use]
pub fn is_chosen(name: &[u8]) -> bool {
    CHOSEN.iter().any(|c| name.eq_ignore_ascii_case(c.as_bytes()))
}

impl Summary {
    /// Its octets as they are kept.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let archive = rkyv::to_bytes::<Error>(self).expect("writing an archive to memory does not fail");
        let length = u32::try_from(archive.len()).expect("parts and headers are bounded");
        let mut octets = Vec::with_capacity(HEAD + archive.len());
        octets.extend_from_slice(&MAGIC);
        octets.extend_from_slice(&VERSION.to_le_bytes());
        octets.extend_from_slice(&[0, 0]);
        octets.extend_from_slice(&length.to_le_bytes());
        octets.extend_from_slice(&check(&archive).to_le_bytes());
        octets.extend_from_slice(&archive);
        Packed(octets.into())
    }
}

fn check(archive: &[u8]) -> u32 {
    (xxh3_64(archive) & u64::from(u32::MAX)) as u32
}

/// A summary as it is kept, known to be valid.
#[derive(Clone, Debug)]
pub struct Packed(Rc<[u8]>);

impl Packed {
    /// Octets from the volume, if they are a whole summary of this version.
    #[must_use]
    pub fn open(octets: Rc<[u8]>) -> Option<Packed> {
        let head = octets.get(..HEAD)?;
        let archive = &octets[HEAD..];
        let expected = [
            &MAGIC[..],
            &VERSION.to_le_bytes(),
            &[0, 0],
            &u32::try_from(archive.len()).ok()?.to_le_bytes(),
            &check(archive).to_le_bytes(),
        ];
        if head != expected.concat() {
            return None;
        }
        let summary = rkyv::access::<ArchivedSummary, Error>(archive).ok()?;
        if summary.parts.is_empty() {
            return None;
        }
        Some(Packed(octets))
    }

    /// The octets to keep.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Looks at it.
    #[must_use]
    pub fn get(&self) -> &ArchivedSummary {
        // Checked once more at each look: that costs about as much as encoding it, and needs no `unsafe`.
        rkyv::access::<ArchivedSummary, Error>(&self.0[HEAD..]).expect("checked when it was opened")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime::scan;

    const LETTER: &[u8] = b"From: A <a@b>\r\nTo: c@d\r\nSubject: hi\r\nX-Other: no\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: message/rfc822\r\n\
        Content-Disposition: inline; filename=f\r\n\r\nSubject: in\r\n\r\ny\r\n--b--\r\n";

    #[test]
    fn a_summary_comes_back_as_it_was_kept() {
        let summary = Summary::from(scan(LETTER));
        let packed = Packed::open(summary.pack().octets().into()).unwrap();
        assert_eq!(rkyv::deserialize::<Summary, Error>(packed.get()).unwrap(), summary);
        assert!(summary.chosen.unwrap().starts_with(b"From: A <a@b>\r\nTo: c@d\r\nSubject: hi\r\nContent-Type"));
    }

    #[test]
    fn golden_octets_hold_the_disk_format_still() {
        let packed = Summary::from(scan(LETTER)).pack();
        let golden: &[u8] = include_bytes!("summary.v1.golden");
        assert_eq!(packed.octets(), golden, "the layout on disk changed: it needs a new VERSION");
        assert!(Packed::open(golden.into()).is_some());
    }

    #[test]
    fn a_changed_bit_anywhere_counts_as_absent() {
        let packed = Summary::from(scan(LETTER)).pack();
        for bit in 0..packed.octets().len() * 8 {
            let mut octets = packed.octets().to_vec();
            octets[bit / 8] ^= 1 << (bit % 8);
            assert!(Packed::open(octets.into()).is_none(), "bit {bit}");
        }
        for len in 0..packed.octets().len() {
            assert!(Packed::open(packed.octets()[..len].into()).is_none());
        }
    }

    #[test]
    fn garbage_with_a_right_checksum_is_validated_all_the_same() {
        let packed = Summary::from(scan(LETTER)).pack();
        for at in HEAD..packed.octets().len() {
            let mut octets = packed.octets().to_vec();
            octets[at] ^= 0xff;
            let check = check(&octets[HEAD..]).to_le_bytes();
            octets[12..16].copy_from_slice(&check);
            if let Some(packed) = Packed::open(octets.into()) {
                assert!(rkyv::deserialize::<Summary, Error>(packed.get()).is_ok());
            }
        }
    }
}
