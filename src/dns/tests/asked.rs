//! A resolver on loopback, asked over real sockets.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc;

use futures_lite::future::zip;

use super::super::answer::{Absent, Lookup, Mx, Reason};
use super::super::resolver::{Family, Resolver};
use super::super::{Settings, answer};
use super::stand_in::{Heard, Say, StandIn};
use super::{A, Answer, MX, PTR, TXT, name, wire};
use crate::limits::DNS_FORGED_MAX;
use crate::observe::{self, Counter};
use crate::shard::{self, Mesh, Plan};

/// Runs `work` on a shard with a resolver that asks these.
fn with_resolver<T: Send + 'static, Fut: Future<Output = T> + 'static>(
    settings: Settings,
    work: impl Fn(Resolver) -> Fut + Clone + Send + 'static,
) -> T {
    let (tell, hear) = mpsc::channel();
    let plan = Plan { ring_entries: 64, recv_buffers: 64, recv_buffer_bytes: 2_048, ..Plan::for_cpus(vec![0]) };
    shard::run(plan, move |_: Mesh<(), ()>| {
        let (work, tell, resolver) = (work.clone(), tell.clone(), Resolver::new(settings.clone()));
        async move {
            tell.send(work(resolver).await).expect("the test waits");
            Ok(())
        }
    })
    .expect("the shard starts and ends");
    hear.recv().expect("the work ended")
}

fn impatient(resolvers: Vec<SocketAddr>) -> Settings {
    Settings { timeout_s: 1, attempts: 1, ..Settings::ask(resolvers) }
}

fn kind_of(heard: &Heard) -> u16 {
    let end = 12 + heard.octets[12..].iter().position(|octet| *octet == 0).expect("a name ends");
    u16::from_be_bytes([heard.octets[end + 1], heard.octets[end + 2]])
}

fn answers(heard: &Heard) -> Answer {
    Answer::to(&heard.octets, 0)
}

#[test]
fn each_kind_is_found_once_asked_and_then_known() {
    let stand_in = StandIn::start(|heard| {
        let answer = match kind_of(heard) {
            A => answers(heard).with("d.test", A, 60, &[192, 0, 2, 1]),
            MX => answers(heard).mx("d.test", 10, "mx.test"),
            TXT => answers(heard).with("d.test", TXT, 60, b"\x02hi"),
            PTR => answers(heard).with("1.2.0.192.in-addr.arpa", PTR, 60, &wire("mx.test")),
            _ => Answer::to(&heard.octets, 0).soa(60, 60),
        };
        vec![Say::Octets(answer.octets)]
    });
    with_resolver(impatient(vec![stand_in.at]), |resolver| async move {
        for _ in 0..3 {
            let mx = resolver.lookup_mx(&name("d.test")).await;
            assert_eq!(mx.found().expect("found").records, [Mx { preference: 10, exchange: Some(name("mx.test")) }]);
            let both = resolver.lookup_address(&name("d.test"), Family::Any).await;
            assert_eq!(both.found().expect("found").records, [IpAddr::from([192, 0, 2, 1])]);
            let v6 = resolver.lookup_address(&name("d.test"), Family::V6).await;
            assert!(matches!(v6, Lookup::NoData(Absent { .. })), "{v6:?}");
            let text = resolver.lookup_txt(&name("d.test")).await;
            assert_eq!(text.found().expect("found").records, [b"hi"[..].into()]);
            let names = resolver.lookup_ptr([192, 0, 2, 1].into()).await;
            assert_eq!(names.found().expect("found").records, [name("mx.test")]);
        }
        assert_eq!(observe::here(Counter::DnsQueriesUdp), 5);
        assert_eq!(observe::here(Counter::DnsCacheHits), 13);
        assert_eq!((observe::here(Counter::DnsFound), observe::here(Counter::DnsNoData)), (12, 6));
    });
    assert_eq!(stand_in.heard().len(), 5);
}

#[test]
fn each_query_has_an_id_and_a_port_of_its_own() {
    let stand_in = StandIn::start(|heard| vec![Say::Octets(Answer::to(&heard.octets, 3).soa(60, 60).octets)]);
    with_resolver(impatient(vec![stand_in.at]), |resolver| async move {
        for n in 0..40 {
            let none = resolver.lookup_txt(&name(&format!("{n}.test"))).await;
            assert_eq!(none, Lookup::NoName(Absent { ttl_s: 60, authentic: false }));
        }
    });
    let heard = stand_in.heard();
    let mut ids: Vec<_> = heard.iter().map(|query| [query.octets[0], query.octets[1]]).collect();
    let mut ports: Vec<_> = heard.iter().map(|query| query.from.port()).collect();
    ids.sort_unstable();
    ids.dedup();
    ports.sort_unstable();
    ports.dedup();
    assert!(ids.len() > 35 && ports.len() > 35, "{} ids, {} ports", ids.len(), ports.len());
    assert!(!ports.windows(10).any(|ten| ten[9] - ten[0] == 9), "not one after the other: {ports:?}");
}

#[test]
fn a083_answers_that_are_not_ours_are_ignored_and_counted() {
    let stand_in = StandIn::start(|heard| {
        let good = answers(heard).with("d.test", A, 60, &[192, 0, 2, 1]).octets;
        let evil = answers(heard).with("d.test", A, 60, &[203, 0, 113, 66]).octets;
        let (mut id, mut question) = (evil.clone(), evil.clone());
        id[1] ^= 1;
        question[13] = b'e';
        vec![
            Say::Octets(id),
            Say::Octets(question),
            Say::Octets(Vec::new()),
            Say::Octets(b"junk".to_vec()),
            Say::Elsewhere(evil),
            Say::Octets(good),
        ]
    });
    with_resolver(impatient(vec![stand_in.at]), |resolver| async move {
        let answer = resolver.lookup_address(&name("d.test"), Family::V4).await;
        assert_eq!(answer.found().expect("found").records, [IpAddr::from([192, 0, 2, 1])]);
        // What came from elsewhere the kernel dropped.
        assert_eq!(observe::here(Counter::DnsForged), 4);
    });
}

#[test]
fn a083_under_a_flood_of_forged_answers_it_is_asked_by_tcp() {
    let stand_in = StandIn::start(|heard| {
        let good = answers(heard).with("d.test", A, 60, &[192, 0, 2, 1]).octets;
        if heard.tcp {
            return vec![Say::Octets(good)];
        }
        let forged = |n: u8| {
            let mut octets = good.clone();
            octets[0] ^= n;
            Say::Octets(octets)
        };
        (1..=60).map(forged).collect()
    });
    with_resolver(impatient(vec![stand_in.at]), |resolver| async move {
        let answer = resolver.lookup_address(&name("d.test"), Family::V4).await;
        assert!(answer.found().is_some(), "{answer:?}");
        assert_eq!(observe::here(Counter::DnsForged), u64::from(DNS_FORGED_MAX));
    });
    assert!(stand_in.heard()[1].tcp);
}

#[test]
fn a084_what_is_truncated_comes_by_tcp() {
    let stand_in = StandIn::start(|heard| {
        let mut answer = answers(heard);
        if !heard.tcp {
            return vec![Say::Octets(answer.flags(2, 0).octets)];
        }
        for n in 0..90 {
            answer = answer.with("d.test", TXT, 60, &[&[200][..], &[n; 200]].concat());
        }
        vec![Say::Octets(answer.octets)]
    });
    with_resolver(impatient(vec![stand_in.at]), |resolver| async move {
        let answer = resolver.lookup_txt(&name("d.test")).await;
        let found = answer.found().expect("found");
        assert!(found.records.len() == 90 && found.records[89][..] == [89; 200]);
        assert_eq!((observe::here(Counter::DnsQueriesUdp), observe::here(Counter::DnsQueriesTcp)), (1, 1));
    });
}

#[test]
fn whoever_does_not_understand_edns_is_asked_without() {
    let stand_in = StandIn::start(|heard| {
        let code = if heard.octets[11] > 0 { 1 } else { 0 };
        let mut octets = Answer::to(&heard.octets, code).octets;
        if code == 0 {
            octets = answers(heard).with("d.test", A, 60, &[192, 0, 2, 1]).octets;
        }
        vec![Say::Octets(octets)]
    });
    with_resolver(impatient(vec![stand_in.at]), |resolver| async move {
        assert!(resolver.lookup_address(&name("d.test"), Family::V4).await.found().is_some());
    });
    assert_eq!(stand_in.heard().len(), 2);
}

#[test]
fn the_next_resolver_is_asked_when_one_is_not_there_or_fails() {
    let fails = StandIn::start(|heard| vec![Say::Octets(Answer::to(&heard.octets, 2).octets)]);
    let good = StandIn::start(|heard| vec![Say::Octets(answers(heard).with("d.test", A, 60, &[192, 0, 2, 1]).octets)]);
    // A port where nobody answers: it was free a moment ago.
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    with_resolver(impatient(vec![nobody, fails.at, good.at]), |resolver| async move {
        let answer = resolver.lookup_address(&name("d.test"), Family::V4).await;
        assert!(answer.found().is_some(), "{answer:?}");
        assert_eq!((observe::here(Counter::DnsUnreachable), observe::here(Counter::DnsRefusals)), (1, 1));
        assert_eq!(observe::here(Counter::DnsTimeouts), 0);
    });
    assert_eq!((fails.heard().len(), good.heard().len()), (1, 1));
}

#[test]
fn a090_when_all_fail_it_is_for_now() {
    let fails = StandIn::start(|heard| vec![Say::Octets(Answer::to(&heard.octets, 2).octets)]);
    let silent = StandIn::start(|_| Vec::new());
    let asked = vec![fails.at, silent.at];
    with_resolver(impatient(asked), |resolver| async move {
        let answer = resolver.lookup_mx(&name("d.test")).await;
        assert_eq!(answer, Lookup::Failed(Reason::Timeout));
        // Kept for a moment, so that a crowd does not ask again at once.
        let again = resolver.lookup_mx(&name("d.test")).await;
        assert_eq!((again, observe::here(Counter::DnsCacheHits)), (Lookup::Failed(Reason::Timeout), 1));
    });
    with_resolver(Settings::ask(Vec::new()), |resolver| async move {
        assert_eq!(resolver.lookup_mx(&name("d.test")).await, Lookup::Failed(Reason::NoResolver));
    });
}

#[test]
fn who_asks_the_same_at_the_same_time_waits_for_one_answer() {
    let stand_in = StandIn::start(|heard| vec![Say::Octets(answers(heard).mx("d.test", 1, "mx.test").octets)]);
    with_resolver(impatient(vec![stand_in.at]), |resolver| async move {
        let domain = name("d.test");
        let (one, (other, third)) =
            zip(resolver.lookup_mx(&domain), zip(resolver.lookup_mx(&domain), resolver.lookup_mx(&domain))).await;
        assert!(one.found().is_some() && one == other && other == third);
        assert_eq!(observe::here(Counter::DnsShared), 2);
    });
    assert_eq!(stand_in.heard().len(), 1);
}

#[test]
fn a087_validated_is_believed_of_a_resolver_on_this_host() {
    let stand_in = StandIn::start(|heard| {
        vec![Say::Octets(answers(heard).flags(0, 0x20).with("d.test", A, 60, &[192, 0, 2, 1]).octets)]
    });
    with_resolver(impatient(vec![stand_in.at]), |resolver| async move {
        let answer = resolver.lookup_address(&name("d.test"), Family::V4).await;
        assert!(answer.found().expect("found").authentic);
    });
}

#[test]
fn with_mixed_case_an_answer_that_does_not_repeat_it_is_ignored() {
    let stand_in = StandIn::start(|heard| {
        let good = answers(heard).with("mail.example.test", A, 60, &[192, 0, 2, 1]).octets;
        let mut lower = good.clone();
        lower[12..30].make_ascii_lowercase();
        vec![Say::Octets(lower), Say::Octets(good)]
    });
    let settings = Settings { mixed_case: true, ..impatient(vec![stand_in.at]) };
    let forged = with_resolver(settings, |resolver| async move {
        let mut forged = Vec::new();
        for label in ["a", "b", "c", "d"] {
            let asked = name("mail.example.test").below(label).expect("a name");
            // The record is of another name: nothing of this kind, whichever answer is taken.
            let none = resolver.lookup_address(&asked, Family::V4).await;
            assert!(matches!(none, answer::Lookup::NoData(_)), "{none:?}");
            forged.push(observe::here(Counter::DnsForged));
        }
        forged
    });
    assert!(forged[3] >= 3, "letters are capitals by chance: {forged:?}");
}
