//! What a balancer says in front of a connection.

use rand::Rng;
use rand::rngs::SmallRng;
use ringpost::proto::proxy::{HEADER_BYTES_MAX, Seen, V1_BYTES_MAX, read};

use crate::target::{Target, one, some};

pub const PROXY: Target = Target {
    name: "proxy",
    make,
    words: WORDS,
    look: |octets, _| look(octets),
    // Each beginning is read; a line of version 1 is taken apart into words.
    allocates: (4 << 10, 4 << 10),
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const WORDS: &[&[u8]] = &[
    b"PROXY ",
    b"TCP4",
    b"TCP6",
    b"UNKNOWN",
    b" ",
    b"192.0.2.7",
    b"2001:db8::7",
    b"::ffff:192.0.2.7",
    b"0",
    b"65535",
    b"65536",
    b"-1",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    SIGNATURE,
    b"\x20\x00\x00\x00",
    b"\x21\x11\x00\x0c",
    b"\x21\x21\x00\x24",
    b"\x21\x31\x00\xd8",
    b"\x21\x11\x10\x00",
    b"\x21\x11\xff\xff",
    b"EHLO client.test\r\n",
    b"\x16\x03\x01",
];

fn make(chance: &mut SmallRng) -> Vec<u8> {
    let port = |chance: &mut SmallRng| chance.random::<u16>();
    let mut header = match chance.random_range(0..4) {
        0 => {
            let (from, to) = (port(chance), port(chance));
            format!("PROXY TCP4 192.0.2.{} 198.51.100.1 {from} {to}\r\n", chance.random::<u8>()).into_bytes()
        }
        1 => format!("PROXY TCP6 2001:db8::{:x} ::1 {} 25\r\n", port(chance), port(chance)).into_bytes(),
        2 => [b"PROXY UNKNOWN".to_vec(), some(chance, WORDS, 3), b"\r\n".to_vec()].concat(),
        _ => {
            let (family, least) = if chance.random() { (0x11, 12) } else { (0x21, 36) };
            let length = least + chance.random_range(0..40_u16);
            let mut header = [SIGNATURE, &[0x20 | chance.random_range(0..2_u8), family]].concat();
            header.extend(length.to_be_bytes());
            header.extend((0..length).map(|_| chance.random::<u8>()));
            header
        }
    };
    header.extend(one(chance, &[b"", b"EHLO client.test\r\n", b"\x16\x03\x01"]));
    header
}

/// What was seen is the same with whatever comes later, and nobody is waited for beyond the bounds.
fn look(octets: &[u8]) -> bool {
    let mut before = Seen::Partial;
    for end in 0..=octets.len().min(HEADER_BYTES_MAX + 1) {
        let now = read(&octets[..end]);
        assert!(before == Seen::Partial || now == before, "{before:?} became {now:?} at {end}");
        match now {
            Seen::Partial => {
                assert!(end < HEADER_BYTES_MAX, "{end} octets are no header yet");
                assert!(end < V1_BYTES_MAX || octets.starts_with(SIGNATURE), "{end} octets are no line yet");
            }
            Seen::Whole { used, .. } => assert!(used <= end, "{used} of {end}"),
            Seen::Broken => {}
        }
        before = now;
    }
    if let Seen::Whole { used, .. } = before {
        assert_eq!(read(&octets[..used]), before, "what is behind it is not looked at");
        return true;
    }
    false
}
