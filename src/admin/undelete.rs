//! Expunged messages come back: out of the mailbox that keeps them for a while, to where they were.
//!
//! Each step is one transaction, so a message is in one place through any crash, and asking again does the rest. They come
//! back under new UIDs, with flags and INTERNALDATE, also where the account is over its quota then: who asks is the operator.

use std::collections::BTreeMap;

use ringpost_storage::{Loaded, MailboxId, Op, Outcome, RETAINED, Retained, Target, Transaction, Uid, Volume};

use crate::mailbox::uidls;
use crate::office::durable::make_durable;
use crate::office::tools::{Told, Undeleted};
use crate::proto::imap::Name;
use crate::shard::Disk;

/// Messages of one transaction.
const AT_ONCE: usize = 1_000;
/// Where messages go that were in a mailbox whose name is not known whole any more.
const ELSEWHERE: &str = "Undeleted";

/// What is to come back, and where to.
pub(super) struct Wanted {
    pub since_ms: Option<i64>,
    pub mailbox: Option<String>,
    pub to: Option<String>,
}

/// Brings back what is wanted, or tells what it would bring back.
pub(super) async fn undelete(
    volume: &Volume<Disk>,
    loaded: &Loaded<Disk>,
    wanted: Wanted,
    dry_run: bool,
) -> Result<Told, String> {
    let to = wanted.to.as_deref().map(checked).transpose()?;
    let from = wanted.mailbox.as_deref().map(checked).transpose()?;
    let mut places: BTreeMap<String, (Undeleted, Vec<Uid>)> = BTreeMap::new();
    for kept in loaded.retained() {
        let place = place_of(loaded, &kept);
        let is_from = from.as_ref().is_none_or(|from| *from == place || *from == kept.name);
        if !is_from || wanted.since_ms.is_some_and(|since_ms| kept.expunged_ms < since_ms) {
            continue;
        }
        let place = to.clone().unwrap_or(place);
        let none = || Undeleted {
            mailbox: place.clone(),
            messages: 0,
            octets: 0,
            first_ms: kept.expunged_ms,
            last_ms: kept.expunged_ms,
        };
        let (told, uids) = places.entry(place.clone()).or_insert_with(|| (none(), Vec::new()));
        told.messages += 1;
        told.octets += kept.size;
        told.first_ms = told.first_ms.min(kept.expunged_ms);
        told.last_ms = told.last_ms.max(kept.expunged_ms);
        uids.push(kept.uid);
    }
    if !dry_run {
        for (name, (_, uids)) in &places {
            let into = made(volume, loaded, name).await?;
            let (account, messages) = (loaded.account().0, uids.len());
            tracing::info!(target: "admin", account, mailbox = name, messages, "brought back");
            let source = loaded.mailbox_named(RETAINED).ok_or("what was expunged is gone")?;
            for uids in uids.chunks(AT_ONCE) {
                let uids = uids.to_vec();
                let op = Op::Move { account: loaded.account(), from: source, uids, to: Target::Mailbox(into) };
                commit(volume, op).await?;
            }
        }
    }
    Ok(Told::Undeleted { mailboxes: places.into_values().map(|(told, _)| told).collect() })
}

/// The name of the mailbox where it was: as it is called now or, if it is gone, as it was called then.
fn place_of(loaded: &Loaded<Disk>, kept: &Retained) -> String {
    let now = kept.from.and_then(|id| loaded.mailbox(id, |m| m.info().name.clone()));
    let known = |name: &String| !uidls::is_ours(name) && Name::of(name).is_ok();
    now.filter(known).or_else(|| Some(kept.name.clone()).filter(known)).unwrap_or_else(|| ELSEWHERE.to_owned())
}

async fn made(volume: &Volume<Disk>, loaded: &Loaded<Disk>, name: &str) -> Result<MailboxId, String> {
    if let Some(mailbox) = loaded.mailbox_named(name) {
        return Ok(mailbox);
    }
    let (account, name) = (loaded.account(), name.to_owned());
    match commit(volume, Op::CreateMailbox { account, name, special_use: 0, subscribed: true }).await? {
        Outcome::Mailbox(mailbox, _) => Ok(mailbox),
        other => unreachable!("a mailbox is made, not {other:?}"),
    }
}

async fn commit(volume: &Volume<Disk>, op: Op) -> Result<Outcome, String> {
    let done = make_durable(volume, Transaction { bodies: Vec::new(), ops: vec![op] }).await;
    Ok(done.map_err(|why| why.to_string())?.remove(0))
}

fn checked(name: &str) -> Result<String, String> {
    match Name::of(name) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(why) => Err(format!("`{}` is no mailbox name: {why}", name.escape_debug())),
    }
}
