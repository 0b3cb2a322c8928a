//! Line ends: CRLF in the store, bare LF in files.
//!
//! What is stored is canonical, so that whatever sends it is safe by construction: every CRLF, LF or CR alone becomes one
//! CRLF. A NUL, which no mail protocol can carry, becomes the octet 0x80, as other servers show it.

/// A message made canonical, and whether there were NULs in it.
#[must_use]
pub fn canonical(octets: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 32 + 16);
    let mut nul = false;
    let mut rest = octets;
    while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
        out.extend_from_slice(&rest[..at]);
        let taken = match &rest[at..] {
            [b'\r', b'\n', ..] => 2,
            _ => 1,
        };
        if rest[at] == 0 {
            nul = true;
            out.push(0x80);
        } else {
            out.extend_from_slice(b"\r\n");
        }
        rest = &rest[at + taken..];
    }
    out.extend_from_slice(rest);
    (out, nul)
}

/// A canonical message as files have it.
#[must_use]
pub fn bare(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some(at) = memchr::memchr(b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        if rest.get(at + 1) != Some(&b'\n') {
            out.push(b'\r');
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_line_end_becomes_crlf() {
        assert_eq!(canonical(b"a\nb\r\nc\rd\r\r\n\n").0, b"a\r\nb\r\nc\r\nd\r\n\r\n\r\n");
        assert_eq!(canonical(b"no end"), (b"no end".to_vec(), false));
        assert_eq!(canonical(b"a\0b\n"), (b"a\x80b\r\n".to_vec(), true));
        assert_eq!(canonical(b""), (Vec::new(), false));
    }

    proptest! {
        #[test]
        fn what_is_canonical_comes_back_from_a_file(octets in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x'), any::<u8>()], 0..200)) {
            let (stored, _) = canonical(&octets);
            prop_assert_eq!(canonical(&stored), (stored.clone(), false));
            let filed = bare(&stored);
            prop_assert!(!filed.contains(&b'\r'));
            prop_assert_eq!(canonical(&filed).0, stored);
        }
    }
}
