//! `$1$`: crypt by MD5, as FreeBSD made it and old systems keep it. Nobody should make new ones; no kept library reads them.
//!
//! ```text
//!   first   = MD5(password salt password)
//!   digest  = MD5(password "$1$" salt, as much of `first` as the password is long, and an octet for each bit of that length)
//!   a thousand times: digest = MD5 of password, digest and salt, in an order that the round's number chooses
//! ```

use md5::{Digest, Md5};

const PREFIX: &str = "$1$";
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// More of a salt is not looked at.
const SALT_BYTES_MAX: usize = 8;
const HASH_BYTES: usize = 22;

/// Salt and hash of `$1$salt$hash`.
pub(super) fn parts(text: &str) -> Option<(&str, &str)> {
    let (salt, hash) = text.strip_prefix(PREFIX)?.split_once('$')?;
    let letters = hash.bytes().all(|b| LETTERS.contains(&b));
    (salt.len() <= SALT_BYTES_MAX && hash.len() == HASH_BYTES && letters).then_some((salt, hash))
}

/// The hash of `password` with the salt of `like`. `None`: `like` is no hash.
pub(super) fn crypt(password: &[u8], like: &str) -> Option<String> {
    let (salt, _) = parts(like)?;
    let salt_octets = salt.as_bytes();
    let first = Md5::new().chain_update(password).chain_update(salt_octets).chain_update(password).finalize();
    let mut start = Md5::new().chain_update(password).chain_update(PREFIX).chain_update(salt_octets);
    for at in (0..password.len()).step_by(16) {
        start.update(&first[..16.min(password.len() - at)]);
    }
    let mut length = password.len();
    while length > 0 {
        start.update(if length & 1 == 1 { &[0][..] } else { password.get(..1)? });
        length >>= 1;
    }
    let mut digest = start.finalize();
    for round in 0..1_000 {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        if odd {
            next.update(password);
        } else {
            next.update(digest);
        }
        if round % 3 != 0 {
            next.update(salt_octets);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        if odd {
            next.update(digest);
        } else {
            next.update(password);
        }
        digest = next.finalize();
    }
    let mut text = format!("{PREFIX}{salt}$");
    for [high, middle, low] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let three = u32::from(digest[high]) << 16 | u32::from(digest[middle]) << 8 | u32::from(digest[low]);
        letters(&mut text, three, 4);
    }
    letters(&mut text, digest[11].into(), 2);
    Some(text)
}

/// The lowest six bits first.
fn letters(text: &mut String, mut bits: u32, count: usize) {
    for _ in 0..count {
        text.push(char::from(LETTERS[(bits & 63) as usize]));
        bits >>= 6;
    }
}
