//! The whole node in the simulated world: mail in by SMTP, power cuts, mail out by POP3 and IMAP, from one seed.
//!
//! `scripted` holds the clients and the ledger against known dialogues, `toy` the whole story against servers that are
//! right or wrong on purpose: what is to find faults must be seen to find some.

#[cfg(feature = "bugs")]
mod bugs;
mod copy_away;
mod crowd;
mod disk_trouble;
mod imap;
mod imap_apart;
mod imap_condstore;
mod imap_copy;
mod imap_door;
mod imap_idle;
mod imap_kept;
mod imap_keywords;
mod imap_large;
mod imap_many;
mod imap_names;
mod imap_races;
mod large;
mod ledger;
mod lines;
mod logins;
mod lost;
mod node;
mod pop3;
mod post;
mod quota;
mod renames;
mod scripted;
mod secure;
#[cfg(feature = "bugs")]
#[path = "../seeded/mod.rs"]
mod seeded;
mod smtp;
mod smtp_door;
#[allow(dead_code, reason = "each test uses its part of the stage")]
#[path = "../stage/mod.rs"]
mod stage;
mod story;
mod tls;
mod toy;
mod transfers;
mod wall;
