//! The folder that a subaddress names, asked of the shard that has the account (RFC 5233 §4).

use ringpost_storage::{AccountId, MailboxId, VolumeId};

use super::{Office, Reply, Request};
use crate::directory::Home;

/// The account's mailbox with this name: spelt so, or else in any case. INBOX where there is none, or its shard does not answer:
/// mail does not wait for a folder.
pub async fn folder(office: &Office, home: Home, name: String) -> MailboxId {
    let Home { volume, account, .. } = home;
    match office.mesh.call(office.shard_of(volume), Request::Folder { volume, account, name }, 0).await {
        Ok(Reply::Folder(mailbox)) => mailbox,
        _ => MailboxId::INBOX,
    }
}

/// The same of an account of this shard.
pub async fn folder_here(office: &Office, volume: VolumeId, account: AccountId, name: &str) -> MailboxId {
    let Some(volume) = office.volume(volume) else { return MailboxId::INBOX };
    // Only what is in memory knows its mailboxes' names.
    let Ok(Some(_held)) = volume.load(account).await else { return MailboxId::INBOX };
    if let Some(mailbox) = volume.mailbox_named(account, name) {
        return mailbox;
    }
    let wanted = name.to_lowercase();
    let mailboxes = volume.mailboxes(account);
    mailboxes.iter().find(|m| m.name.to_lowercase() == wanted).map_or(MailboxId::INBOX, |m| m.id)
}
