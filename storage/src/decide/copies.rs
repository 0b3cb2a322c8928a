//! COPY and MOVE. The index holds all that a copy needs: the new record names the body and the record with the prefix,
//! so nothing is read and no octet of a message is written again, however large it is.

use super::quota::Room;
use super::{Step, flags, in_order};
use crate::bugs::{self, Bug};
use crate::index::ahead::AccountAhead;
use crate::record::{self, CopyRecord, kind};
use crate::retain::{self, RETAINED};
use crate::transaction::{Outcome, Refused, Target};
use crate::types::{AccountId, Flags, MailboxId, Message, Modseq, Uid};

/// Messages copied or moved by one transaction; also as many as a batch can hold, at 66 octets each without keywords. More:
/// `TooLarge`; the caller refuses or does it in several. To decide a copy of so many took 65 ms of the shard and to make it
/// durable another 78 (2 cores, both busy with other work; release build, disk in memory), and a move 79 and 129: nearly
/// the 100 ms in one piece that its other users can be asked to wait.
pub const COPY_UIDS_MAX: usize = 100_000;

/// What came of a copy.
struct Arrived {
    uidvalidity: u32,
    pairs: Vec<(Uid, Uid)>,
    modseq: Modseq,
}

impl Step<'_> {
    pub(super) fn copy(
        &mut self,
        id: AccountId,
        from: MailboxId,
        uids: Vec<Uid>,
        to: Target,
    ) -> Result<Outcome, Refused> {
        let Arrived { uidvalidity, pairs, modseq } = self.arrive(id, from, uids, to, Room::Wanted)?;
        Ok(Outcome::Copied { uidvalidity, pairs, modseq })
    }

    /// The coming is recorded before the going, so that a body is never without a copy between the two.
    pub(super) fn shift(
        &mut self,
        id: AccountId,
        from: MailboxId,
        uids: Vec<Uid>,
        to: Target,
    ) -> Result<Outcome, Refused> {
        let Arrived { uidvalidity, pairs, modseq } = self.arrive(id, from, uids, to, Room::Needless)?;
        if !pairs.is_empty() && !bugs::on(Bug::LoseMoveSource) {
            let going = pairs.iter().map(|(uid, _)| *uid).collect();
            self.leave(id, from, going, Some(modseq))?;
        }
        Ok(Outcome::Moved { uidvalidity, pairs, modseq })
    }

    fn arrive(
        &mut self,
        id: AccountId,
        from: MailboxId,
        uids: Vec<Uid>,
        to: Target,
        room: Room,
    ) -> Result<Arrived, Refused> {
        let (index, saved_s, lsn) = (self.index, self.now_s(), self.lsn);
        let to = self.target(id, to);
        let quota = self.ahead.quota(index, id);
        let (account, gather) = self.loaded(id)?;
        let is_kept = |account: &AccountAhead, mailbox| account.name_of(index, id, mailbox) == Some(RETAINED);
        let (into_kept, out_of_kept) = (is_kept(account, to), is_kept(account, from));
        let from_name = account.name_of(index, id, from).filter(|_| into_kept).map(str::to_owned);
        let source = account.mailbox(index, id, from).ok_or(Refused::NoMailbox)?;
        let durable = index.mailbox(id, from);
        let mut originals: Vec<(&Message, Flags)> = in_order(uids)
            .into_iter()
            .filter(|uid| !source.expunged.contains_key(uid))
            .filter_map(|uid| durable?.by_uid(uid))
            .map(|m| (m, source.flags.get(&m.uid).map_or_else(|| m.flags(), |(flags, ..)| flags.clone())))
            .map(|(m, flags)| (m, if out_of_kept { retain::unmarked(&flags) } else { flags }))
            .collect();
        let into = account.mailbox(index, id, to).ok_or(Refused::NoMailbox)?;
        let there = index.mailbox(id, to).into_iter().flat_map(|m| m.messages.iter().map(Message::keywords));
        let mut coming: Vec<&mut Flags> = originals.iter_mut().map(|(_, flags)| flags).collect();
        flags::spell(&mut coming, there.chain(into.flags.values().map(|(flags, ..)| flags.keywords())));
        if let Some(name) = &from_name {
            originals.iter_mut().for_each(|(_, flags)| *flags = retain::marked(flags, from, name));
        }
        let (first, uidvalidity) = (into.uidnext, into.uidvalidity);
        let count = u32::try_from(originals.len()).expect("bounded by COPY_UIDS_MAX");
        // The last UID is never given, so that UIDNEXT always has a value.
        into.uidnext = first.checked_add(count).ok_or(Refused::UidsUsedUp)?;
        let keywords = originals.iter().map(|(_, flags)| record::keyword_bytes(flags)).max();
        into.keyword_bytes_max = into.keyword_bytes_max.max(keywords.unwrap_or(0));
        if originals.is_empty() {
            return Ok(Arrived { uidvalidity, pairs: Vec::new(), modseq: account.modseq });
        }
        into.coming = lsn;
        let bytes = originals.iter().map(|(m, _)| m.size()).sum();
        if room == Room::Wanted && !quota.is_some_and(|quota| quota.has_room(bytes, count)) {
            return Err(Refused::OverQuota);
        }
        if !into_kept {
            account.keep(bytes, count);
        }
        let modseq = account.next_modseq();
        gather.push_of(kind::COPY, id, &mut account.chain, |out| {
            CopyRecord::encode_head(out, to, modseq, from, saved_s, count);
            for ((original, flags), uid) in originals.iter().zip(first..) {
                CopyRecord::encode_item(out, uid, &index.fresh(original), flags, into_kept);
            }
        });
        let pairs = originals.iter().map(|(m, _)| m.uid).zip(first..).collect();
        Ok(Arrived { uidvalidity, pairs, modseq })
    }

    /// What is about to go is copied; the MODSEQ of that.
    pub(super) fn copy_out(
        &mut self,
        id: AccountId,
        from: MailboxId,
        uids: Vec<Uid>,
        to: Target,
    ) -> Result<Option<Modseq>, Refused> {
        let Arrived { pairs, modseq, .. } = self.arrive(id, from, uids, to, Room::Needless)?;
        Ok((!pairs.is_empty()).then_some(modseq))
    }

    fn target(&self, id: AccountId, to: Target) -> MailboxId {
        match to {
            Target::Mailbox(mailbox) => mailbox,
            Target::Made(op) => {
                let made = self.made.iter().find(|made| made.op == op).expect("an earlier op makes the target");
                assert_eq!(made.account, id, "the target is a mailbox of the same account");
                made.mailbox
            }
        }
    }
}
