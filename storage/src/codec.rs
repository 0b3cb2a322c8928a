//! Little-endian integers in and out of byte buffers: the alphabet of every structure on disk.
//!
//! Reading never panics and never allocates: a reader that runs out says `None`. Lengths found in the bytes
//! are only ever used to cut slices of what is already in memory.

use crate::types::Place;

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

macro_rules! read_integers {
    ($($name:ident: $t:ty),*) => {$(
        pub fn $name(&mut self) -> Option<$t> {
            let (now, later) = self.bytes.split_first_chunk()?;
            self.bytes = later;
            Some(<$t>::from_le_bytes(*now))
        }
    )*};
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    read_integers!(u8: u8, u16: u16, u32: u32, u64: u64, u128: u128, i64: i64);

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (now, later) = self.bytes.split_at_checked(n)?;
        self.bytes = later;
        Some(now)
    }

    /// A u16 length and so many octets of UTF-8.
    pub fn text(&mut self) -> Option<&'a str> {
        let n = self.u16()?;
        std::str::from_utf8(self.take(usize::from(n))?).ok()
    }

    /// A u32 length and so many octets.
    pub fn blob(&mut self) -> Option<&'a [u8]> {
        let n = self.u32()?;
        self.take(usize::try_from(n).ok()?)
    }

    /// Seven bits an octet, the lowest first; the last octet is below 128.
    pub fn varint(&mut self) -> Option<u64> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let octet = self.u8()?;
            v |= u64::from(octet & 127).checked_shl(shift)?;
            if octet < 128 {
                return Some(v);
            }
        }
        None
    }

    /// What [`Put::signed`] writes.
    pub fn signed(&mut self) -> Option<i64> {
        let v = self.varint()?;
        Some((v >> 1) as i64 ^ -((v & 1) as i64))
    }

    /// What [`Put::step`] writes, from the same number on.
    pub fn step(&mut self, from: u32) -> Option<u32> {
        Some(from.wrapping_add(i32::try_from(self.signed()?).ok()? as u32))
    }

    pub fn place(&mut self) -> Option<Place> {
        Some(Place { segment: self.u32()?, at: self.u32()? })
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Writes to the end of a buffer.
pub trait Put {
    fn bytes(&mut self, v: &[u8]);

    fn u8(&mut self, v: u8) {
        self.bytes(&[v]);
    }
    fn u16(&mut self, v: u16) {
        self.bytes(&v.to_le_bytes());
    }
    fn u32(&mut self, v: u32) {
        self.bytes(&v.to_le_bytes());
    }
    fn u64(&mut self, v: u64) {
        self.bytes(&v.to_le_bytes());
    }
    fn i64(&mut self, v: i64) {
        self.bytes(&v.to_le_bytes());
    }
    fn u128(&mut self, v: u128) {
        self.bytes(&v.to_le_bytes());
    }
    /// Seven bits an octet, the lowest first.
    fn varint(&mut self, mut v: u64) {
        while v >= 128 {
            self.u8(v as u8 | 128);
            v >>= 7;
        }
        self.u8(v as u8);
    }
    /// The same, so that a number near zero is short in either direction.
    fn signed(&mut self, v: i64) {
        self.varint((v << 1 ^ v >> 63) as u64);
    }
    /// How far it is from one number to another, the shorter way round.
    fn step(&mut self, from: u32, to: u32) {
        self.signed(i64::from(to.wrapping_sub(from) as i32));
    }
    fn place(&mut self, v: Place) {
        self.u32(v.segment);
        self.u32(v.at);
    }

    /// A u16 length and the octets. The caller has bounded the length.
    fn text(&mut self, v: &str) {
        self.u16(u16::try_from(v.len()).expect("texts are bounded before they are decided"));
        self.bytes(v.as_bytes());
    }

    /// A u32 length and the octets. The caller has bounded the length.
    fn blob(&mut self, v: &[u8]) {
        self.u32(u32::try_from(v.len()).expect("blobs are bounded before they are decided"));
        self.bytes(v);
    }
}

impl Put for Vec<u8> {
    fn bytes(&mut self, v: &[u8]) {
        self.extend_from_slice(v);
    }
}

/// `n` rounded up to a multiple of `to`, `None` past the end of u64.
pub fn round_up(n: u64, to: u64) -> Option<u64> {
    n.checked_next_multiple_of(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_larger_than_the_bytes_is_refused_not_allocated() {
        let mut out = Vec::new();
        out.u32(u32::MAX);
        out.bytes(b"abc");
        assert_eq!(Reader::new(&out).blob(), None);
    }

    #[test]
    fn integers_of_any_length_come_back() {
        for v in (0..64).flat_map(|n| [1u64 << n, (1 << n) - 1, u64::MAX >> n]) {
            let mut out = Vec::new();
            out.varint(v);
            assert_eq!(Reader::new(&out).varint(), Some(v));
            assert_eq!(Reader::new(&out[..out.len() - 1]).varint(), None);
        }
        assert_eq!(Reader::new(&[255; 11]).varint(), None);
        for v in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            out.signed(v);
            assert_eq!(Reader::new(&out).signed(), Some(v));
            assert!(out.len() == 1 || !(-64..64).contains(&v));
        }
        for (from, to) in [(0, u32::MAX), (u32::MAX, 0), (7, 7), (0, 1 << 31), (1 << 31, 0)] {
            let mut out = Vec::new();
            out.step(from, to);
            assert_eq!(Reader::new(&out).step(from), Some(to));
        }
    }

    #[test]
    fn integers_are_little_endian() {
        let mut out = Vec::new();
        out.u32(0x0102_0304);
        assert_eq!(out, [4, 3, 2, 1]);
        assert_eq!(Reader::new(&out).u32(), Some(0x0102_0304));
    }
}
