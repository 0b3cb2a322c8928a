//! What is in an account: the questions of the operator's tools that change nothing. The same in a running server and over the
//! folder of a stopped one.

use ringpost_storage::disk::Disk;
use ringpost_storage::{Loaded, Mailbox, MailboxId, ReadError, Uid, Volume};

use crate::mailbox::anew::Anew;
use crate::mailbox::uidls::{self, Uidls};
use crate::office::tools::{self, Ask, MESSAGES_TOLD_MAX, READ_BYTES_MAX, Told};

/// An answer and the octets beside it, or a sentence.
pub type Looked = Result<(Told, Vec<u8>), String>;

/// Answers a question about an account that is in memory; `None`: it asks for a change.
pub async fn look<D: Disk>(volume: &Volume<D>, loaded: &Loaded<D>, ask: &Ask) -> Option<Looked> {
    let told = match ask {
        Ask::Mailboxes {} => Ok(mailboxes(loaded)),
        Ask::Messages { mailbox, after } => {
            let mailbox = MailboxId(*mailbox);
            // Those that cannot be read are none, here: what is exported is named when it is damaged.
            let uidls = match mailbox {
                MailboxId::INBOX => uidls::read(volume, loaded).await.unwrap_or_default(),
                _ => Uidls::default(),
            };
            messages(loaded, mailbox, *after, &uidls)
        }
        Ask::Read { mailbox, uid, offset, len, as_is } => {
            let len = usize::try_from((*len).min(READ_BYTES_MAX)).expect("bounded");
            return Some(read(volume, loaded, (MailboxId(*mailbox), *uid), (*offset, len), *as_is).await);
        }
        _ => return None,
    };
    Some(told.map(|told| (told, Vec::new())))
}

/// Looks at a mailbox.
pub(super) fn look_into<D: Disk, T>(
    loaded: &Loaded<D>,
    mailbox: MailboxId,
    look: impl FnOnce(&Mailbox) -> T,
) -> Result<T, String> {
    loaded.mailbox(mailbox, look).ok_or_else(|| format!("there is no mailbox {}", mailbox.0))
}

fn mailboxes<D: Disk>(loaded: &Loaded<D>) -> Told {
    let infos = loaded.mailboxes().into_iter().filter(|info| !uidls::is_ours(&info.name));
    let ids = infos.map(|info| info.id);
    let mailboxes = ids.filter_map(|id| loaded.mailbox(id, told_of)).collect();
    Told::Mailboxes { mailboxes, subscriptions: loaded.subscriptions() }
}

fn messages<D: Disk>(loaded: &Loaded<D>, mailbox: MailboxId, after: Uid, uidls: &Uidls) -> Result<Told, String> {
    look_into(loaded, mailbox, |m| {
        let from = m.messages().partition_point(|message| message.uid <= after);
        let rest = &m.messages()[from..];
        let told = |message: &ringpost_storage::Message| tools::Message {
            uid: message.uid,
            size: message.size(),
            flags: message.bits(),
            keywords: message.keywords().to_vec(),
            internal_ms: message.internal_ms,
            uidl: uidls.of(message.uid).map(Into::into),
        };
        let messages = rest.iter().take(MESSAGES_TOLD_MAX).map(told).collect();
        Told::Messages { messages, more: rest.len() > MESSAGES_TOLD_MAX }
    })
}

async fn read<D: Disk>(
    volume: &Volume<D>,
    loaded: &Loaded<D>,
    (mailbox, uid): (MailboxId, Uid),
    (offset, len): (u64, usize),
    as_is: bool,
) -> Looked {
    let Some(message) = look_into(loaded, mailbox, |m| m.by_uid(uid).cloned())? else {
        return Ok((Told::Gone, Vec::new()));
    };
    let mut anew = Anew::message(loaded.account(), mailbox, message);
    let octets = if as_is {
        let part = |whole: Vec<u8>| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
            whole[from..whole.len().min(from.saturating_add(len))].to_vec()
        };
        anew.read_as_is(volume).await.map(part)
    } else {
        anew.read_range(volume, offset, len).await
    };
    match octets {
        Ok(octets) => Ok((Told::Octets { octets: octets.len() as u64 }, octets)),
        Err(ReadError::Gone) => Ok((Told::Gone, Vec::new())),
        Err(why) => Ok((Told::Damaged { why: why.to_string() }, Vec::new())),
    }
}

pub(super) fn told_of(mailbox: &Mailbox) -> tools::Mailbox {
    tools::Mailbox {
        mailbox: mailbox.info().id.0,
        name: mailbox.info().name.clone(),
        uidvalidity: mailbox.info().uidvalidity,
        uidnext: mailbox.uidnext(),
        messages: mailbox.messages().len() as u64,
        octets: mailbox.messages().iter().map(ringpost_storage::Message::size).sum(),
    }
}
