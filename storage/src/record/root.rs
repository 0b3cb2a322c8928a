//! Root: an account as of one place in the log, so that what came before it need not be read any more.
//!
//! It has all that the resident entry has, as decided, the mailboxes with their facts, and where the rows of their messages are:
//! in *row runs*, immutable bodies of which the newest that has a UID counts. Whoever reads the log forwards takes the
//! newest root of an account and goes on from `through`: the root is decided of what is durable, and records of the account
//! that were decided before it and became durable with it are not in it.

use xxhash_rust::xxh3::xxh3_64;

use super::released::{RELEASED_BYTES, Released, ReleasedList};
use crate::codec::{Put, Reader};
use crate::types::{Lsn, MailboxId, Modseq, Place, Uid};

/// Expunges of a mailbox that a root remembers. Older ones are forgotten when the account is dropped from memory: the
/// floor of its history rises.
pub const EXPUNGED_KEPT: usize = 100;

/// Kind 104.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootRecord<'a> {
    /// Keyed hash of the account's name.
    pub name_hash: u128,
    /// The account's put.
    pub put: Place,
    /// Its last record that is in here. Later ones may lie before the root itself.
    pub through: Place,
    /// The last batch that is in here.
    pub through_lsn: Lsn,
    /// Records behind the root before this one that are in here.
    pub folds: u32,
    /// Moves so far.
    pub generation: u32,
    pub modseq: Modseq,
    pub used_bytes: u64,
    pub limit_bytes: u64,
    pub used_messages: u32,
    pub limit_messages: u32,
    pub inbox_uidnext: Uid,
    pub inbox_uidvalidity: u32,
    pub last_mailbox: u32,
    /// Bodies of the same batch that this root names: each has one user.
    added: &'a [u8],
    /// Bodies that it names no more.
    pub released: ReleasedList<'a>,
    /// Subscriptions and mailboxes.
    rest: &'a [u8],
}

/// Where a run of rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRun {
    pub body: Place,
    pub len: u32,
    pub rows: u32,
    /// First 64 bits of the body's checksum.
    pub check: u64,
}

/// Where a run of summaries is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRef {
    pub first: Uid,
    pub last: Uid,
    pub count: u32,
    pub body: Place,
    pub body_len: u32,
    pub body_check: u64,
}

/// A mailbox as a root has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxRoot {
    pub id: MailboxId,
    pub name: String,
    pub uidvalidity: u32,
    pub uidnext: Uid,
    pub special_use: u16,
    pub highest_modseq: Modseq,
    /// The history of expunges is complete for changes after this.
    pub floor: Modseq,
    pub keyword_bytes_max: u32,
    pub expunged: Vec<(Modseq, Uid)>,
    /// Oldest first.
    pub rows: Vec<RowRun>,
    /// Oldest first.
    pub runs: Vec<RunRef>,
}

/// A body of the root's own batch, so many octets behind the start of the bodies there.
pub fn here(offset: u32) -> Place {
    Place { segment: HERE, at: offset }
}

/// The segment of such a place. No segment has the number.
const HERE: u32 = 0;

/// What [`NewRoot::encode`] writes. Bodies of the same batch have places that [`here`] makes.
pub struct NewRoot<'a> {
    /// The segment of the batch.
    pub segment: u32,
    pub name_hash: u128,
    pub put: Place,
    pub through: Place,
    pub through_lsn: Lsn,
    pub folds: u32,
    /// Moves so far.
    pub generation: u32,
    pub modseq: Modseq,
    pub used_bytes: u64,
    pub limit_bytes: u64,
    pub used_messages: u32,
    pub limit_messages: u32,
    pub inbox_uidnext: Uid,
    pub inbox_uidvalidity: u32,
    pub last_mailbox: u32,
    /// Bodies pushed for this root.
    pub added: &'a [Released],
    pub released: &'a [Released],
    pub subscriptions: &'a [Box<str>],
    pub mailboxes: &'a [MailboxRoot],
}

impl NewRoot<'_> {
    /// Appends the payload; returns where in it places of added bodies are, from the payload's start.
    pub fn encode(&self, out: &mut Vec<u8>) -> Vec<usize> {
        let start = out.len();
        let mut places = Vec::new();
        out.u64(0);
        out.u128(self.name_hash);
        out.place(self.put);
        out.place(self.through);
        out.u64(self.through_lsn);
        out.u32(self.folds);
        out.u32(self.generation);
        out.u64(self.modseq);
        out.u64(self.used_bytes);
        out.u64(self.limit_bytes);
        out.u32(self.used_messages);
        out.u32(self.limit_messages);
        out.u32(self.inbox_uidnext);
        out.u32(self.inbox_uidvalidity);
        out.u32(self.last_mailbox);
        out.u32(self.added.len() as u32);
        let mut put = |out: &mut Vec<u8>, place: Place| match place.segment {
            HERE => {
                places.push(out.len() - start);
                out.place(Place { segment: self.segment, ..place });
            }
            _ => out.place(place),
        };
        for added in self.added {
            put(out, added.body);
            added.put_rest(out);
        }
        ReleasedList::encode(out, 0, 0, self.released);
        out.u32(self.subscriptions.len() as u32);
        self.subscriptions.iter().for_each(|name| out.text(name));
        out.u32(self.mailboxes.len() as u32);
        for m in self.mailboxes {
            out.u32(m.id.0);
            out.u32(m.uidvalidity);
            out.u32(m.uidnext);
            out.u16(m.special_use);
            out.u16(0);
            out.u64(m.highest_modseq);
            out.u64(m.floor);
            out.u32(m.keyword_bytes_max);
            out.text(&m.name);
            out.u32(m.expunged.len() as u32);
            let mut before = (m.floor, 0);
            for (modseq, uid) in &m.expunged {
                out.signed(modseq.wrapping_sub(before.0) as i64);
                out.step(before.1, *uid);
                before = (*modseq, *uid);
            }
            out.u32(m.rows.len() as u32);
            for run in &m.rows {
                put(out, run.body);
                out.u32(run.len);
                out.u32(run.rows);
                out.u64(run.check);
            }
            out.u32(m.runs.len() as u32);
            for run in &m.runs {
                out.u32(run.first);
                out.u32(run.last);
                out.u32(run.count);
                put(out, run.body);
                out.u32(run.body_len);
                out.u64(run.body_check);
            }
        }
        places
    }

    /// The checksum over a payload that [`NewRoot::encode`] wrote, padding included, once its places are final. (The record
    /// has one of its own, of 32 bits, which is little for so much.)
    pub fn seal(payload: &mut [u8]) {
        let check = xxh3_64(&payload[8..]);
        payload[..8].copy_from_slice(&check.to_le_bytes());
    }
}

impl<'a> RootRecord<'a> {
    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        r.u64()?;
        let (name_hash, put, through) = (r.u128()?, r.place()?, r.place()?);
        let (through_lsn, folds, generation, modseq) = (r.u64()?, r.u32()?, r.u32()?, r.u64()?);
        let (used_bytes, limit_bytes) = (r.u64()?, r.u64()?);
        let (used_messages, limit_messages) = (r.u32()?, r.u32()?);
        let (inbox_uidnext, inbox_uidvalidity, last_mailbox) = (r.u32()?, r.u32()?, r.u32()?);
        let count = usize::try_from(r.u32()?).ok()?;
        let added = r.take(count.checked_mul(RELEASED_BYTES)?)?;
        let released = ReleasedList::decode(r)?;
        let root = RootRecord {
            name_hash,
            put,
            through,
            through_lsn,
            folds,
            generation,
            modseq,
            used_bytes,
            limit_bytes,
            used_messages,
            limit_messages,
            inbox_uidnext,
            inbox_uidvalidity,
            last_mailbox,
            added,
            released,
            rest: r.rest(),
        };
        root.parts()?;
        Some(root)
    }

    /// Octets of its lists.
    pub fn bytes(&self) -> u32 {
        u32::try_from(self.rest.len() + self.added.len()).unwrap_or(u32::MAX)
    }

    /// True if the payload, padding included, is as it was written.
    pub fn fits(payload: &[u8]) -> bool {
        payload.len() >= 8 && payload[..8] == xxh3_64(&payload[8..]).to_le_bytes()
    }

    /// Bodies of the same batch that have this root as their user.
    pub fn added(&self) -> impl Iterator<Item = Released> + use<'a> {
        let mut r = Reader::new(self.added);
        std::iter::from_fn(move || Released::take(&mut r))
    }

    /// Subscriptions.
    pub fn subscriptions(&self) -> Vec<Box<str>> {
        self.parts().map(|(names, _)| names).unwrap_or_default()
    }

    /// Mailboxes, by id.
    pub fn mailboxes(&self) -> Vec<MailboxRoot> {
        self.parts().map(|(_, mailboxes)| mailboxes).unwrap_or_default()
    }

    fn parts(&self) -> Option<(Vec<Box<str>>, Vec<MailboxRoot>)> {
        let mut r = Reader::new(self.rest);
        let names = r.u32()?;
        let mut subscriptions: Vec<Box<str>> = Vec::new();
        for _ in 0..names {
            subscriptions.push(r.text()?.into());
        }
        let count = r.u32()?;
        let mut mailboxes: Vec<MailboxRoot> = Vec::new();
        for _ in 0..count {
            mailboxes.push(MailboxRoot::decode(&mut r)?);
        }
        // Both are looked up by halves, and a mailbox is there once.
        let rise = subscriptions.is_sorted_by(|a, b| a < b) && mailboxes.is_sorted_by(|a, b| a.id < b.id);
        rise.then_some((subscriptions, mailboxes))
    }
}

impl MailboxRoot {
    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (id, uidvalidity, uidnext) = (MailboxId(r.u32()?), r.u32()?, r.u32()?);
        let (special_use, _) = (r.u16()?, r.u16()?);
        let (highest_modseq, floor, keyword_bytes_max) = (r.u64()?, r.u64()?, r.u32()?);
        let name = r.text()?.to_owned();
        let (mut expunged, mut rows, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        let mut before = (floor, 0);
        for _ in 0..r.u32()? {
            before = (before.0.wrapping_add(r.signed()? as u64), r.step(before.1)?);
            expunged.push(before);
        }
        for _ in 0..r.u32()? {
            rows.push(RowRun { body: r.place()?, len: r.u32()?, rows: r.u32()?, check: r.u64()? });
        }
        for _ in 0..r.u32()? {
            let (first, last, count) = (r.u32()?, r.u32()?, r.u32()?);
            let (body, body_len, body_check) = (r.place()?, r.u32()?, r.u64()?);
            runs.push(RunRef { first, last, count, body, body_len, body_check });
        }
        Some(MailboxRoot {
            id,
            name,
            uidvalidity,
            uidnext,
            special_use,
            highest_modseq,
            floor,
            keyword_bytes_max,
            expunged,
            rows,
            runs,
        })
    }
}
