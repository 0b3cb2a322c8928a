//! What a volume shows, as a [`Model`]: the one place that knows how accounts and mailboxes are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::model::{Account, Mailbox, Message, Model, message};
use crate::disk::Disk;
use crate::retain::{RETAINED, is_hidden};
use crate::{AccountId, Loaded, MailboxId, ReadError, Uid, Volume};

/// What a volume shows, every message and summary read.
///
/// # Errors
/// What does not read, in words.
///
/// # Panics
/// When the volume contradicts itself.
pub async fn shown<D: Disk>(volume: &Volume<D>) -> Result<Model, String> {
    let domains = volume.domains().into_iter().map(|(name, info)| (name, info.to_vec())).collect();
    let mut model = Model { domains, ..Model::default() };
    for info in volume.accounts().await.map_err(|why| format!("listing accounts: {why}"))? {
        let mut account = Account { name: info.name, secrets: info.secrets.to_vec(), ..Account::default() };
        assert_eq!(volume.account_named(&account.name), Some(info.id), "an account is found by its name");
        // As durable: `Volume::quota` knows of what is decided too.
        let entry = volume.0.index.borrow().entries.get(info.id).cloned().expect("an account that is listed is there");
        account.limits = entry.limits();
        let held = volume.load(info.id).await.map_err(|why| format!("loading account {}: {why}", info.id.0))?;
        assert!(held.is_some(), "an account that is listed is there");
        let entry = volume.0.index.borrow().entries.get(info.id).cloned().unwrap_or(entry);
        if volume.is_whole() {
            let size = |m: &crate::Mailbox| m.messages().iter().map(crate::Message::size).sum::<u64>();
            let boxes = || volume.mailboxes(info.id).into_iter().filter(|m| m.name != RETAINED).map(|m| m.id);
            let bytes: u64 = boxes().filter_map(|id| volume.mailbox(info.id, id, size)).sum();
            let messages: usize = boxes().filter_map(|id| volume.mailbox(info.id, id, |m| m.messages().len())).sum();
            assert_eq!(
                (entry.used_bytes, entry.used_messages as usize),
                (bytes, messages),
                "what counts is what is there"
            );
        }
        account.subscriptions = volume.subscriptions(info.id).into_iter().collect();
        for mailbox in volume.mailboxes(info.id) {
            assert_eq!(mailbox.subscribed, account.subscriptions.contains(&mailbox.name), "{}", mailbox.name);
            assert_eq!(volume.mailbox_named(info.id, &mailbox.name), Some(mailbox.id), "found by its name");
            let (mut found, unread) = mailbox_of(volume, info.id, mailbox.id).await;
            if let Some((uid, why)) = unread.into_iter().next() {
                return Err(format!("account {}, mailbox {}, UID {uid}: {why}", info.id.0, mailbox.id.0));
            }
            let uids: Vec<Uid> = found.messages.keys().copied().collect();
            let summaries = volume.summaries(info.id, mailbox.id, &uids).await;
            found.messages.values_mut().zip(summaries).for_each(|(m, summary)| m.summary = summary);
            if mailbox.name == RETAINED {
                model.uidvalidity_max = model.uidvalidity_max.max(found.uidvalidity);
                account.retained_last = found.uidnext - 1;
                account.retained = retained(found, &volume.load(info.id).await.map_err(|why| why.to_string())?);
                continue;
            }
            account.modseq_max = account.modseq_max.max(found.highest_modseq);
            model.uidvalidity_max = model.uidvalidity_max.max(found.uidvalidity);
            account.mailboxes.insert(mailbox.id, Rc::new(found));
        }
        model.accounts.insert(info.id, Rc::new(account));
    }
    Ok(model)
}

/// What was expunged, less the keyword that says where it was.
fn retained<D: Disk>(found: Mailbox, held: &Option<Loaded<D>>) -> BTreeMap<Uid, (MailboxId, Message)> {
    let kept = held.as_ref().map(Loaded::retained).unwrap_or_default();
    let from: BTreeMap<Uid, Option<MailboxId>> = kept.into_iter().map(|kept| (kept.uid, kept.from)).collect();
    let messages = found.messages.into_iter().map(|(uid, mut message)| {
        message.keywords.retain(|keyword| !is_hidden(keyword));
        (uid, (from[&uid].expect("it is known where it was"), message))
    });
    messages.collect()
}

/// What a volume on a spoilt disk shows.
#[derive(Debug, Default)]
pub struct Shown {
    /// All that reads.
    pub model: Model,
    /// Messages that are there and do not read.
    pub unread: BTreeSet<(AccountId, MailboxId, Uid)>,
    /// Accounts that are there and do not load.
    pub unloaded: BTreeSet<AccountId>,
}

/// What a volume on a spoilt disk shows. `known`: accounts to be looked for where they cannot be listed.
pub async fn shown_spoilt<D: Disk>(volume: &Volume<D>, known: impl Iterator<Item = AccountId>) -> Shown {
    let domains = volume.domains().into_iter().map(|(name, info)| (name, info.to_vec())).collect();
    let mut shown = Shown { model: Model { domains, ..Model::default() }, ..Shown::default() };
    let ids: Vec<AccountId> = match volume.accounts().await {
        Ok(all) => all.iter().map(|info| info.id).collect(),
        Err(_) => known.collect(),
    };
    for id in ids {
        match account_spoilt(volume, id, &mut shown.unread).await {
            Ok(Some(account)) => drop(shown.model.accounts.insert(id, Rc::new(account))),
            Ok(None) => {}
            Err(_) => drop(shown.unloaded.insert(id)),
        }
    }
    shown
}

async fn account_spoilt<D: Disk>(
    volume: &Volume<D>,
    id: AccountId,
    unread: &mut BTreeSet<(AccountId, MailboxId, Uid)>,
) -> Result<Option<Account>, ReadError> {
    let Some(info) = volume.account(id).await? else { return Ok(None) };
    let Some(_held) = volume.load(id).await? else { return Ok(None) };
    let mut account = Account { name: info.name, secrets: info.secrets.to_vec(), ..Account::default() };
    account.subscriptions = volume.subscriptions(id).into_iter().collect();
    for mailbox in volume.mailboxes(id) {
        let (mut found, not) = mailbox_of(volume, id, mailbox.id).await;
        unread.extend(not.into_iter().map(|(uid, _)| (id, mailbox.id, uid)));
        let uids: Vec<Uid> = found.messages.keys().copied().collect();
        let summaries = volume.summaries(id, mailbox.id, &uids).await;
        found.messages.values_mut().zip(summaries).for_each(|(m, summary)| m.summary = summary);
        account.mailboxes.insert(mailbox.id, Rc::new(found));
    }
    Ok(Some(account))
}

/// A mailbox with the messages that read, and those that do not.
async fn mailbox_of<D: Disk>(
    volume: &Volume<D>,
    account: AccountId,
    id: MailboxId,
) -> (Mailbox, Vec<(Uid, ReadError)>) {
    let (mut mailbox, messages) = volume
        .mailbox(account, id, |m| {
            let mailbox = Mailbox {
                name: m.info().name.clone(),
                uidvalidity: m.info().uidvalidity,
                uidnext: m.uidnext(),
                highest_modseq: m.highest_modseq(),
                exact: true,
                ..Mailbox::default()
            };
            (mailbox, m.messages().to_vec())
        })
        .expect("a mailbox that is listed is there");
    let mut unread = Vec::new();
    for m in messages {
        match volume.read(&m).await {
            Ok(text) => {
                assert_eq!(text.len() as u64, m.size(), "a message is as long as its mailbox says");
                let before = mailbox.messages.insert(m.uid, message(&m.flags(), m.modseq, m.internal_ms, text.into()));
                assert!(before.is_none(), "a UID is there once");
            }
            Err(why) => unread.push((m.uid, why)),
        }
    }
    (mailbox, unread)
}
