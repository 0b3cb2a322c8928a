//! Relay is impossible (DESIGN §9), whatever the listener, whoever logs in, whatever the rules say and however an address is
//! written: what is accepted ends at accounts of this host, and it was written for a domain of this host.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use ringpost_storage::AccountId;

use super::*;
use crate::directory::catalogue::{self, AccountRules, DomainRules, Entry, Key, List, Rule};
use crate::directory::{Change, Home};
use crate::proto::contract::{Input, Out, Privacy, Session as _};
use crate::proto::smtp::{Answer, Ask, Config, Reply, Role, Session};

const OURS: [&str; 3] = ["us.test", "also.test", "xn--bcher-kva.test"];
const THEIRS: [&str; 6] = ["other.test", "us.test.other.test", "notus.test", "test", "[127.0.0.1]", "[IPv6:::1]"];
const LOCALS: [&str; 10] = [
    "alice",
    "bob",
    "team",
    "x",
    "postmaster",
    "abuse+1",
    "alice%other.test",
    "other.test!x",
    "\"a@other.test\"",
    "\"a b\"",
];

/// Names as rules may have them: ours and others'.
fn name() -> impl Strategy<Value = String> {
    let domains: Vec<&str> = OURS.into_iter().chain(THEIRS).collect();
    (prop::sample::select(&LOCALS[..6]), prop::sample::select(domains))
        .prop_map(|(local, domain)| format!("{local}@{domain}"))
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(name(), 0..5)
}

/// A catalogue that no verb would make: everything in it may lead elsewhere.
fn directory() -> impl Strategy<Value = Directory> {
    let accounts = prop::collection::vec(name(), 0..6);
    let rule = prop_oneof![
        (name(), any::<bool>(), names())
            .prop_map(|(of, group, targets)| (Key::List(of), Rule::List(List { group, targets }))),
        (name(), names(), any::<bool>(), names()).prop_map(|(of, forward, keep, journal)| {
            (
                Key::Account(of),
                Rule::Account(AccountRules { forward, keep, journal, folders: true, ..AccountRules::default() }),
            )
        }),
        (0..4_usize, name(), name(), names()).prop_map(|(at, all, post, journal)| {
            let key = OURS.get(at).map_or(Key::Default, |domain| Key::Domain((*domain).to_owned()));
            let rules = DomainRules { catch_all: Some(all), postmaster: Some(post), journal, separator: None };
            (key, Rule::Domain(rules))
        }),
        (prop::sample::select(&OURS[..]), prop::sample::select(&THEIRS[..4]))
            .prop_map(|(alias, of)| { (Key::DomainAlias(format!("alias.{alias}")), Rule::DomainAlias(of.to_owned())) }),
    ];
    (accounts, prop::collection::vec(rule, 0..12)).prop_map(|(accounts, rules)| {
        let mut directory = Directory::default();
        let home = |n: usize| Home { volume: 0, account: AccountId(n as u64), generation: 1 };
        // Accounts are of domains of ours: no verb and no log has made others.
        let accounts = accounts.into_iter().filter(|name| OURS.iter().any(|ours| name.ends_with(&format!("@{ours}"))));
        directory.apply(Change::Volume {
            volume: 0,
            catalogue: OURS.map(catalogue::domain).to_vec(),
            accounts: accounts.enumerate().map(|(n, name)| (name, home(n))).collect(),
            limited: vec![],
            keyless: vec![],
            whole: true,
        });
        for (key, rule) in rules {
            directory.apply(Change::Put(key, Entry { at: 1, rule }));
        }
        directory
    })
}

/// An address as somebody may write it into RCPT, and the domain behind its last `@`.
fn written() -> impl Strategy<Value = (String, String)> {
    // Some of them ours: what is never accepted proves nothing.
    let spellings =
        ["us.test", "US.Test", "also.test", "b\u{fc}cher.test", "B\u{dc}CHER.test", "us.test.", ".us.test", "us_.test"];
    let domains: Vec<&str> = THEIRS.into_iter().chain(spellings).chain(OURS).collect();
    let local = prop::sample::select(&LOCALS[..]);
    let route = prop::sample::select(&["", "", "", "", "@us.test:", "@other.test,@us.test:", "@us.test,", ":"][..]);
    let tail = prop::sample::select(&["", "", "", "", "", "", "@us.test", "%us.test", " "][..]);
    (local, prop::sample::select(domains), route, tail).prop_map(|(local, domain, route, tail)| {
        let text = format!("{route}{local}@{domain}{tail}");
        let last = text.rsplit('@').next().unwrap_or_default().to_owned();
        (text, last)
    })
}

/// A session of some listener, with or without a login, in which a transaction has begun.
fn begun(role: Role, privacy: Privacy, plaintext: bool, login: bool, sender: &str) -> Session {
    let config = Config {
        hostname: "mx.us.test".to_owned(),
        role,
        privacy,
        plaintext_auth_allowed: plaintext,
        ..Config::default()
    };
    let mut out = Out::default();
    let mut session = Session::open(Arc::new(config), &mut out);
    let hello = if role == Role::Lmtp { "LHLO" } else { "EHLO" };
    // The name and password are anything: the world says yes.
    let auth = if login { "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n" } else { "" };
    for line in [&format!("{hello} us.test\r\n"), auth, &format!("MAIL FROM:<{sender}> SMTPUTF8\r\n")] {
        talk(&mut session, line, &mut |_| Answer::Yes);
    }
    session
}

/// Says something and answers what is asked; the replies.
fn talk(session: &mut Session, line: &str, world: &mut impl FnMut(Ask) -> Answer) -> String {
    let mut out = Out::default();
    let mut rest = line.as_bytes();
    while !rest.is_empty() || out.ask.is_some() {
        match out.ask.take() {
            Some(ask) => {
                let answer = world(ask);
                session.step(Input::Answer(answer), &mut out);
            }
            None => {
                let used = session.step(Input::Bytes(rest), &mut out);
                rest = &rest[used..];
                if used == 0 && out.ask.is_none() {
                    break;
                }
            }
        }
    }
    String::from_utf8_lossy(&out.reply).into_owned()
}

#[test]
fn a034_nothing_that_anybody_says_makes_a_relay() {
    let listener = (
        prop::sample::select(&[Role::Mx, Role::Submission, Role::Lmtp][..]),
        prop::sample::select(&[Privacy::None, Privacy::Offered, Privacy::Tls][..]),
        any::<(bool, bool)>(),
    );
    let sender = prop::sample::select(&["", "alice@us.test", "x@other.test"][..]);
    let all = (directory(), listener, sender, prop::collection::vec(written(), 1..12));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 2_048, failure_persistence: None, ..ProptestConfig::default() });
    let accepted = Cell::new(0);
    let told = runner.run(&all, |(directory, (role, privacy, (plaintext, login)), sender, recipients)| {
        let mut session = begun(role, privacy, plaintext, login, sender);
        for (text, domain) in recipients {
            accepted.set(accepted.get() + u32::from(is_accepted(&mut session, &directory, &text, &domain)?));
        }
        Ok(())
    });
    told.unwrap_or_else(|why| panic!("{why}"));
    assert!(accepted.get() > 20, "only {} recipients were accepted: nothing was tried", accepted.get());
}

/// Whether RCPT of `text` is accepted, and then only for people here. `domain`: what stands behind its last `@`.
fn is_accepted(session: &mut Session, directory: &Directory, text: &str, domain: &str) -> Result<bool, TestCaseError> {
    let mut reached = Vec::new();
    let reply = talk(session, &format!("RCPT TO:<{text}>\r\n"), &mut |ask| match ask {
        Ask::Rcpt { recipient } => match route(&recipient, directory, 1, 0).0 {
            Route::Mailboxes(targets) => {
                reached = targets;
                Answer::Yes
            }
            Route::Nowhere(_) => Answer::No(Reply::new(550, (5, 7, 1), "Relaying denied")),
        },
        _ => Answer::Yes,
    });
    if !reply.starts_with("250") {
        return Ok(false);
    }
    prop_assert!(!reached.is_empty(), "{text} was accepted for nobody");
    for target in &reached {
        prop_assert_eq!(directory.home(&target.name), Some(target.home), "{} leads to {}", text, target.name);
        let of = target.name.rsplit('@').next().unwrap_or_default();
        prop_assert!(OURS.contains(&of), "{} leads to {}", text, target.name);
    }
    let domain = idna::domain_to_ascii(domain).unwrap_or_default();
    prop_assert!(OURS.contains(&domain.as_str()), "{text} is of {domain}");
    // A source route is passed over (RFC 5321 §4.1.1.3): what stands behind it counts.
    let mailbox = text.rsplit_once(':').map_or(text, |(_, mailbox)| mailbox);
    prop_assert!(!mailbox.contains(['%', '!', '"']) || !mailbox.contains("other.test"), "{text}");
    Ok(true)
}
