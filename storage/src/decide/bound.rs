//! The most a transaction can take of the log, known before anything of it is decided, and the bounds of its parts.

use super::COPY_UIDS_MAX;
use crate::body::Body;
use crate::commit::Bound;
use crate::index::ahead::Ahead;
use crate::index::{Index, Mailbox};
use crate::record::{
    self, BodyRecord, COPIED_BYTES, COPY_HEAD_BYTES, ExpungeRecord, FRAME_BYTES_MAX, PIECE_BYTES_MAX, PIECE_ITEM_BYTES,
    ReleasedList,
};
use crate::retain::{self, RETAINED};
use crate::transaction::{Op, Refused, Transaction};
use crate::types::{AccountId, Flags, MailboxId, Message, Uid};

/// Octets of a message's prefix. Longer: `TooLarge`.
pub const PREFIX_BYTES_MAX: usize = 4_096;
/// Octets of a name of a domain, account or mailbox. Longer: `TooLarge`.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Octets of one message's body. More: `TooLarge`. (Sizes of messages are kept in 32 bits.)
pub const BODY_BYTES_MAX: usize = (u32::MAX as usize) - PREFIX_BYTES_MAX;
/// Octets of secrets or info. More: `TooLarge`.
pub const INFO_BYTES_MAX: usize = 64 << 10;

/// The most a transaction can take, and whether its parts are within their bounds.
/// `retain`: what is expunged is copied first.
pub(super) fn bound(transaction: &Transaction, index: &Index, ahead: &Ahead, retain: bool) -> Result<Bound, Refused> {
    let within = |n: usize, max: usize| if n <= max { Ok(n as u64) } else { Err(Refused::TooLarge) };
    let mut bytes = 0u64;
    let mut parts = 0;
    let mut appends = false;
    for body in &transaction.bodies {
        bytes += BodyRecord::taken(body.in_memory()) + body_records_bytes(body);
        parts += body.parts().count().max(1);
        // Octets without an owner are put into the log to be one's later: see `upload`.
        appends = true;
        within(usize::try_from(body.len()).unwrap_or(usize::MAX), BODY_BYTES_MAX)?;
    }
    let mut copied = 0;
    let added: usize = transaction
        .ops
        .iter()
        .map(|op| match op {
            Op::StoreFlags { flags, .. } => record::keyword_bytes(flags),
            _ => 0,
        })
        .sum();
    for op in &transaction.ops {
        bytes += FRAME_BYTES_MAX
            + match op {
                Op::PutDomain { name, info } => {
                    8 + within(name.len(), NAME_BYTES_MAX)? + within(info.len(), INFO_BYTES_MAX)?
                }
                Op::RemoveDomain { name } => 8 + within(name.len(), NAME_BYTES_MAX)?,
                Op::PutAccount { name, secrets, mailboxes, .. } => {
                    let mut made = 0;
                    for mailbox in mailboxes {
                        made += FRAME_BYTES_MAX + 32 + within(mailbox.name.len(), NAME_BYTES_MAX)?;
                    }
                    let put = within(name.len(), NAME_BYTES_MAX)? + within(secrets.len(), INFO_BYTES_MAX)?;
                    FRAME_BYTES_MAX + 80 + put + made
                }
                Op::SetLimits { account, .. } => {
                    let put = |a: &crate::index::Account| a.info.name.len() + a.info.secrets.len();
                    80 + index.account(*account).map_or(0, put) as u64
                }
                Op::RemoveAccount { account } => {
                    let account = index.account(*account);
                    let all = account.into_iter().flat_map(|a| a.mailboxes.values());
                    let rows = |m: &Mailbox| released(m) + m.rows.len();
                    ReleasedList::bytes(all.map(rows).sum::<usize>() + account.map_or(0, |a| a.left.len()))
                }
                Op::RemoveMailbox { account, mailbox, .. } => {
                    let durable = index.mailbox(*account, *mailbox);
                    let uids =
                        || durable.into_iter().flat_map(|m| m.messages.iter().map(|m| m.uid)).collect::<Vec<_>>();
                    let kept =
                        if retain { retained_bytes(index, ahead, *account, *mailbox, &uids(), added) } else { 0 };
                    kept + 16 + ReleasedList::bytes(durable.map_or(0, released))
                }
                Op::CreateMailbox { name, .. } | Op::RenameMailbox { name, .. } => {
                    32 + within(name.len(), NAME_BYTES_MAX)?
                }
                Op::Renumber { .. } => 24,
                Op::Subscribe { name, .. } => 8 + within(name.len(), NAME_BYTES_MAX)?,
                Op::Append { prefix, flags, .. } | Op::Accepted { prefix, flags, .. } => {
                    appends = true;
                    80 + within(prefix.len(), PREFIX_BYTES_MAX)? + keyword_bytes(flags)?
                }
                Op::StoreFlags { account, mailbox, uids, flags, .. } => {
                    keyword_bytes(flags)?;
                    let durable = index.mailbox(*account, *mailbox).map_or(0, |m| m.keyword_bytes_max);
                    let decided =
                        ahead.peek(*account).and_then(|a| a.peek(*mailbox)).map_or(0, |m| m.keyword_bytes_max);
                    16 + uids.len() as u64 * (9 + durable.max(decided) + added) as u64
                }
                Op::Copy { account, from, uids, .. } | Op::Move { account, from, uids, .. } => {
                    copied += uids.len();
                    within(copied, COPY_UIDS_MAX)?;
                    let items = copied_bytes(index, ahead, *account, *from, uids, added);
                    let expunged = if matches!(op, Op::Move { .. }) {
                        FRAME_BYTES_MAX + ExpungeRecord::bytes(uids.len())
                    } else {
                        appends = true;
                        0
                    };
                    COPY_HEAD_BYTES + items + expunged
                }
                Op::Expunge { account, mailbox, uids } => {
                    let kept = if retain { retained_bytes(index, ahead, *account, *mailbox, uids, added) } else { 0 };
                    kept + ExpungeRecord::bytes(uids.len())
                }
                Op::Discard { uids, .. } => ExpungeRecord::bytes(uids.len()),
                Op::Summaries { items, .. } => {
                    let packed = 8 + items.iter().map(|(_, s)| 8 + s.len() as u64).sum::<u64>();
                    parts += 1;
                    56 + packed + FRAME_BYTES_MAX + 32
                }
                Op::Adopt(op) => {
                    appends = true;
                    super::adopt::bound(op)?
                }
                Op::Transfer(op) => {
                    let (bytes, adds) = super::transfers::bound(op)?;
                    appends |= adds;
                    bytes
                }
            };
    }
    Ok(Bound { bytes, parts, appends })
}

/// The most the copies of these messages take in their record, when the transaction adds so many octets of keywords to each.
fn copied_bytes(index: &Index, ahead: &Ahead, id: AccountId, from: MailboxId, uids: &[Uid], added: usize) -> u64 {
    let Some(durable) = index.mailbox(id, from) else { return 0 };
    let decided = ahead.peek(id).and_then(|a| a.peek(from));
    let bytes = |message: &Message| {
        let decided = decided.and_then(|m| m.flags.get(&message.uid));
        let keywords = decided.map_or_else(|| message.keywords(), |(flags, ..)| flags.keywords());
        COPIED_BYTES + keywords.iter().map(|k| 1 + k.len()).sum::<usize>() as u64 + added as u64
    };
    uids.iter().filter_map(|uid| durable.by_uid(*uid)).map(bytes).sum()
}

/// The most that it takes to keep these messages for a while, and to make the mailbox for that.
fn retained_bytes(index: &Index, ahead: &Ahead, id: AccountId, from: MailboxId, uids: &[Uid], added: usize) -> u64 {
    let decided = ahead.peek(id).and_then(|account| account.name_of(index, id, from));
    let durable = || index.mailbox(id, from).map(|m| &*m.info.name);
    let mark = 1 + decided.or_else(durable).map_or(0, retain::mark_bytes);
    let made = FRAME_BYTES_MAX + 32 + RETAINED.len() as u64;
    made + FRAME_BYTES_MAX + COPY_HEAD_BYTES + copied_bytes(index, ahead, id, from, uids, added + mark)
}

/// The records of a body: its own, or those of its pieces and the list of them.
fn body_records_bytes(body: &Body) -> u64 {
    let one = FRAME_BYTES_MAX + 32;
    if body.len() <= PIECE_BYTES_MAX && body.pieces().is_empty() {
        return one;
    }
    let new: u64 = body.parts().map(|part| (part.len() as u64).div_ceil(PIECE_BYTES_MAX)).sum();
    let there = body.pieces().len() as u64 * PIECE_ITEM_BYTES as u64;
    FRAME_BYTES_MAX + 8 + there + new * (one + PIECE_ITEM_BYTES as u64)
}

/// Bodies that a mailbox lets go when it is removed.
fn released(mailbox: &Mailbox) -> usize {
    mailbox.messages.len() + mailbox.runs.len()
}

pub(super) fn keyword_bytes(flags: &Flags) -> Result<u64, Refused> {
    let keywords = flags.keywords();
    if keywords.len() > record::KEYWORDS_MAX || keywords.iter().any(|k| k.len() > record::KEYWORD_BYTES_MAX) {
        return Err(Refused::TooLarge);
    }
    Ok(record::keyword_bytes(flags) as u64)
}
