//! The kill loop's crowd and ledger against a server in memory whose connections are cut, honest and not.

use super::crowd::Part;
use super::rounds::{DOMAIN, Plan, Run, Summary};
use super::server::Doors;
use crate::accounts;
use crate::fake::post::{Post, Vice};
use crate::ledger::Kind;
use crate::letter::Letters;

/// Plays three rounds of cut connections; returns what was found.
fn rounds(vice: Vice) -> Summary {
    let accounts = accounts::generate(4, DOMAIN, 1);
    let letters = Letters::new(99, &[600, 1_500]).unwrap();
    let post = Post::start(&accounts, vice);
    let doors = Doors { smtp: post.smtp, imap: post.imap, pop3: post.pop3 };
    let plan = Plan { campaign: "kill", seed: 1, rounds: 3, accounts: 4, senders: 1, after_ms: (0, 0) };
    let mut run = Run::new(&plan, &accounts, &letters);
    run.hush();
    for round in 1..=3 {
        // The server in memory does not tell one session of another's EXPUNGE, so each has an account of its own.
        let parts = [
            Part::Sender,
            Part::Sender,
            Part::Appender { account: 3 },
            Part::Editor { account: 0, uids: run.uids(0) },
            Part::ImapReader { account: 1 },
            Part::Pop3Reader { account: 2 },
        ];
        let events = run.round(doors, &parts, round, || {
            // By what was received, not by the clock: a slow machine plays the same round.
            while post.received() < round * 60 {
                std::thread::yield_now();
            }
            post.cut();
        });
        run.record(events);
        run.audit(doors, round == 3);
    }
    if vice == Vice::None {
        run.audit_pop3(doors);
        let (there, unknown, _) = run.census();
        assert!(there > 50, "{there}");
        assert_eq!(unknown, 0, "an audit settles everything");
    }
    run.into_summary()
}

#[test]
fn an_honest_server_that_is_cut_breaks_no_promise() {
    let summary = rounds(Vice::None);
    assert!(summary.faults.is_empty() && summary.broken == 0, "{summary:?}");
    assert!(summary.acknowledged > 100 && summary.shown > 0 && summary.flagged > 0, "{summary:?}");
}

#[test]
fn a_server_that_loses_an_acknowledged_letter_is_caught() {
    assert!(rounds(Vice::Loses).faults.contains_key(&Kind::Missing));
}

#[test]
fn a_server_that_delivers_twice_is_caught() {
    assert!(rounds(Vice::Doubles).faults.contains_key(&Kind::Doubled));
}

#[test]
fn a_server_that_alters_a_letter_is_caught() {
    assert!(rounds(Vice::Alters).faults.contains_key(&Kind::Altered));
}

#[test]
fn a_server_that_keeps_what_it_refused_is_caught() {
    assert!(rounds(Vice::KeepsRefused).faults.contains_key(&Kind::Uninvited));
}
