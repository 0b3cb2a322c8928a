//! What is read by itself: a path, an answer of a resolver.

use rand::Rng;
use rand::rngs::SmallRng;
use ringpost::dns::answer::{Alias, judge};
use ringpost::dns::message::{Kind, Query, Seen, read};
use ringpost::dns::name::Name;
use ringpost::limits;
use ringpost::mail::address::{Address, ForwardPath, ReversePath};

use crate::target::{Target, one, some};

pub const PATH: Target = Target {
    name: "path",
    make: make_path,
    words: PATH_WORDS,
    look: |octets, _| look_path(octets),
    allocates: (64 << 10, 64),
};
pub const DNS: Target = Target {
    name: "dns",
    make: make_answer,
    words: DNS_WORDS,
    look: |octets, _| look_answer(octets),
    allocates: (256 << 10, 512),
};

const PATH_WORDS: &[&[u8]] = &[
    b"<",
    b">",
    b"@",
    b"alice",
    b"bob",
    b".",
    b"..",
    b"client.test",
    b"[127.0.0.1]",
    b"[IPv6:2001:db8::1]",
    b"[IPv6:",
    b"\"",
    b"\\",
    b"\"a b\"",
    b"\\\"",
    b"%",
    b"!",
    b":",
    b",",
    b"@a.test,@b.test:",
    b"Postmaster",
    b"\xc3\xbc",
    b"xn--bcher-kva",
    b"-",
    b" ",
    b"\t",
    b"\0",
    b"\r\n",
    b"(comment)",
    b"a-label-of-sixty-four-octets-is-one-octet-longer-than-a-label-can-",
    b"\xff",
    b"TEST",
];

fn make_path(chance: &mut SmallRng) -> Vec<u8> {
    let mut path = b"<".to_vec();
    path.extend(match chance.random_range(0..3) {
        0 => some(chance, PATH_WORDS, 8),
        _ => [one(chance, PATH_WORDS), b"@", one(chance, PATH_WORDS)].concat(),
    });
    path.extend(b">");
    path.extend(one(chance, &[b"", b" SIZE=1"]));
    path
}

fn look_path(octets: &[u8]) -> bool {
    let mut taken = false;
    for utf8 in [false, true] {
        let reverse = ReversePath::read(octets, utf8);
        if let Ok((path, used)) = &reverse {
            let spelt = path.to_string();
            assert!(*used <= octets.len() && octets[*used - 1] == b'>', "{used} octets of it");
            assert_eq!(
                ReversePath::read(spelt.as_bytes(), utf8),
                Ok((path.clone(), spelt.len())),
                "it reads as it is spelt"
            );
            path.address().into_iter().for_each(|address| holds(address, utf8));
            taken = true;
        }
        if let Ok((path, used)) = ForwardPath::read(octets, utf8) {
            assert!(used <= octets.len());
            if let ForwardPath::Address(address) = path {
                holds(&address, utf8);
                assert_eq!(reverse, Ok((ReversePath::Address(address), used)), "both ways alike");
            }
        }
    }
    taken
}

/// What must hold of every address.
fn holds(address: &Address, utf8: bool) {
    let text = address.as_str();
    assert!(!text.chars().any(char::is_control), "no control character");
    assert!(utf8 || text.is_ascii(), "ASCII unless agreed otherwise");
    assert_eq!(Address::parse(text, utf8).as_ref(), Ok(address), "it reads as it is spelt");
    assert_eq!(format!("{}@{}", address.local(), address.domain()), text);
    assert!(!address.domain().contains(['@', ' ', '<', '>', '"']), "a domain is a domain: {text}");
}

const DNS_WORDS: &[&[u8]] = &[
    b"\xc0\x0c",
    b"\xc0\x00",
    b"\xc0\xff",
    b"\xff\xff",
    b"\x00",
    b"\x3f",
    b"\x40",
    b"\x04test\x00",
    b"\x00\x0f\x00\x01",
    b"\x00\x05\x00\x01",
    b"\x00\x06\x00\x01",
    b"\x00\x01\x00\x01",
    b"\x00\x10\x00\x01",
    b"\x00\x00\x0e\x10",
    b"\x7f\xff\xff\xff",
    b"\x00\x29",
];

const KINDS: [Kind; 5] = [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr];

/// The question of a kind; the first octet of an input says which.
fn question(kind: Kind) -> (Name, Query) {
    let name = Name::parse("mail.example").expect("a name");
    let query = Query::new(0x1234, &name, kind, true, None);
    (name, query)
}

fn make_answer(chance: &mut SmallRng) -> Vec<u8> {
    let which = chance.random_range(0..KINDS.len());
    let (_, query) = question(KINDS[which]);
    // Without the record of EDNS, which the question ends with.
    let asked = &query.octets()[..query.octets().len() - 11];
    let mut answer = asked.to_vec();
    let (records, authority) = (chance.random_range(0..6_u8), chance.random_range(0..2_u8));
    answer[2] = 0x81 | if chance.random_ratio(1, 30) { 2 } else { 0 };
    answer[3] = *one(chance, &[&[0x80], &[0xa0], &[0x83], &[0x82]]).first().expect("an octet");
    answer[6..12].copy_from_slice(&[0, records, 0, authority, 0, 0]);
    for _ in 0..records {
        record(chance, &mut answer, which);
    }
    for _ in 0..authority {
        answer.extend(b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x0e\x10\x00\x18\xc0\x0c\xc0\x0c");
        answer.extend([0; 20]);
    }
    [&[which as u8][..], &answer].concat()
}

fn record(chance: &mut SmallRng, answer: &mut Vec<u8>, which: usize) {
    let alias = chance.random_ratio(1, 5);
    let name: &[u8] = one(chance, &[b"\xc0\x0c", b"\x01a\xc0\x11", b"\x02mx\x04test\x00", b"\x00"]);
    let (code, data): (u8, Vec<u8>) = match which {
        _ if alias => (5, name.to_vec()),
        0 => (1, vec![127, 0, 0, 2]),
        1 => (28, vec![0xfe; 16]),
        2 => (15, [&[0, 10][..], name].concat()),
        3 => (16, b"\x03abc\x02de".to_vec()),
        _ => (12, name.to_vec()),
    };
    answer.extend(one(chance, &[b"\xc0\x0c", b"\x01a\xc0\x11", name]));
    answer.extend([0, code, 0, 1, 0, 0, 14, 16]);
    answer.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
    answer.extend(data);
}

fn look_answer(octets: &[u8]) -> bool {
    let Some((which, answer)) = octets.split_first() else { return false };
    let kind = KINDS[usize::from(*which) % KINDS.len()];
    let (name, query) = question(kind);
    let Seen::Reply(reply) = read(answer, &query) else { return false };
    assert!(reply.records.len() <= answer.len() / 11, "a record takes octets: {}", reply.records.len());
    let owners = reply.records.iter().map(|record| &record.owner);
    for owner in owners {
        assert!(
            owner.as_str().len() <= 255 && owner.labels().all(|label| (1..=63).contains(&label.len())),
            "{owner:?}"
        );
        assert_eq!(Name::parse(owner.as_str()).as_ref(), Ok(owner), "it reads as it is spelt");
    }
    let step = judge(reply, kind, &Alias::none(name));
    let told = format!("{step:?}");
    assert!(told.len() < limits::DNS_RECORDS_MAX * 4_096, "what is told is bounded: {} octets", told.len());
    true
}
