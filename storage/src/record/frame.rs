//! The frame around every record.
//!
//! ```text
//! len u32 | crc32c u32 | kind u16 | version u8 | flags u8 | slot u16 | links u8 | 0 | [account u64 | links × place] | payload | zeros to 8
//! ```
//!
//! On disk the checksum is mixed with a mark of the record's place and the volume's secret: octets of another place, of what
//! the file held before it was used again, or of another volume are no record here.
//!
//! The chain: a record of an account names the places of that account's last four records, newest first, so
//! that an account can be loaded by reading backwards, many places at a time.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::codec::{Put, Reader};
use crate::types::{AccountId, Place};

/// Frame flag: a reader that does not know the kind may pass the record over.
pub const IGNORABLE: u8 = 1;
/// Frame flag: an account id and a chain follow.
pub const ACCOUNT: u8 = 2;

/// Octets of a frame with everything in it, padding included.
pub const FRAME_BYTES_MAX: u64 = (FIXED_BYTES + 8 + LINKS_MAX * 8 + 7) as u64;

const FIXED_BYTES: usize = 16;
/// Places in a chain. Older ones are reached through the oldest: sixty-four records are read in sixteen rounds, and the
/// resident entry of an account has room for so many (sixteen would be its 128 octets alone).
pub const LINKS_MAX: usize = 4;

/// A record whose frame was read.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Octets with frame and padding.
    pub len: usize,
    pub kind: u16,
    pub version: u8,
    pub flags: u8,
    pub account: Option<AccountId>,
    /// The account's last records before this one.
    pub chain: Chain,
    /// Payload with the padding that follows it.
    pub payload: &'a [u8],
}

/// Why a record does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Not a record of any kind.
    Malformed,
    /// A kind or version that a newer program wrote.
    Unknown { kind: u16, version: u8 },
}

/// An account's last records, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    places: [Place; LINKS_MAX],
    len: u8,
}

impl Default for Chain {
    fn default() -> Self {
        Chain { places: [Place::NOWHERE; LINKS_MAX], len: 0 }
    }
}

impl Chain {
    /// Adds the newest record; the oldest falls out.
    pub fn push(&mut self, place: Place) {
        if usize::from(self.len) == LINKS_MAX {
            self.places.copy_within(1.., 0);
            self.places[LINKS_MAX - 1] = place;
        } else {
            self.places[usize::from(self.len)] = place;
            self.len += 1;
        }
    }

    /// The newest record.
    pub fn newest(&self) -> Option<Place> {
        self.newest_first().next()
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = Place> {
        self.places[..usize::from(self.len)].iter().rev().copied()
    }
}

impl<'a> Frame<'a> {
    /// Reads the frame at the front of `bytes`; its length is believed only when its checksum fits. `mark`: of its place, 0
    /// where it was not on disk.
    ///
    /// # Errors
    /// [`Bad::Malformed`].
    pub fn read(bytes: &'a [u8], mark: u32) -> Result<Self, Bad> {
        Self::parse(bytes, Some(mark)).ok_or(Bad::Malformed)
    }

    /// The same of octets that were verified already: with their directory, or alone.
    ///
    /// # Errors
    /// [`Bad::Malformed`].
    pub fn of(bytes: &'a [u8]) -> Result<Self, Bad> {
        Self::parse(bytes, None).ok_or(Bad::Malformed)
    }

    fn parse(bytes: &'a [u8], mark: Option<u32>) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let len = usize::try_from(r.u32()?).ok()?;
        let crc = r.u32()?;
        let whole = bytes.get(..len)?;
        if len < FIXED_BYTES || len % 8 != 0 {
            return None;
        }
        if mark.is_some_and(|mark| crc ^ mark != crc32c::crc32c(&whole[8..])) {
            return None;
        }
        let mut r = Reader::new(&whole[8..]);
        let kind = r.u16()?;
        let version = r.u8()?;
        let flags = r.u8()?;
        let _slot = r.u16()?;
        let links = r.u8()?;
        r.u8()?;
        let mut account = None;
        let mut chain = Chain::default();
        if flags & ACCOUNT != 0 {
            account = Some(AccountId(r.u64()?));
            if usize::from(links) > LINKS_MAX {
                return None;
            }
            for _ in 0..links {
                chain.places[usize::from(chain.len)] = r.place()?;
                chain.len += 1;
            }
            chain.places[..usize::from(chain.len)].reverse();
        }
        Some(Frame { len, kind, version, flags, account, chain, payload: r.rest() })
    }
}

/// Starts a record; returns where, for [`finish`].
pub fn begin(out: &mut Vec<u8>, kind: u16, flags: u8, account: Option<AccountId>, slot: u16, chain: &Chain) -> usize {
    let at = out.len();
    out.u64(0);
    out.u16(kind);
    out.u8(1);
    out.u8(if account.is_some() { flags | ACCOUNT } else { flags });
    out.u16(slot);
    out.u8(if account.is_some() { chain.len } else { 0 });
    out.u8(0);
    if let Some(account) = account {
        out.u64(account.0);
        for place in chain.newest_first() {
            out.place(place);
        }
    }
    at
}

/// The checksum of the record at `at` again, after some of its octets were filled in.
pub fn check_again(out: &mut [u8], at: usize) {
    let len = u32::from_le_bytes(out[at..at + 4].try_into().expect("four octets")) as usize;
    let crc = crc32c::crc32c(&out[at + 8..at + len]);
    out[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}

/// What the checksum of a record at this place is mixed with. `seed`: the volume's secret.
pub fn mark_of(seed: u64, place: Place) -> u32 {
    let octets = (u64::from(place.segment) << 32 | u64::from(place.at)).to_le_bytes();
    xxh3_64_with_seed(&octets, seed) as u32
}

/// Marks the records in a directory that begins at `at`, all of them finished.
pub fn mark(directory: &mut [u8], at: Place, seed: u64) {
    let mut from = 0;
    while from < directory.len() {
        let len = u32::from_le_bytes(directory[from..from + 4].try_into().expect("four octets")) as usize;
        let place = Place { at: at.at + from as u32, ..at };
        let mark = mark_of(seed, place).to_le_bytes();
        directory[from + 4..from + 8].iter_mut().zip(mark).for_each(|(octet, mark)| *octet ^= mark);
        from += len;
    }
}

/// Where the payload of the record at `at` begins.
pub fn payload_at(out: &[u8], at: usize) -> usize {
    let account = if out[at + 11] & ACCOUNT != 0 { 8 + usize::from(out[at + 14]) * 8 } else { 0 };
    at + FIXED_BYTES + account
}

/// Ends the record begun at `at`: padding, length, checksum.
pub fn finish(out: &mut Vec<u8>, at: usize) {
    let len = (out.len() - at).next_multiple_of(8);
    out.resize(at + len, 0);
    let crc = crc32c::crc32c(&out[at + 8..]);
    out[at..at + 4].copy_from_slice(&u32::try_from(len).expect("records are smaller than a segment").to_le_bytes());
    out[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The account's slot: which of 65,536 drawers it is in, so that hosts can one day divide the accounts.
pub fn slot(account: AccountId) -> u16 {
    (xxh3_64(&account.0.to_le_bytes()) & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_keeps_the_last_four_places() {
        let mut chain = Chain::default();
        for at in 0..20 {
            chain.push(Place { segment: 1, at });
        }
        let seen: Vec<u32> = chain.newest_first().map(|p| p.at).collect();
        assert_eq!(seen, (16..20).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_flipped_bit_anywhere_spoils_the_record() {
        let mut out = Vec::new();
        let mut chain = Chain::default();
        chain.push(Place { segment: 1, at: 2 });
        let at = begin(&mut out, 24, 0, Some(AccountId(7)), 9, &chain);
        out.extend_from_slice(b"payload");
        finish(&mut out, at);
        assert!(Frame::read(&out, 0).is_ok());
        for bit in 0..out.len() * 8 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::read(&bad, 0).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_is_one_at_its_place_in_its_volume_alone() {
        let mut out = Vec::new();
        for n in 0..3 {
            let at = begin(&mut out, 24, 0, Some(AccountId(7)), 9, &Chain::default());
            out.extend_from_slice(&[n; 30]);
            finish(&mut out, at);
        }
        let len = out.len() / 3;
        let place = |segment, at| Place { segment, at };
        mark(&mut out, place(5, 4_224), 77);
        let is_one = |n: usize, seed, place| Frame::read(&out[n * len..], mark_of(seed, place)).is_ok();
        for n in 0..3 {
            assert!(is_one(n, 77, place(5, 4_224 + (n * len) as u32)));
            assert!(!is_one(n, 78, place(5, 4_224 + (n * len) as u32)));
            assert!(!is_one(n, 77, place(6, 4_224 + (n * len) as u32)));
            assert!(!is_one(n, 77, place(5, 8_320 + (n * len) as u32)));
        }
    }
}
