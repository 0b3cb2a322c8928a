//! What answers mean.

use super::super::answer::{Absent, Alias, Found, Item, Lookup, Mx, Reason, Step, judge};
use super::super::message::{Kind, Seen, read};
use super::{A, Answer, NS, PTR, TXT, name, query, wire};
use crate::limits::{DNS_ALIASES_MAX, DNS_NEGATIVE_TTL_S_MAX, DNS_PTR_NAMES_MAX, DNS_RECORDS_MAX};

fn judged(kind: Kind, of: &str, code: u8, make: impl FnOnce(Answer) -> Answer) -> Step {
    let query = query(kind, of);
    match read(&make(Answer::to(query.octets(), code)).octets, &query) {
        Seen::Reply(reply) => judge(reply, kind, &Alias::none(name(of))),
        other => panic!("{other:?}"),
    }
}

fn found(step: Step) -> Found<Item> {
    match step {
        Step::Done(Lookup::Found(found)) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn exchangers_come_in_the_order_of_their_preference() {
    let answer = |a: Answer| a.mx("d.test", 20, "b.test").mx("d.test", 10, "MX.test").mx("x.test", 1, "evil.test");
    let found = found(judged(Kind::Mx, "D.test", 0, answer));
    let mx = |preference, host| Item::Mx(Mx { preference, exchange: Some(name(host)) });
    assert_eq!(found.records, [mx(10, "mx.test"), mx(20, "b.test")]);
    assert_eq!((found.name, found.ttl_s, found.authentic), (name("d.test"), 300, false));
}

#[test]
fn a_domain_may_say_that_it_takes_no_mail() {
    let found = found(judged(Kind::Mx, "d.test", 0, |a| a.mx("d.test", 0, "")));
    assert_eq!(found.records, [Item::Mx(Mx { preference: 0, exchange: None })]);
}

#[test]
fn aliases_are_followed_within_an_answer_and_live_no_longer_than_the_shortest() {
    let answer = |a: Answer| {
        let a = a.with("c.test", A, 900, &[192, 0, 2, 3]).alias("b.test", "c.test");
        a.with("a.test", 5, 20, &wire("b.test")).with("a.test", TXT, 1, b"\x01x")
    };
    let found = found(judged(Kind::A, "a.test", 0, answer));
    assert_eq!(found.records, [Item::Address([192, 0, 2, 3].into())]);
    assert_eq!((found.name, found.ttl_s), (name("c.test"), 20));
}

#[test]
fn an_alias_without_its_end_is_asked_for_next() {
    let step = judged(Kind::A, "a.test", 0, |a| a.alias("a.test", "b.test"));
    assert_eq!(step, Step::Follow(Alias { of: name("b.test"), count: 1, ttl_s: 300, authentic: false }));
    let nowhere = judged(Kind::A, "a.test", 3, |a| a.alias("a.test", "b.test").soa(60, 60));
    assert_eq!(nowhere, Step::Done(Lookup::NoName(Absent { ttl_s: 60, authentic: false })));
}

#[test]
fn a085_aliases_without_an_end_fail_for_now() {
    let loops = judged(Kind::A, "a.test", 0, |a| a.alias("a.test", "b.test").alias("b.test", "a.test"));
    assert_eq!(loops, Step::Done(Lookup::Failed(Reason::Aliases)));
    let chain = |count: usize| {
        judged(Kind::A, "0.test", 0, |mut a| {
            for n in 0..count {
                a = a.alias(&format!("{n}.test"), &format!("{}.test", n + 1));
            }
            a.with(&format!("{count}.test"), A, 60, &[192, 0, 2, 1])
        })
    };
    assert_eq!(chain(DNS_ALIASES_MAX + 1), Step::Done(Lookup::Failed(Reason::Aliases)));
    assert_eq!(found(chain(DNS_ALIASES_MAX)).name, name(&format!("{DNS_ALIASES_MAX}.test")));
}

#[test]
fn no_such_name_and_nothing_of_that_kind_are_two_things() {
    let absent = |ttl_s| Absent { ttl_s, authentic: false };
    let none = |code, ttl, minimum| judged(Kind::Txt, "a.test", code, |a| a.soa(ttl, minimum));
    assert_eq!(none(3, 600, 60), Step::Done(Lookup::NoName(absent(60))));
    assert_eq!(none(0, 30, 60), Step::Done(Lookup::NoData(absent(30))));
    let weeks = none(0, 600_000, 600_000);
    assert_eq!(weeks, Step::Done(Lookup::NoData(absent(DNS_NEGATIVE_TTL_S_MAX))));
    assert_eq!(judged(Kind::Txt, "a.test", 3, |a| a), Step::Done(Lookup::NoName(absent(0))), "without SOA: not kept");
}

#[test]
fn who_only_sends_us_on_is_no_resolver() {
    let step = judged(Kind::A, "a.test", 0, |a| a.record(1, "test", NS, 60, &wire("ns.test")));
    assert_eq!(step, Step::Useless(Reason::Lame));
}

#[test]
fn records_that_are_all_junk_are_not_the_same_as_none() {
    let step = judged(Kind::Mx, "d.test", 0, |a| a.mx("d.test", 5, "a_b.test").mx("d.test", 6, "x y.test"));
    assert_eq!(step, Step::Useless(Reason::Malformed));
    let one = judged(Kind::Mx, "d.test", 0, |a| a.mx("d.test", 5, "a_b.test").mx("d.test", 6, "good.test"));
    assert_eq!(found(one).records.len(), 1);
}

#[test]
fn a086_of_very_many_exchangers_some_are_kept() {
    let many = |mut a: Answer| {
        for n in (0..1_000).rev() {
            a = a.mx("d.test", n % 200, &format!("mx{n}.test"));
        }
        a
    };
    let found = found(judged(Kind::Mx, "d.test", 0, many));
    assert_eq!(found.records.len(), DNS_RECORDS_MAX);
    let preferences: Vec<u16> =
        found.records.iter().map(|item| if let Item::Mx(mx) = item { mx.preference } else { 0 }).collect();
    assert!(preferences.is_sorted() && preferences[0] == 0);
}

#[test]
fn a092_of_very_many_names_of_an_address_few_are_kept() {
    let owner = "1.2.0.192.in-addr.arpa";
    let many = |mut a: Answer| {
        a = a.with(owner, PTR, 60, b"\x0aevil\r\nX: Y\x04test\0");
        for n in 0..2_000 {
            a = a.with(owner, PTR, 60, &wire(&format!("n{n}.test")));
        }
        a
    };
    let found = found(judged(Kind::Ptr, owner, 0, many));
    assert_eq!(found.records.len(), DNS_PTR_NAMES_MAX);
    assert_eq!(found.records[0], Item::Name(name("n0.test")));
}
