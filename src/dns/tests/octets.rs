//! Octets that came back.

use proptest::prelude::*;

use super::super::answer::{Alias, judge};
use super::super::message::{Data, Kind, Query, Record, Reply, Seen, read};
use super::{A, Answer, CNAME, MX, NS, PTR, TXT, name, query, wire};
use crate::limits::{DNS_RECORDS_READ_MAX, DNS_TTL_S_MAX, DNS_TXT_BYTES_MAX};

fn reply(octets: &[u8], query: &Query) -> Reply {
    match read(octets, query) {
        Seen::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_query_says_what_is_wanted_and_how_large_an_answer_may_be() {
    let query = query(Kind::Mx, "example.org");
    let want = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x07example\x03org\0\0\x0f\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
    assert_eq!(query.octets(), want);
    let plain = Query::new(7, &name("example.org"), Kind::A, false, None);
    assert_eq!(plain.octets(), b"\0\x07\x01\x20\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01");
}

#[test]
fn an_answer_is_read() {
    let query = query(Kind::A, "a.test");
    let answer = Answer::to(query.octets(), 0).flags(0, 0x20).with("a.test", A, 60, &[192, 0, 2, 1]);
    let record = Record { owner: name("a.test"), ttl_s: 60, data: Data::A([192, 0, 2, 1].into()) };
    let want = Reply { no_name: false, authentic: true, records: vec![record], negative_ttl_s: None, referral: false };
    assert_eq!(read(&answer.octets, &query), Seen::Reply(want));
}

#[test]
fn a083_what_does_not_repeat_id_and_question_is_not_ours() {
    let query = query(Kind::A, "a.test");
    let good = Answer::to(query.octets(), 0).with("a.test", A, 60, &[192, 0, 2, 1]).octets;
    let spoilt = |at: usize, octet: u8| {
        let mut octets = good.clone();
        octets[at] = octet;
        read(&octets, &query)
    };
    assert_eq!(spoilt(1, 0x35), Seen::NotOurs, "another id");
    assert_eq!(spoilt(2, 0x01), Seen::NotOurs, "a query");
    assert_eq!(spoilt(2, 0x89), Seen::NotOurs, "another operation");
    assert_eq!(spoilt(13, b'b'), Seen::NotOurs, "another name");
    assert_eq!(spoilt(21, 28), Seen::NotOurs, "another kind");
    assert_eq!(spoilt(23, 3), Seen::NotOurs, "another class");
    assert_eq!(spoilt(5, 2), Seen::NotOurs, "two questions");
    assert_eq!(spoilt(5, 0), Seen::NotOurs, "no question");
    assert!(matches!(spoilt(13, b'A'), Seen::Reply(_)), "names have no case");
    for len in 0..12 {
        assert_eq!(read(&good[..len], &query), Seen::NotOurs);
    }
}

#[test]
fn a083_with_mixed_case_each_letter_counts() {
    let query = Query::new(1, &name("mail.test"), Kind::A, true, Some([0b0101_0101; 32]));
    assert_eq!(&query.octets()[12..23], b"\x04MaIl\x04TeSt\0");
    let good = Answer::to(query.octets(), 0).with("mail.test", A, 60, &[192, 0, 2, 1]).octets;
    assert_eq!(reply(&good, &query).records[0].owner, name("mail.test"));
    for at in 13..22 {
        let mut octets = good.clone();
        octets[at] ^= 0x20;
        assert_eq!(read(&octets, &query), Seen::NotOurs);
    }
}

#[test]
fn a080_names_that_point_at_themselves_or_beyond_are_malformed() {
    let query = query(Kind::A, "a.test");
    let base = Answer::to(query.octets(), 0);
    let here = base.octets.len();
    for pointer in [here, here + 1, here + 40, 0x3fff, 4_000] {
        let [high, low] = u16::try_from(pointer).expect("14 bits").to_be_bytes();
        let mut octets = base.octets.clone();
        octets[7] = 1;
        octets.extend([0xc0 | high, low, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        assert_eq!(read(&octets, &query), Seen::Malformed, "to {pointer}");
    }
    // Two that point at each other, within an alias.
    let [high, low] = u16::try_from(here + 20).expect("14 bits").to_be_bytes();
    let looped = base.with("a.test", CNAME, 60, &[0xc0 | high, low, 0xc0 | high, low - 2]);
    assert_eq!(read(&looped.octets, &query), Seen::Malformed);
}

#[test]
fn a080_a_long_chain_of_pointers_costs_what_the_records_read_may_cost() {
    let query = query(Kind::A, "a.test");
    let mut answer = Answer::to(query.octets(), 0);
    // Each pointer leads to the one before it; the first to the question.
    let mut octets = answer.octets.split_off(0);
    octets[6..8].copy_from_slice(&4_000_u16.to_be_bytes());
    octets.extend(wire("x.test"));
    octets.extend([0, 10, 0, 1, 0, 0, 0, 60, 0x3f, 0x00]);
    let first = octets.len();
    for index in 0..0x3f00 / 2 {
        let to = if index == 0 { 12 } else { first + 2 * (index - 1) };
        octets.extend((0xc000 | u16::try_from(to).expect("14 bits")).to_be_bytes());
    }
    let [high, low] = u16::try_from(first + 0x3f00 - 4).expect("14 bits").to_be_bytes();
    for _ in 0..3_000 {
        octets.extend([0xc0 | high, low, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    octets.truncate(65_535);
    // The record that holds the pointers is of a kind that nobody asked for.
    assert_eq!(reply(&octets, &query).records.len(), DNS_RECORDS_READ_MAX - 1);
}

#[test]
fn a082_counts_beyond_the_octets_are_malformed() {
    let query = query(Kind::A, "a.test");
    let good = Answer::to(query.octets(), 0).with("a.test", A, 60, &[192, 0, 2, 1]).octets;
    for at in [6, 8] {
        let mut octets = good.clone();
        octets[at..at + 2].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(read(&octets, &query), Seen::Malformed);
    }
    for len in 24..good.len() {
        assert_eq!(read(&good[..len], &query), Seen::Malformed, "cut at {len}");
    }
    let mut longer = good.clone();
    let rdlength = longer.len() - 5;
    longer[rdlength] = 5;
    assert_eq!(read(&longer, &query), Seen::Malformed, "RDLENGTH beyond the end");
    longer[rdlength] = 3;
    assert_eq!(read(&longer, &query), Seen::Malformed, "RDLENGTH too short");
    // Nothing in the additional section answers, so nothing in it is read.
    let mut additional = good.clone();
    additional[10..12].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(reply(&additional, &query).records.len(), 1);
}

#[test]
fn a088_texts_are_octets_of_bounded_length() {
    let query = query(Kind::Txt, "t.test");
    let strings = |count: usize| [&[250][..], &[0xff; 250]].concat().repeat(count);
    let answer = Answer::to(query.octets(), 0)
        .with("t.test", TXT, 60, b"\x03v=s\x02pf\0")
        .with("t.test", TXT, 60, &strings(250))
        .with("t.test", TXT, 60, &strings(DNS_TXT_BYTES_MAX / 250));
    let texts: Vec<_> = reply(&answer.octets, &query).records.into_iter().map(|record| record.data).collect();
    let longest: Box<[u8]> = vec![0xff; DNS_TXT_BYTES_MAX / 250 * 250].into();
    assert_eq!(texts, [Data::Txt(Some(b"v=spf"[..].into())), Data::Txt(None), Data::Txt(Some(longest))]);
}

#[test]
fn a091_lives_are_from_nothing_to_a_week() {
    let query = query(Kind::A, "a.test");
    for (ttl, want) in [(0, 0), (60, 60), (u32::MAX, 0), (1 << 31, 0), (i32::MAX as u32, DNS_TTL_S_MAX)] {
        let answer = Answer::to(query.octets(), 0).with("a.test", A, ttl, &[192, 0, 2, 1]);
        assert_eq!(reply(&answer.octets, &query).records[0].ttl_s, want);
        let none = Answer::to(query.octets(), 3).soa(ttl, u32::MAX - 1);
        assert_eq!(reply(&none.octets, &query).negative_ttl_s, Some(0));
        let none = Answer::to(query.octets(), 3).soa(ttl, 3_000_000);
        assert_eq!(reply(&none.octets, &query).negative_ttl_s, Some(want.min(DNS_TTL_S_MAX)));
    }
}

#[test]
fn a081_a_host_of_strange_octets_is_no_host() {
    let query = query(Kind::Ptr, "1.2.0.192.in-addr.arpa");
    let owner = "1.2.0.192.in-addr.arpa";
    let answer = Answer::to(query.octets(), 0)
        .with(owner, PTR, 60, b"\x08evil\r\nXX\x04test\0")
        .with(owner, PTR, 60, b"\x05a.com\x04test\0")
        .with(owner, PTR, 60, &wire("good.test"))
        .with("evil\r\n.test", A, 60, &[192, 0, 2, 1]);
    let data: Vec<_> = reply(&answer.octets, &query).records.into_iter().map(|record| record.data).collect();
    assert_eq!(data, [Data::Ptr(None), Data::Ptr(None), Data::Ptr(Some(name("good.test")))]);
}

#[test]
fn codes_that_are_no_answer_are_told_apart() {
    let query = query(Kind::Mx, "a.test");
    let code = |code| read(&Answer::to(query.octets(), code).octets, &query);
    assert_eq!(code(1), Seen::NotUnderstood);
    assert_eq!(code(2), Seen::Refused(2));
    assert_eq!(code(4), Seen::NotUnderstood);
    assert_eq!(code(5), Seen::Refused(5));
    let mut bare = Answer::to(query.octets(), 1).octets;
    bare.truncate(12);
    bare[5] = 0;
    assert_eq!(read(&bare, &query), Seen::NotUnderstood, "without a question");
    let short = Answer::to(query.octets(), 0).flags(2, 0).with("a.test", MX, 60, &[0]);
    assert_eq!(read(&short.octets, &query), Seen::Truncated);
}

/// Octets that are read to their end: an answer with a record of each kind that we look at.
fn whole(query: &Query) -> Vec<u8> {
    let answer = Answer::to(query.octets(), 0)
        .alias("d.test", "e.test")
        .with("e.test", A, 60, &[192, 0, 2, 1])
        .with("e.test", 28, 60, &[7; 16])
        .mx("e.test", 10, "mx.test")
        .with("e.test", TXT, 60, b"\x02hi\x03you")
        .with("e.test", PTR, 60, &wire("host.test"))
        .with("e.test", 33, 60, &[&[0, 1, 0, 2, 0, 3][..], &wire("srv.test")].concat())
        .with("e.test", 65_280, 60, b"what is this")
        .record(1, "test", NS, 60, &wire("ns.test"))
        .soa(60, 60);
    answer.octets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn octets_that_nobody_wrote_are_read_without_harm(
        spoilt in prop::collection::vec((24_usize..400, any::<u8>()), 0..12),
        cut in 0_usize..500,
        more in prop::collection::vec(any::<u8>(), 0..64),
        kind in prop::sample::select(vec![Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr]),
    ) {
        let query = query(kind, "d.test");
        let mut octets = whole(&query);
        for (at, octet) in spoilt {
            let at = at % octets.len();
            octets[at] = octet;
        }
        octets.truncate(cut.max(1));
        octets.extend(more);
        if let Seen::Reply(reply) = read(&octets, &query) {
            for record in &reply.records {
                prop_assert!(record.ttl_s <= DNS_TTL_S_MAX);
                prop_assert!(record.owner.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
            // Whatever it means, it is said without a panic.
            let _ = judge(reply, kind, &Alias::none(name("d.test")));
        }
    }
}

#[test]
fn the_whole_answer_is_read_before_it_is_spoilt() {
    let query = query(Kind::Mx, "d.test");
    let reply = reply(&whole(&query), &query);
    assert_eq!((reply.records.len(), reply.negative_ttl_s, reply.referral), (6, Some(60), true));
}
