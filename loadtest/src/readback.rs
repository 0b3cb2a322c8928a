//! Reading mailboxes back, over POP3 or IMAP, and comparing every letter with the one that was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::accounts::Account;
use crate::ledger::{Content, Found, Listing};
use crate::letter::{Letters, identify};
use crate::wire::{Error, shown};
use crate::{imap, pop3};

/// Where a mailbox is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Pop3(SocketAddr),
    Imap(SocketAddr),
}

/// Reads all `accounts` with `readers` threads; `each` is called on this thread as mailboxes come in.
pub fn all(
    door: Door,
    accounts: &[Account],
    letters: &Letters,
    readers: usize,
    patience: Duration,
    mut each: impl FnMut(usize, Result<Listing, Error>),
) {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..readers.max(1) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(account) = accounts.get(index) else { return };
                    if sender.send((index, mailbox(door, account, letters, patience))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (index, listing) in receiver {
            each(index, listing);
        }
    });
}

/// One whole mailbox with all its bodies.
pub fn mailbox(door: Door, account: &Account, letters: &Letters, patience: Duration) -> Result<Listing, Error> {
    match door {
        Door::Pop3(server) => by_pop3(server, account, letters, patience),
        Door::Imap(server) => by_imap(server, account, letters, 0, patience),
    }
}

/// One mailbox over IMAP: flags of all messages, bodies of those with a UID above `bodies_after`.
pub fn by_imap(
    server: SocketAddr,
    account: &Account,
    letters: &Letters,
    bodies_after: u32,
    patience: Duration,
) -> Result<Listing, Error> {
    let mut client = imap::Client::login(server, account, patience)?;
    let selected = client.select("INBOX")?;
    let mut listing =
        Listing { uidvalidity: Some(selected.uidvalidity), uidnext: Some(selected.uidnext), messages: Vec::new() };
    let mut scratch = Vec::new();
    let mut keep = |f: imap::Fetched| {
        let content = f.body.as_deref().map_or(Content::NotRead, |body| read(letters, body, &mut scratch));
        let (flagged, deleted) = (Some(f.has("\\Flagged")), Some(f.has("\\Deleted")));
        listing.messages.push(Found { uid: Some(f.uid), content, flagged, deleted });
    };
    if selected.exists > 0 {
        if bodies_after > 0 {
            client.uid_fetch(&format!("1:{bodies_after}"), "FLAGS", &mut keep)?;
        }
        // `n:*` always names the last message (RFC 9051 §6.4.8), so it is asked for only when there is more.
        if selected.uidnext > bodies_after + 1 {
            client.uid_fetch(
                &format!("{}:{}", bodies_after + 1, selected.uidnext - 1),
                "FLAGS BODY.PEEK[]",
                &mut keep,
            )?;
        }
    }
    client.logout()?;
    if listing.messages.len() != selected.exists as usize {
        let got = format!("EXISTS {}, fetched {}", selected.exists, listing.messages.len());
        return Err(Error::Strange {
            wanted: "as many messages as SELECT said".into(),
            got,
            dialogue: account.address.clone(),
        });
    }
    Ok(listing)
}

fn by_pop3(server: SocketAddr, account: &Account, letters: &Letters, patience: Duration) -> Result<Listing, Error> {
    let mut client = pop3::Client::login(server, account, patience)?;
    let (count, _) = client.stat()?;
    let mut listing = Listing::default();
    let (mut message, mut scratch) = (Vec::new(), Vec::new());
    for number in 1..=count {
        client.retrieve(number, &mut message)?;
        let content = read(letters, &message, &mut scratch);
        listing.messages.push(Found { uid: None, content, flagged: None, deleted: None });
    }
    client.quit()?;
    Ok(listing)
}

/// What a stored message is.
#[must_use]
pub fn read(letters: &Letters, message: &[u8], scratch: &mut Vec<u8>) -> Content {
    match identify(message) {
        None => Content::Stranger(shown(message)),
        Some(found) if found.id.seed != letters.id(0).seed => Content::Other,
        Some(found) => match letters.check(found.id.n, found.letter, scratch) {
            None => Content::Intact(found.id.n),
            Some(difference) => Content::Altered(found.id.n, difference),
        },
    }
}
