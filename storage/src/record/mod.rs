//! Records: what the log says, one kind a file.
//!
//! Every record has a frame (length, own checksum, kind, version, slot, account, chain) and a payload. Kinds
//! are numbered in groups with gaps; a kind not known here stops the opening of the volume unless its frame
//! says that it may be passed over. Values are absolute ("these flags", never "add this flag"), so a record
//! means the same wherever it is read. Bytes: FORMAT.md, "Records".

mod account;
mod body;
mod copy;
mod domain;
mod expunge;
mod flags;
mod forward;
mod frame;
mod gap;
mod large;
mod mailbox;
mod mark;
mod message;
mod released;
mod renumber;
mod root;
mod rows;
mod run;
mod subscription;
mod transfer;

pub use account::{AccountGone, AccountPut};
pub use body::{BodyRecord, PIECE_BYTES_MAX, check};
pub use copy::{COPIED_BYTES, COPY_HEAD_BYTES, CopyRecord};
pub use domain::DomainPut;
pub use expunge::ExpungeRecord;
pub use flags::{FlagsRecord, KEYWORD_BYTES_MAX, KEYWORDS_MAX, keyword_bytes};
pub use forward::{FORWARD_HEAD_BYTES, FORWARD_ITEM_BYTES, Forward, Retired, RetiredRun};
pub use frame::{
    Bad, Chain, FRAME_BYTES_MAX, Frame, IGNORABLE, LINKS_MAX, begin, check_again, finish, mark, mark_of, payload_at,
    slot,
};
pub use gap::{Gap, all_known};
pub use large::{LargeRecord, PIECE_ITEM_BYTES, Piece};
pub use mailbox::{MailboxPut, MailboxRemove};
pub use mark::{Forget, Heartbeat, Truncate};
pub use message::{MessageRecord, NewMessage};
pub use released::{Released, ReleasedList};
pub use renumber::Renumber;
pub use root::{EXPUNGED_KEPT, MailboxRoot, NewRoot, RootRecord, RowRun, RunRef, here};
pub use rows::{GONE_BYTES, ROW_BYTES, ROW_BYTES_MAX, ROWS_HEAD_BYTES, Row, pack_rows, unpack_rows};
pub use run::{RunRecord, find, pack, unpack};
pub use subscription::Subscription;
pub use transfer::{
    NewTransfer, SENT_BYTES, SENT_RUNS_MAX, SentView, TRANSFER_HEAD_BYTES, TransferRecord, TransferView,
    WATERMARK_BYTES, WatermarkView, copy_bytes, encode_sent, encode_watermark,
};

use crate::codec::Reader;

/// The numbers of the kinds. Free and promised: 64–79 queue, 84–87 and 89–95 transfer, 96–103 catalogue.
pub mod kind {
    pub const DOMAIN_PUT: u16 = 1;
    pub const DOMAIN_REMOVE: u16 = 2;
    pub const ACCOUNT_PUT: u16 = 8;
    pub const ACCOUNT_REMOVE: u16 = 9;
    pub const MAILBOX_PUT: u16 = 16;
    pub const MAILBOX_REMOVE: u16 = 17;
    pub const SUBSCRIPTION: u16 = 18;
    pub const RENUMBER: u16 = 19;
    pub const MESSAGE: u16 = 24;
    pub const FLAGS: u16 = 25;
    pub const EXPUNGE: u16 = 26;
    pub const COPY: u16 = 27;
    pub const RUN: u16 = 32;
    pub const BODY: u16 = 33;
    pub const TRUNCATE: u16 = 48;
    pub const HEARTBEAT: u16 = 49;
    pub const GAP: u16 = 50;
    pub const TRANSFER: u16 = 80;
    pub const SENT: u16 = 81;
    pub const ANEW: u16 = 82;
    pub const MOVED_TRANSFER: u16 = 83;
    pub const WATERMARK: u16 = 88;
    pub const ROOT: u16 = 104;
    pub const FORWARD: u16 = 105;
    pub const MOVED: u16 = 106;
    pub const LARGE: u16 = 107;
    pub const RELEASE: u16 = 108;
    pub const RETIRED: u16 = 109;
    pub const MOVED_LARGE: u16 = 110;
    pub const ACCOUNT_GONE: u16 = 111;
    pub const FORGET: u16 = 112;
}

/// A record's payload, borrowing from the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    DomainPut(DomainPut<'a>),
    DomainRemove(&'a str),
    AccountPut(AccountPut<'a>),
    AccountRemove(ReleasedList<'a>),
    MailboxPut(MailboxPut<'a>),
    MailboxRemove(MailboxRemove<'a>),
    Subscription(Subscription<'a>),
    Renumber(Renumber),
    Message(MessageRecord<'a>),
    Flags(FlagsRecord<'a>),
    Expunge(ExpungeRecord<'a>),
    Copy(CopyRecord<'a>),
    Run(RunRecord),
    Body(BodyRecord),
    Large(LargeRecord<'a>),
    Root(RootRecord<'a>),
    /// Where compaction has put things.
    Forward(Forward<'a>),
    /// A message record that was moved for its prefix.
    Moved(MessageRecord<'a>),
    /// Pieces of large bodies that nobody has any more: of which list, and the pieces.
    Release(ReleasedList<'a>),
    /// Segments that are gone.
    Retired(Retired<'a>),
    /// A list of pieces that was moved: the pieces have it as their user already.
    MovedLarge(LargeRecord<'a>),
    /// Accounts that were removed, by records that are gone.
    AccountGone(AccountGone<'a>),
    /// Tables of forwards that nobody needs.
    Forget(Forget),
    Truncate(Truncate),
    Heartbeat(Heartbeat),
    Gap(Gap<'a>),
    Transfer(TransferRecord<'a>),
}

impl<'a> Record<'a> {
    /// What a frame holds; `None` for an unknown kind that may be passed over.
    ///
    /// # Errors
    /// [`Bad::Unknown`] for another unknown kind or version, [`Bad::Malformed`] when the payload does not decode.
    pub fn of(frame: &Frame<'a>) -> Result<Option<Self>, Bad> {
        let mut r = Reader::new(frame.payload);
        let known = frame.version == 1;
        let record = match frame.kind {
            kind::DOMAIN_PUT if known => DomainPut::decode(&mut r).map(Record::DomainPut),
            kind::DOMAIN_REMOVE if known => r.text().map(Record::DomainRemove),
            kind::ACCOUNT_PUT if known => AccountPut::decode(&mut r).map(Record::AccountPut),
            kind::ACCOUNT_REMOVE if known => ReleasedList::decode(&mut r).map(Record::AccountRemove),
            kind::MAILBOX_PUT if known => MailboxPut::decode(&mut r).map(Record::MailboxPut),
            kind::MAILBOX_REMOVE if known => MailboxRemove::decode(&mut r).map(Record::MailboxRemove),
            kind::SUBSCRIPTION if known => Subscription::decode(&mut r).map(Record::Subscription),
            kind::RENUMBER if known => Renumber::decode(&mut r).map(Record::Renumber),
            kind::MESSAGE if known => MessageRecord::decode(&mut r).map(Record::Message),
            kind::FLAGS if known => FlagsRecord::decode(&mut r).map(Record::Flags),
            kind::EXPUNGE if known => ExpungeRecord::decode(&mut r).map(Record::Expunge),
            kind::COPY if known => CopyRecord::decode(&mut r).map(Record::Copy),
            kind::RUN if known => RunRecord::decode(&mut r).map(Record::Run),
            kind::BODY if known => BodyRecord::decode(&mut r).map(Record::Body),
            kind::LARGE if known => LargeRecord::decode(&mut r).map(Record::Large),
            kind::ROOT if known => RootRecord::decode(&mut r).map(Record::Root),
            kind::FORWARD if known => Forward::decode(&mut r).map(Record::Forward),
            kind::MOVED if known => MessageRecord::decode(&mut r).map(Record::Moved),
            kind::RELEASE if known => ReleasedList::decode(&mut r).map(Record::Release),
            kind::RETIRED if known => Retired::decode(&mut r).map(Record::Retired),
            kind::MOVED_LARGE if known => LargeRecord::decode(&mut r).map(Record::MovedLarge),
            kind::ACCOUNT_GONE if known => AccountGone::decode(&mut r).map(Record::AccountGone),
            kind::FORGET if known => Forget::decode(&mut r).map(Record::Forget),
            kind::TRUNCATE if known => Truncate::decode(&mut r).map(Record::Truncate),
            kind::HEARTBEAT if known => Heartbeat::decode(&mut r).map(Record::Heartbeat),
            kind::GAP if known => Gap::decode(&mut r).map(Record::Gap),
            kind::TRANSFER..=kind::WATERMARK if known && let Some(record) = TransferRecord::of(frame.kind, &mut r) => {
                record.map(Record::Transfer)
            }
            _ if frame.flags & IGNORABLE != 0 => return Ok(None),
            kind => return Err(Bad::Unknown { kind, version: frame.version }),
        };
        record.map(Some).ok_or(Bad::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::directory;
    use proptest::prelude::*;

    fn framed(kind: u16, version: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let at = begin(&mut out, kind, flags, None, 0, &Chain::default());
        out[at + 10] = version;
        out.extend_from_slice(payload);
        finish(&mut out, at);
        out
    }

    #[test]
    fn an_unknown_kind_is_refused_unless_it_may_be_passed_over() {
        let strict = framed(999, 1, 0, b"later");
        let Err(bad) = directory::entries(&strict).next().unwrap() else { panic!("must be refused") };
        assert_eq!(bad, Bad::Unknown { kind: 999, version: 1 });
        let loose = framed(999, 1, IGNORABLE, b"later");
        assert!(directory::entries(&loose).next().unwrap().unwrap().record.is_none());
    }

    #[test]
    fn a_newer_version_of_a_known_kind_is_refused() {
        let newer = framed(kind::HEARTBEAT, 2, 0, &[0; 8]);
        let Err(bad) = directory::entries(&newer).next().unwrap() else { panic!("must be refused") };
        assert_eq!(bad, Bad::Unknown { kind: kind::HEARTBEAT, version: 2 });
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for entry in directory::entries(&bytes) {
                let _ = entry;
            }
        }

        #[test]
        fn no_payload_under_a_good_frame_makes_the_decoder_panic(
            kind in 0u16..113, payload in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            for entry in directory::entries(&framed(kind, 1, 0, &payload)) {
                match entry.map(|e| e.record) {
                    Ok(Some(Record::Flags(f))) => { f.items().count(); }
                    Ok(Some(Record::Expunge(e))) => { e.uids().count(); }
                    Ok(Some(Record::Message(m))) => { let _ = m.flags.to_flags(); }
                    Ok(Some(Record::Forward(f))) => { f.items().count(); }
                    Ok(Some(Record::Retired(r))) => { r.runs().count(); }
                    Ok(Some(Record::AccountGone(g))) => { g.items().count(); }
                    Ok(Some(Record::Large(l))) => { l.pieces().count(); }
                    Ok(Some(Record::Root(r))) => { let _ = r.mailboxes(); }
                    Ok(Some(Record::Copy(c))) => { c.items().for_each(|c| drop(c.flags.to_flags())); }
                    Ok(Some(Record::Gap(g))) => { g.ranges().count(); }
                    Ok(Some(Record::Transfer(TransferRecord::Transfer(t)))) => { t.copies().count(); }
                    Ok(Some(Record::Transfer(TransferRecord::Watermark(w)))) => { w.bounced().count(); }
                    _ => {}
                }
            }
        }
    }
}
