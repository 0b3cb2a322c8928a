//! What the source does when a load has landed: lets it go, and finds a place for copies that bounced.
//!
//! | the copy's address | what becomes of the copy |
//! |---|---|
//! | lives in another volume by now | it goes there, into INBOX |
//! | is there, and a folder that the letter was for is not | into INBOX |
//! | is gone, or its mailbox takes nothing; it was a letter | to the postmaster of its domain, if there is one |
//! | none of these | dropped, with a line in the audit log |
//!
//! All of it is in the batch that says `Sent`, so it happens once. A copy made of a message (COPY, MOVE) is told to who
//! asked for it, and a message whose copy bounced is not hidden.

use std::rc::Rc;

use ringpost_storage::{
    Carried, MailboxId, Op, Outcome, PendingTransfer, ReadError, Transaction, TransferCopy, TransferOp,
    TransferOutcome, Volume, VolumeId,
};

use super::collect::{Uncollected, collect};
use crate::directory::Home;
use crate::mail::trace;
use crate::mailbox::anew::Anew;
use crate::observe::{self, Counter};
use crate::office::durable::{Undone, make_durable};
use crate::office::quota;
use crate::office::words::Landing;
use crate::office::{Incoming, Office};
use crate::shard::Disk;

/// Makes durable that these have landed, with what follows from it.
///
/// # Errors
/// When it could not be made durable; it is to be tried again.
pub async fn settle(
    office: &Rc<Office>,
    id: VolumeId,
    volume: &Volume<Disk>,
    pending: &[Rc<PendingTransfer>],
    landings: &[Landing],
) -> Result<(), Undone> {
    let (target, up_to) = pending.last().map(|t| (t.target, t.number)).expect("a load has at least one");
    let mut transaction =
        Transaction { bodies: Vec::new(), ops: vec![Op::Transfer(TransferOp::Sent { target, up_to })] };
    let mut again = false;
    let mut ahead = None;
    // Accounts of messages that go, held until they are gone.
    let mut held = Vec::new();
    for (transfer, landing) in pending.iter().zip(landings) {
        match transfer.from {
            Some((account, mailbox, uid)) if transfer.hide && landing.bounced.is_empty() => {
                let Some(loaded) = volume.load(account).await.map_err(|_| Undone::NotWritten)? else { continue };
                if loaded.mailbox(mailbox, |_| ()).is_some() {
                    // It is in the other volume.
                    transaction.ops.push(Op::Discard { account, mailbox, uids: vec![uid] });
                    held.push(loaded);
                }
            }
            Some(_) => {}
            None if landing.bounced.is_empty() => {}
            None => {
                again |=
                    find_places(office, (id, volume), transfer, &landing.bounced, &mut transaction, &mut ahead).await?
            }
        }
    }
    let target_of = |op: &Op| match op {
        Op::Transfer(TransferOp::Send { target, .. }) => Some(*target),
        _ => None,
    };
    let targets: Vec<Option<VolumeId>> = transaction.ops.iter().map(target_of).collect();
    let outcomes = make_durable(volume, transaction).await?;
    drop(ahead);
    for (target, outcome) in targets.into_iter().zip(outcomes) {
        if let (Some(target), Outcome::Transfer(TransferOutcome::Sending(Some(number)))) = (target, outcome) {
            quota::expect(office, (id, volume), target, Some(number)).await;
        }
    }
    if again {
        office.couriers.ring(id);
    }
    Ok(())
}

/// Where a copy goes that could not be made.
enum Place {
    Home(Home),
    Postmaster(String, Home),
    Nowhere,
}

/// Adds to the transaction what becomes of a letter's copies that bounced. True when another courier has work then.
async fn find_places(
    office: &Rc<Office>,
    (id, volume): (VolumeId, &Volume<Disk>),
    transfer: &PendingTransfer,
    bounced: &[u16],
    transaction: &mut Transaction,
    ahead: &mut Option<Incoming>,
) -> Result<bool, Undone> {
    let mut read = None;
    let mut again = false;
    for copy in bounced.iter().filter_map(|n| transfer.copies.get(usize::from(*n))) {
        observe::count(Counter::TransfersBounced);
        let (home, copy) = match place(office, transfer.target, copy) {
            Place::Home(home) => {
                (home, TransferCopy { account: home.account, mailbox: MailboxId::INBOX, ..copy.clone() })
            }
            Place::Postmaster(name, home) => {
                tracing::warn!(target: "audit", account = copy.name, to = name, "a letter's mailbox went away: it goes to the postmaster");
                (home, for_postmaster(name, home))
            }
            Place::Nowhere => {
                observe::count(Counter::TransfersDropped);
                let octets = transfer.octets();
                tracing::error!(target: "audit", account = copy.name, octets, "a letter's mailbox went away and there is no postmaster: the letter is dropped");
                continue;
            }
        };
        let body = match read {
            Some(body) => body,
            None => {
                let body = match collect(office, volume, Anew::transfer(volume, transfer), id, ahead).await {
                    Ok(body) => body,
                    // Said when it was to be carried.
                    Err(Uncollected::Unread(ReadError::Damaged | ReadError::Gone | ReadError::Missing)) => continue,
                    Err(Uncollected::Unread(ReadError::Io(_))) => return Err(Undone::NotWritten),
                    Err(Uncollected::Unput(why)) => return Err(why),
                };
                transaction.bodies.push(body);
                *read.insert(transaction.bodies.len() - 1)
            }
        };
        transaction.ops.push(if home.volume == id {
            let flags = copy.flags();
            let TransferCopy { account, mailbox, prefix, .. } = copy;
            // It was accepted: what its new home may keep is no matter.
            Op::Accepted { account, mailbox, body, prefix, flags, internal_ms: transfer.internal_ms }
        } else {
            again = true;
            let what = Carried::Body(body);
            let send =
                TransferOp::Send { target: home.volume, what, copies: vec![copy], internal_ms: transfer.internal_ms };
            Op::Transfer(send)
        });
    }
    Ok(again)
}

fn place(office: &Office, target: VolumeId, copy: &TransferCopy) -> Place {
    // It is for who had the name then, and else for who has it now.
    if let Some(home) = office.directory(|d| d.home_of(&copy.name, copy.account).or_else(|| d.home(&copy.name)))
        && ((home.volume, home.account) != (target, copy.account) || copy.mailbox != MailboxId::INBOX)
    {
        return Place::Home(home);
    }
    let Some((local, domain)) = copy.name.rsplit_once('@') else { return Place::Nowhere };
    let postmaster = format!("postmaster@{domain}");
    match office.directory(|d| d.home(&postmaster)) {
        Some(home) if local != "postmaster" => Place::Postmaster(postmaster, home),
        _ => Place::Nowhere,
    }
}

fn for_postmaster(name: String, home: Home) -> TransferCopy {
    let mut prefix = Vec::new();
    trace::delivered_to(&mut prefix, &name);
    TransferCopy { account: home.account, mailbox: MailboxId::INBOX, name, prefix, bits: 0, keywords: Vec::new() }
}
