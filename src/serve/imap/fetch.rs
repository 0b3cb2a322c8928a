//! FETCH and UID FETCH: data of messages, streamed.
//!
//! ```text
//!   set ─► sequence numbers ─► windows of messages ─► \Seen made durable ─► a line each, octets block by block
//! ```
//!
//! - At most a window of summaries, a header, the value of one section and a block of octets are in memory, however many
//!   sections are asked for (A114).
//! - `\Seen` is durable before the octets that earn it are sent, one change a window.
//! - A section is begun only when its first block was read: after the head of a literal there is no way back, and a
//!   read that fails later breaks the connection.
//! - Summaries that had to be computed are kept for the next listing, when there were enough of them.

use std::collections::BTreeMap;
use std::ops::Range;

use ringpost_storage::{Changed, Flags, FlagsHow, Message, Modseq, Op, ReadError, Transaction, Uid};

use super::{Done, Door, End, WINDOW, look};
use crate::limits;
use crate::mail::section::{self, FieldChoice, Of};
use crate::mail::summary::{Packed, SUMMARY_BYTES_MAX};
use crate::mailbox::letter::Letter;
use crate::mailbox::slices::Slices;
use crate::net::wire::Wire;
use crate::observe::{self, Counter};
use crate::office::Resident;
use crate::proto::imap::encode_envelope::envelope;
use crate::proto::imap::encode_structure::structure;
use crate::proto::imap::response::FetchLine;
use crate::proto::imap::{Answer, Fetch, FetchItem, No, Section, SectionText, Set};
use crate::shard::{self, Disk};

/// Summaries computed by one command from which on they are kept.
const SUMMARIES_KEPT_MIN: usize = 64;
/// Octets of summaries waiting to be kept. More: they are handed over before the command ends.
const SUMMARIES_KEPT_BYTES_MAX: usize = 1 << 20;

/// What is true of the command for every message.
struct Order<'a> {
    fetch: &'a Fetch,
    /// The fields that each HEADER.FIELDS section of `fetch.items` wants, by its index.
    fields: Vec<Option<FieldChoice>>,
    /// Some item is answered from the summary.
    needs_summary: bool,
    /// Some item is answered from the summary, or from the header alone.
    wants_summary: bool,
    sets_seen: bool,
}

/// Summaries computed by this command, not yet kept.
#[derive(Default)]
struct Computed {
    items: BTreeMap<Uid, Vec<u8>>,
    bytes: usize,
    count: usize,
}

impl Door {
    pub(super) async fn fetch(&mut self, mut fetch: Fetch, wire: &mut Wire) -> Done {
        // Who knows MODSEQs gets them with every line (RFC 7162 §3.1).
        if self.condstore && !fetch.items.contains(&FetchItem::ModSeq) {
            fetch.items.push(FetchItem::ModSeq);
        }
        let fetch = &fetch;
        let targets = self.targets(&fetch.set, fetch.uid)?;
        let read_only = self.selected()?.1.read_only;
        let order = Order::of(fetch, read_only);
        let mut computed = Computed::default();
        let mut trouble = None;
        let mut slices = Slices::default();
        for sequences in targets.chunks(WINDOW) {
            let mut messages = self.window(sequences)?;
            if messages.len() < sequences.len() && !fetch.uid {
                trouble = Some(No::ExpungeIssued);
            }
            messages.retain(|(_, m)| fetch.changed_since.is_none_or(|since| m.modseq > since));
            let seen = self.set_seen(&order, &messages).await?;
            let (who, view) = self.selected()?;
            let uids: Vec<Uid> = messages.iter().map(|(_, m)| m.uid).collect();
            let kept = if order.wants_summary {
                who.volume.summaries(who.account, view.mailbox, &uids).await
            } else {
                vec![None; uids.len()]
            };
            let mut shown = Vec::new();
            for ((sequence, message), kept) in messages.iter().zip(kept) {
                let mut line = Line {
                    letter: Letter::new(&who.volume, (who.account, view.mailbox), message),
                    message,
                    packed: kept.and_then(Packed::open),
                    header: None,
                };
                if order.needs_summary && line.packed.is_none() {
                    match line.letter.summary().await {
                        Ok(packed) => {
                            computed.add(message.uid, &packed);
                            line.packed = Some(packed);
                        }
                        Err(why) => {
                            trouble = Some(unreadable(who, message, &why));
                            continue;
                        }
                    }
                }
                let now_seen = seen.get(&message.uid);
                match line.write(&order, *sequence, now_seen, &mut slices, wire).await {
                    Ok(()) if now_seen.is_some() || fetch.items.contains(&FetchItem::Flags) => {
                        shown.push((message.uid, now_seen.map_or(message.modseq, |changed| changed.modseq)));
                    }
                    Ok(()) => {}
                    Err(Stop::Skip(why)) => trouble = Some(unreadable(who, message, &why)),
                    Err(Stop::Broken) => return Err(End::Broken),
                }
            }
            self.shown(shown);
            if computed.bytes > SUMMARIES_KEPT_BYTES_MAX {
                self.keep(&mut computed);
            }
        }
        self.keep(&mut computed);
        match trouble {
            None => Ok(Answer::Done),
            Some(no) => Err(no.into()),
        }
    }

    /// The sequence numbers a set means, rising. What does not exist is not in it (A113). *Liberty*: RFC 9051 §9 makes a
    /// number above EXISTS an error; clients that count what another session has just removed are better served without.
    pub(super) fn targets(&self, set: &Set, uid: bool) -> Result<Vec<u32>, End> {
        let (_, view) = self.selected()?;
        if !uid {
            return Ok(set.resolve(view.len()).into_iter().flatten().collect());
        }
        let ranges = set.resolve(view.largest_uid());
        Ok(ranges.iter().flat_map(|range| view.sequences_of(range)).collect())
    }

    fn window(&self, sequences: &[u32]) -> Result<Vec<(u32, Message)>, End> {
        let (who, view) = self.selected()?;
        Ok(look(who, view.mailbox, |mailbox| {
            let message = |s: &u32| Some((*s, mailbox.by_uid(view.uid(*s)?)?.clone()));
            sequences.iter().filter_map(message).collect()
        })?)
    }

    /// Sets `\Seen` where the command sets it; the flags of those it was new to.
    async fn set_seen(
        &mut self,
        order: &Order<'_>,
        messages: &[(u32, Message)],
    ) -> Result<BTreeMap<Uid, Changed>, End> {
        if !order.sets_seen {
            return Ok(BTreeMap::new());
        }
        let unseen: Vec<Uid> = messages.iter().filter(|(_, m)| !m.has(Flags::SEEN)).map(|(_, m)| m.uid).collect();
        if unseen.is_empty() {
            return Ok(BTreeMap::new());
        }
        match self.change_flags(&unseen, FlagsHow::Add, Flags::of(Flags::SEEN), None).await {
            Ok(stored) => Ok(stored.changed),
            Err(End::Unknown) => Err(End::Unknown),
            // Where the flag was not kept, the message is shown all the same, with the flags it has.
            Err(End::Answer(_) | End::Broken) => Ok(BTreeMap::default()),
        }
    }

    /// Flags that were shown need not be told again.
    fn shown(&mut self, all: Vec<(Uid, Modseq)>) {
        let Some(view) = &mut self.view else { return };
        for (uid, modseq) in all {
            view.tell(uid, modseq);
        }
    }

    /// Hands computed summaries to the volume. Nobody waits for it, and nothing is lost when it fails.
    fn keep(&self, computed: &mut Computed) {
        let Ok((who, view)) = self.selected() else { return };
        if computed.count < SUMMARIES_KEPT_MIN {
            return;
        }
        let items: Vec<(Uid, Vec<u8>)> = std::mem::take(&mut computed.items).into_iter().collect();
        computed.bytes = 0;
        if items.is_empty() {
            return;
        }
        let op = Op::Summaries { account: who.account, mailbox: view.mailbox, items };
        let now_ms = i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX);
        if let Err(why) = who.volume.decide(Transaction { bodies: Vec::new(), ops: vec![op] }, now_ms) {
            tracing::debug!(target: "imap", account = %who.name, %why, "summaries not kept");
        }
    }
}

fn unreadable(who: &Resident, message: &Message, why: &ReadError) -> No {
    if matches!(why, ReadError::Gone) {
        return No::ExpungeIssued;
    }
    tracing::error!(target: "imap", account = %who.name, uid = message.uid, %why, "message not readable");
    No::ServerBug
}

impl<'a> Order<'a> {
    fn of(fetch: &'a Fetch, read_only: bool) -> Self {
        let fields = fetch.items.iter().map(|item| match item {
            FetchItem::Section(s) => match &s.text {
                SectionText::HeaderFields { names, not } => {
                    Some(FieldChoice::new(names.iter().map(|n| n.as_bytes()), *not))
                }
                _ => None,
            },
            _ => None,
        });
        let is_structural = |item: &FetchItem| match item {
            FetchItem::Envelope | FetchItem::Body | FetchItem::BodyStructure => true,
            FetchItem::Section(s) => !s.part.is_empty(),
            _ => false,
        };
        let is_of_header = |item: &FetchItem| matches!(item, FetchItem::Section(s) if s.text != SectionText::Whole);
        let needs_summary = fetch.items.iter().any(is_structural);
        Order {
            fetch,
            fields: fields.collect(),
            needs_summary,
            wants_summary: needs_summary || fetch.items.iter().any(is_of_header),
            sets_seen: fetch.sets_seen() && !read_only,
        }
    }
}

impl Computed {
    fn add(&mut self, uid: Uid, packed: &Packed) {
        self.count += 1;
        let octets = packed.octets();
        if octets.len() <= SUMMARY_BYTES_MAX {
            self.bytes += octets.len();
            self.items.insert(uid, octets.to_vec());
        }
    }
}

/// Why a line was not written whole.
enum Stop {
    /// Nothing of it was written: the message cannot be read.
    Skip(ReadError),
    /// The connection is broken, or must be.
    Broken,
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Stop::Broken
    }
}

/// Where a section's value is. It is read when it is told, so that only one is in memory.
enum Value {
    Nil,
    Range(Range<u64>),
    /// Fields to be picked from the header that lies here.
    Fields(Range<u64>),
}

/// One message being told.
struct Line<'a> {
    letter: Letter<'a, Disk>,
    message: &'a Message,
    packed: Option<Packed>,
    /// The header of the message, once read.
    header: Option<Vec<u8>>,
}

impl Line<'_> {
    async fn write(
        &mut self,
        order: &Order<'_>,
        sequence: u32,
        now_seen: Option<&Changed>,
        slices: &mut Slices,
        wire: &mut Wire,
    ) -> Result<(), Stop> {
        // All values are found, and their first blocks read, before a word is said.
        let mut values = Vec::with_capacity(order.fetch.items.len());
        for (item, fields) in order.fetch.items.iter().zip(&order.fields) {
            values.push(match item {
                FetchItem::Section(section) => self.find(section, fields.as_ref()).await.map_err(Stop::Skip)?,
                _ => Value::Nil,
            });
        }
        let message = self.message;
        let (flags, modseq) =
            now_seen.map_or_else(|| (message.flags(), message.modseq), |now| (now.flags.clone(), now.modseq));
        let mut line = FetchLine::begin(wire.queue(), sequence);
        for ((item, fields), value) in order.fetch.items.iter().zip(&order.fields).zip(values) {
            wire.relieve().await?;
            let out = wire.queue();
            match item {
                FetchItem::Flags => line.flags(out, flags.bits, flags.keywords(), false),
                FetchItem::Uid => line.uid(out, message.uid),
                FetchItem::ModSeq => line.modseq(out, modseq),
                FetchItem::Size => line.size(out, message.size()),
                FetchItem::InternalDate => line.internal_date(out, message.internal_ms),
                FetchItem::Envelope | FetchItem::Body | FetchItem::BodyStructure => {
                    line.name(out, item);
                    let mut described = Vec::new();
                    self.described(&mut described, item);
                    slices.spend(described.len() as u64).await;
                    wire.say(&described).await?;
                }
                FetchItem::Section(section) => match (value, fields) {
                    (Value::Range(range), _) => {
                        line.section(out, item, range.end - range.start);
                        self.stream(range, wire).await?;
                    }
                    (Value::Fields(range), Some(choice)) => {
                        let picked = self.picked(section, choice, range, slices).await.map_err(|_| Stop::Broken)?;
                        line.section(wire.queue(), item, picked.len() as u64);
                        wire.say(&picked).await?;
                    }
                    (Value::Nil | Value::Fields(_), _) => line.section_nil(out, item),
                },
            }
        }
        if now_seen.is_some() && !order.fetch.items.contains(&FetchItem::Flags) {
            line.flags(wire.queue(), flags.bits, flags.keywords(), false);
        }
        line.end(wire.queue());
        wire.relieve().await?;
        Ok(())
    }

    fn described(&self, out: &mut Vec<u8>, item: &FetchItem) {
        let packed = self.packed.as_ref().expect("computed before, for items that need it");
        let parts = packed.get().parts.as_slice();
        match item {
            FetchItem::Envelope => {
                envelope(out, parts[0].envelope.as_ref().expect("the message itself has an envelope"));
            }
            other => structure(out, parts, *other == FetchItem::BodyStructure),
        }
    }

    async fn stream(&mut self, range: Range<u64>, wire: &mut Wire) -> Result<(), Stop> {
        observe::count(Counter::ReadImap);
        let mut at = range.start;
        while at < range.end {
            let Ok(some) = self.letter.some(at..range.end).await else { return Err(Stop::Broken) };
            at += some.len() as u64;
            wire.say(some).await?;
        }
        Ok(())
    }

    /// Where a section's value is, its first block read.
    async fn find(&mut self, section: &Section, fields: Option<&FieldChoice>) -> Result<Value, ReadError> {
        let of = match &section.text {
            SectionText::Whole => Of::Whole,
            SectionText::Text => Of::Text,
            SectionText::Mime => Of::Mime,
            SectionText::Header | SectionText::HeaderFields { .. } => Of::Header,
        };
        if section.part.is_empty() && of != Of::Whole && self.packed.is_none() {
            // Where the header is too long to be read at once only the whole message tells where it ends.
            let (header, whole) = self.letter.header().await?;
            self.header = Some(header);
            if !whole {
                self.packed = Some(self.letter.summary().await?);
            }
        }
        let range = match (&self.packed, of) {
            (_, Of::Whole) if section.part.is_empty() => Some(0..self.message.size()),
            (Some(packed), of) => section::range(packed.get(), &section.part, of),
            (None, of) => {
                // Of the message itself: its header alone says where things are.
                let body_at = self.header().await?.len() as u64;
                Some(if of == Of::Header { 0..body_at } else { body_at..self.message.size() })
            }
        };
        let Some(range) = range else { return Ok(Value::Nil) };
        let Some(choice) = fields else {
            let (offset, len) = cut(section, range.end - range.start);
            let range = range.start + offset..range.start + offset + len;
            self.letter.some(range.clone()).await?;
            return Ok(Value::Range(range));
        };
        if !section.part.is_empty() {
            self.letter.some(range.clone()).await?;
        } else if self.chosen(choice).is_none() {
            self.header().await?;
        }
        Ok(Value::Fields(range))
    }

    /// The fields that a section asks for, as many octets of them as it asks for.
    async fn picked(
        &mut self,
        section: &Section,
        choice: &FieldChoice,
        range: Range<u64>,
        slices: &mut Slices,
    ) -> Result<Vec<u8>, ReadError> {
        let part;
        let header = if !section.part.is_empty() {
            part = self.letter.whole(range, limits::HEADER_BYTES_MAX).await?;
            &part
        } else if self.chosen(choice).is_some() {
            self.chosen(choice).unwrap_or_default()
        } else {
            self.header().await?
        };
        slices.spend(header.len() as u64).await;
        let mut picked = Vec::new();
        choice.pick(header, &mut picked);
        let (offset, len) = cut(section, picked.len() as u64);
        picked.truncate((offset + len) as usize);
        picked.drain(..offset as usize);
        Ok(picked)
    }

    /// The header's fields as kept in the summary, where that has all of the chosen.
    fn chosen(&self, choice: &FieldChoice) -> Option<&[u8]> {
        let packed = self.packed.as_ref().filter(|_| choice.is_kept())?;
        packed.get().chosen.as_ref().map(|chosen| chosen.as_slice())
    }

    async fn header(&mut self) -> Result<&[u8], ReadError> {
        if self.header.is_none() {
            self.header = Some(self.letter.header().await?.0);
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }
}

fn cut(section: &Section, len: u64) -> (u64, u64) {
    section.partial.map_or((0, len), |p| p.cut(len))
}
