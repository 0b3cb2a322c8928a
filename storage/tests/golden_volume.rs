//! Whole volumes of format 2, kept as files: every later program opens them and finds what is in them. The second has the
//! kinds of record that came with RENAME, SUBSCRIBE, COPY and MOVE.
//!
//! `RINGPOST_GOLDEN=write` makes the files if they are not there; it never overwrites them.
#![cfg(feature = "sim")]

mod support;

use std::path::PathBuf;

use ringpost_storage::sim::SimDisk;
use ringpost_storage::{Body, Flags, FlagsHow, MailboxId, Op, OpenError, Outcome, Target, Transaction};
use support::*;

const FILES: [&str; 3] = ["superblock", "segment-00000001", "RESERVE"];

type Story = fn() -> SimDisk;

const IMAGES: [(&str, Story); 2] = [("volume-v2", tell), ("volume-v2-imap", tell_of_imap)];

fn folder(image: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(image)
}

/// The story that is in the first image.
fn tell() -> SimDisk {
    let disk = made();
    let mut v = open(&disk);
    v.done(Op::PutDomain { name: "ringpost.test".into(), info: b"info".to_vec() });
    let alice = v.account("alice@ringpost.test");
    let bob = v.account("bob@ringpost.test");
    v.commit(Transaction {
        bodies: vec![Body::from(b"Subject: to both\r\n\r\nhello\r\n".to_vec())],
        ops: vec![append(alice, 0), append(bob, 0)],
    });
    v.deliver(alice, b"Subject: second\r\n\r\n\r\n");
    let flags = Flags { bits: Flags::SEEN, keywords: Some(vec!["$Work".into()].into()) };
    v.done(store(alice, &[1], FlagsHow::Add, flags));
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![2] });
    v.done(Op::CreateMailbox { account: bob, name: "Sent".into(), special_use: 5, subscribed: false });
    v.done(Op::Summaries { account: alice, mailbox: INBOX, items: vec![(1, b"summary".to_vec())] });
    v.close();
    disk
}

/// The story that is in the second.
fn tell_of_imap() -> SimDisk {
    let disk = made();
    let mut v = open(&disk);
    let alice = v.account("alice@ringpost.test");
    v.deliver(alice, b"Subject: first\r\n\r\n1\r\n");
    v.deliver(alice, b"Subject: second\r\n\r\n2\r\n");
    let flags = Flags { bits: Flags::FLAGGED, keywords: Some(vec!["$Work".into()].into()) };
    v.done(store(alice, &[2], FlagsHow::Add, flags));
    let create = Op::CreateMailbox { account: alice, name: "Old".into(), special_use: 7, subscribed: true };
    let copy = Op::Copy { account: alice, from: INBOX, uids: vec![1, 2], to: Target::Made(0) };
    v.commit(Transaction { bodies: vec![], ops: vec![create, copy] });
    v.done(Op::RenameMailbox {
        account: alice,
        mailbox: MailboxId(2),
        from: "Old".into(),
        name: "Archiv/für immer".into(),
    });
    v.done(Op::Subscribe { account: alice, name: "nowhere".into(), on: true });
    v.done(Op::Subscribe { account: alice, name: "INBOX".into(), on: false });
    v.done(Op::Move { account: alice, from: MailboxId(2), uids: vec![2], to: Target::Mailbox(INBOX) });
    v.done(Op::Expunge { account: alice, mailbox: INBOX, uids: vec![1, 2] });
    v.close();
    disk
}

fn kept(image: &str, story: Story) -> SimDisk {
    let folder = folder(image);
    if std::env::var_os("RINGPOST_GOLDEN").is_some() && !folder.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let disk = story();
        for name in FILES {
            std::fs::write(folder.join(name), trimmed(disk.peek(name).unwrap())).unwrap();
        }
    }
    let disk = SimDisk::new(1);
    for (name, len) in FILES.into_iter().zip([256 << 10, SEGMENT as usize, SEGMENT as usize]) {
        let mut bytes = std::fs::read(folder.join(name)).unwrap();
        bytes.resize(len, 0);
        disk.poke(name, bytes);
    }
    disk
}

/// Without the zeros at the end.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1));
    bytes
}

#[test]
fn a_volume_of_format_1_is_refused_with_a_word_on_what_to_do() {
    let disk = SimDisk::new(1);
    let superblock = std::fs::read(folder("volume-v1").join("superblock")).unwrap();
    disk.poke("superblock", [superblock, vec![0; 256 << 10]].concat()[..256 << 10].to_vec());
    let Err(why) = try_open(&disk) else { panic!("must be refused") };
    assert!(matches!(why, OpenError::Older { found: 1, known: 2 }), "{why}");
    assert!(why.to_string().contains("export the mail with the program that wrote it"));
}

#[test]
fn the_same_stories_make_the_same_bytes() {
    for (image, story) in IMAGES {
        let (kept, told) = (kept(image, story), story());
        for name in FILES {
            assert!(kept.peek(name) == told.peek(name), "{name} differs from the image {image}");
        }
    }
}

#[test]
fn a_volume_of_format_2_opens_with_everything_in_it() {
    let mut v = open(&kept("volume-v2", tell));
    assert_eq!((v.recovered.torn_bytes, v.recovered.damaged.len()), (0, 0));
    assert_eq!(v.volume.domains(), vec![("ringpost.test".into(), b"info".to_vec().into())]);
    let alice = v.volume.account_named("alice@ringpost.test").unwrap();
    let bob = v.volume.account_named("bob@ringpost.test").unwrap();
    assert_eq!(v.uids(alice), vec![1]);
    for who in [alice, bob] {
        assert_eq!(v.text(who, 1).unwrap(), prefixed(who, b"Subject: to both\r\n\r\nhello\r\n"));
    }
    v.volume.mailbox(alice, INBOX, |m| {
        assert_eq!((m.uidnext(), m.highest_modseq()), (3, 5));
        assert_eq!(m.info().uidvalidity, 1_700_000_000);
        assert_eq!(m.messages()[0].keywords(), ["$Work".into()]);
        assert_eq!(m.expunged_since(4), Some(vec![2]));
    });
    // Written when only mailboxes were subscribed: the names of those that are.
    assert_eq!(
        (v.volume.subscriptions(alice), v.volume.subscriptions(bob)),
        (vec!["INBOX".into()], vec!["INBOX".into()])
    );
    let sent = &v.volume.mailboxes(bob)[1];
    assert_eq!((sent.id, sent.name.as_str(), sent.special_use, sent.subscribed), (MailboxId(2), "Sent", 5, false));
    assert_eq!(block_on(v.volume.summaries(alice, INBOX, &[1]))[0].as_deref(), Some(&b"summary"[..]));
    let again = v.commit(letter(alice, b"later\r\n"));
    assert!(matches!(again[0], Outcome::Appended { uid: 3, .. }));
}

#[test]
fn a_volume_of_format_2_with_copies_and_subscriptions_opens_with_everything_in_it() {
    let mut v = open(&kept("volume-v2-imap", tell_of_imap));
    assert_eq!((v.recovered.torn_bytes, v.recovered.damaged.len()), (0, 0));
    let alice = v.volume.account_named("alice@ringpost.test").unwrap();
    let boxes = v.volume.mailboxes(alice);
    let shown: Vec<_> = boxes.iter().map(|m| (m.name.as_str(), m.special_use, m.subscribed)).collect();
    assert_eq!(shown, [("INBOX", 0, false), ("Archiv/für immer", 7, false)]);
    assert_eq!(v.volume.subscriptions(alice), ["Old", "nowhere"]);
    let (first, second) = (b"Subject: first\r\n\r\n1\r\n", b"Subject: second\r\n\r\n2\r\n");
    assert_eq!(v.text(alice, 3).unwrap(), prefixed(alice, second));
    let moved = v.volume.mailbox(alice, INBOX, |m| (m.uidnext(), m.messages()[0].flags())).unwrap();
    assert_eq!(moved, (4, Flags { bits: Flags::FLAGGED, keywords: Some(vec!["$Work".into()].into()) }));
    let old = v.volume.mailbox(alice, MailboxId(2), |m| m.messages().to_vec()).unwrap();
    assert_eq!(old.iter().map(|m| m.uid).collect::<Vec<_>>(), [1]);
    assert_eq!(block_on(v.volume.read(&old[0])).unwrap(), prefixed(alice, first));
    let again = v.done(Op::Copy { account: alice, from: INBOX, uids: vec![3], to: Target::Mailbox(MailboxId(2)) });
    assert!(matches!(again, Outcome::Copied { pairs, .. } if pairs == [(3, 3)]));
}
