//! What was sent, what was promised, and whether the server kept its word.
//!
//! | the client heard | copies that may be there |
//! |---|---|
//! | `250` after the final dot | exactly one for each recipient taken |
//! | nothing, after the final dot was under way | none or one |
//! | a refusal, or the connection broke earlier | none |
//! | `+OK` to the QUIT that removes it | none |
//!
//! UIDs only rise, a message keeps its UID, UIDVALIDITY stays, POP3 and IMAP show the same bytes.

use std::collections::BTreeMap;

use crate::imap::Mailbox;
use crate::pop3::Fetched;

/// How many copies of a letter one account may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    One,
    Perhaps,
    None,
}

/// Everything sent, and everything seen in the mailboxes so far.
#[derive(Default)]
pub struct Ledger {
    letters: BTreeMap<u64, Vec<u8>>,
    promises: BTreeMap<(String, u64), Promise>,
    seen: BTreeMap<String, Seen>,
}

/// What an account's mailbox has shown.
struct Seen {
    uidvalidity: u32,
    uidnext: u32,
    uids: BTreeMap<u64, u32>,
}

impl Ledger {
    /// Notes that a letter is about to be sent to an account. `body` names the letter in its `X-Letter` field.
    pub fn send(&mut self, letter: u64, body: &[u8], account: &str) {
        self.letters.insert(letter, body.to_vec());
        let before = self.promises.insert((account.to_owned(), letter), Promise::Perhaps);
        assert_eq!(before, None, "a letter is sent to an account once");
    }

    /// Notes what became of it.
    pub fn settle(&mut self, letter: u64, account: &str, promise: Promise) {
        let before = self.promises.get_mut(&(account.to_owned(), letter)).expect("it was sent");
        assert!(
            (*before, promise) != (Promise::One, Promise::None),
            "{account}: letter {letter} was seen and then refused"
        );
        if *before == Promise::Perhaps {
            *before = promise;
        }
    }

    /// Takes note of a mailbox that senders are still filling: what is seen once stays for good.
    pub fn glance(&mut self, account: &str, imap: &Mailbox) {
        let uids = self.uids(account, imap);
        self.keep(account, imap, uids);
    }

    /// Notes that an account's message was removed for good: the how-manyth in order of UIDs, from 0.
    pub fn remove(&mut self, account: &str, position: usize) {
        let seen = self.seen.get_mut(account).expect("it was read");
        let mut uids: Vec<u32> = seen.uids.values().copied().collect();
        uids.sort_unstable();
        let gone = uids[position];
        let letter = *seen.uids.iter().find(|(_, uid)| **uid == gone).expect("just listed").0;
        seen.uids.remove(&letter);
        self.promises.insert((account.to_owned(), letter), Promise::None);
    }

    /// Letters that were promised.
    pub fn promised(&self) -> usize {
        self.promises.values().filter(|p| **p == Promise::One).count()
    }

    /// Holds what an account's mailbox shows against what was promised.
    pub fn check(&mut self, account: &str, imap: &Mailbox, pop3: &[Fetched]) {
        let by_imap: Vec<&[u8]> = imap.messages.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let by_pop3: Vec<&[u8]> = pop3.iter().map(|m| m.bytes.as_slice()).collect();
        assert!(by_imap == by_pop3, "{account}: POP3 and IMAP show different mail");
        let uids = self.uids(account, imap);
        assert!(uids.values().all(|uid| (1..imap.uidnext).contains(uid)), "{account}: a UID not below UIDNEXT");
        for ((_, letter), promise) in self.promises.iter().filter(|((a, _), _)| a == account) {
            let there = uids.contains_key(letter);
            match promise {
                Promise::One => assert!(there, "{account}: letter {letter} was acknowledged and is missing"),
                Promise::Perhaps => {}
                Promise::None => assert!(!there, "{account}: letter {letter} was refused or removed and is there"),
            }
        }
        self.keep(account, imap, uids);
    }

    /// The letters of a mailbox with their UIDs.
    fn uids(&self, account: &str, imap: &Mailbox) -> BTreeMap<u64, u32> {
        assert!(imap.messages.is_sorted_by(|a, b| a.0 < b.0), "{account}: UIDs rise with sequence numbers");
        let mut uids = BTreeMap::new();
        for (uid, bytes) in &imap.messages {
            let letter = self.recognise(account, bytes);
            let twice = uids.insert(letter, *uid);
            assert_eq!(twice, None, "{account}: letter {letter} is there twice");
        }
        uids
    }

    /// Holds a mailbox against what it has shown before, and keeps what it shows now.
    fn keep(&mut self, account: &str, imap: &Mailbox, uids: BTreeMap<u64, u32>) {
        if let Some(seen) = self.seen.get(account) {
            assert_eq!(seen.uidvalidity, imap.uidvalidity, "{account}: UIDVALIDITY stays");
            assert!(imap.uidnext >= seen.uidnext, "{account}: UIDNEXT {} after {}", imap.uidnext, seen.uidnext);
            for (letter, uid) in &seen.uids {
                assert_eq!(uids.get(letter), Some(uid), "{account}: letter {letter} keeps its UID");
            }
            for (letter, uid) in uids.iter().filter(|(letter, _)| !seen.uids.contains_key(letter)) {
                assert!(*uid >= seen.uidnext, "{account}: letter {letter} got UID {uid} below {}", seen.uidnext);
            }
        }
        // What is there now stays, whatever was promised.
        for (letter, _) in uids.iter() {
            self.promises.insert((account.to_owned(), *letter), Promise::One);
        }
        let highest = uids.values().max().map_or(0, |uid| uid + 1);
        // Letters may have come between the answer to EXAMINE and the fetch.
        let seen = Seen { uidvalidity: imap.uidvalidity, uidnext: imap.uidnext.max(highest), uids };
        self.seen.insert(account.to_owned(), seen);
    }

    /// Which letter this is: its bytes are the letter's own behind header fields of the server.
    fn recognise(&self, account: &str, bytes: &[u8]) -> u64 {
        let text = String::from_utf8_lossy(bytes);
        let letter = text.split_once("X-Letter: ").and_then(|(_, rest)| rest.split_once("\r\n"));
        let letter = letter.and_then(|(number, _)| number.parse().ok()).unwrap_or_else(|| panic!("{account}: {text}"));
        let body = self.letters.get(&letter).unwrap_or_else(|| panic!("{account}: letter {letter} was never sent"));
        let trace = bytes.strip_suffix(body.as_slice()).unwrap_or_else(|| panic!("{account}: letter {letter} changed"));
        for line in String::from_utf8_lossy(trace).split_terminator("\r\n") {
            let field = line.split_once(':').is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '));
            assert!(field || line.starts_with([' ', '\t']), "{account}: letter {letter} begins with {line:?}");
        }
        assert!(trace.is_empty() || trace.ends_with(b"\r\n"), "{account}: letter {letter} has a torn header");
        letter
    }
}
