//! Looking whether a volume is what it should be: every batch, every body, every account with its messages.
//!
//! Nothing is written ([`Overlay`]). First the volume is opened as it would be for use, so that what recovery makes of its log
//! is part of the answer. Then every batch is read with all its bodies, also those that nobody refers to any more, and every
//! message of every mailbox as a reader would. What is broken is told as it is found; the rest is looked at all the same.

use crate::batch::directory;
use crate::disk::{Disk, File};
use crate::overlay::Overlay;
use crate::record::Record;
use crate::recover::frames::{Frames, io_error};
use crate::segment::{self, SegmentHeader};
use crate::types::{AccountId, Uid, VolumeId};
use crate::unread::Unread;
use crate::volume::{Create, OpenError, ReadError, Recovered, Settings, Volume};
use crate::walk::{Hole, Walk};

/// Octets of a message or body read at once.
const READ_BYTES: u64 = 1 << 20;
/// The volume is run for its readers alone.
const SETTINGS: Settings = Settings {
    gather_bytes_max: 1 << 20,
    batch_bytes_max: 1 << 20,
    free_bytes_min: 0,
    checkpoint_bytes: 0,
    ..Settings::DEFAULT
};

/// What is broken, told as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Octets that the disk does not read. What they cost is told beside it.
    Unread(Unread),
    /// Octets of the log that are not what was written there; acknowledged batches may be lost in them.
    Log {
        /// Segment.
        segment: u32,
        /// Where in it.
        offset: u64,
        /// How many.
        octets: u64,
    },
    /// A body that is not what was written, in a batch that is. Messages that have it are told beside it.
    Body {
        /// Segment.
        segment: u32,
        /// Where in it.
        offset: u64,
        /// How many.
        octets: u64,
    },
    /// A page of the checkpoint. It costs nothing but time: an opening uses the one before, or the whole log.
    Page {
        /// Its file.
        file: String,
        /// Where in it.
        offset: u64,
    },
    /// One of the superblock's four copies. It costs nothing while two others agree; an opening writes all of them again.
    Superblock {
        /// Which, from 0.
        copy: u64,
    },
    /// An account that cannot be read.
    Account {
        /// Which.
        account: AccountId,
        /// A half sentence.
        why: String,
    },
    /// A message that cannot be read.
    Message {
        /// Whose, `user@domain`.
        account: String,
        /// In which mailbox.
        mailbox: String,
        /// Which.
        uid: Uid,
        /// A half sentence.
        why: String,
    },
}

/// What a look at a volume has found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose volume it is.
    pub facts: Create,
    /// What recovery would find.
    pub recovered: Recovered,
    /// False when batches are lost and nobody has accepted that.
    pub whole: bool,
    /// Records that belong to nothing.
    pub orphans: u64,
    /// Segments that were begun.
    pub segments: u64,
    /// Batches with all their bodies as they were written.
    pub batches: u64,
    /// Octets of batches, padding included.
    pub batch_bytes: u64,
    /// Accounts that could be read.
    pub accounts: u64,
    /// Their mailboxes.
    pub mailboxes: u64,
    /// Their messages.
    pub messages: u64,
    /// Octets of those.
    pub message_bytes: u64,
    /// How many things were told as broken.
    pub broken: u64,
    /// Holes in the log whose batches are lost, and somebody has accepted that. They are not told.
    pub accepted: u64,
}

/// How far a look is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A batch more, of so many octets.
    Batch(u64),
    /// A message more, of so many octets.
    Message(u64),
}

/// Looks at all of a volume.
///
/// # Errors
/// It cannot be opened. Octets that the disk does not read are read around, and told.
pub async fn check<D: Disk>(
    disk: D,
    want: Option<(uuid::Uuid, VolumeId)>,
    mut tell: impl FnMut(Broken),
    mut progress: impl FnMut(Progress),
) -> Result<Report, OpenError> {
    let disk = Overlay::new(disk, |_| false);
    let opened = Volume::open(disk.clone(), want, SETTINGS).await;
    let unread = |tell: &mut dyn FnMut(Broken)| disk.take_unread().into_iter().map(Broken::Unread).for_each(tell);
    let mut broken = 0;
    let mut tell = |what| {
        broken += 1;
        tell(what);
    };
    // Also where it is the reason why it does not open.
    unread(&mut tell);
    let (volume, recovered) = opened?;
    let mut report = Report {
        facts: volume.facts(),
        whole: volume.is_whole(),
        orphans: volume.stats().orphan_records,
        segments: 0,
        batches: 0,
        batch_bytes: 0,
        accounts: 0,
        mailboxes: 0,
        messages: 0,
        message_bytes: 0,
        broken: 0,
        accepted: 0,
        recovered,
    };
    batches(&volume, &mut report, &mut tell, &mut progress, &unread).await?;
    for account in volume.account_ids() {
        mailboxes(&volume, account, &mut report, &mut tell, &mut progress).await;
        unread(&mut tell);
    }
    report.broken = broken;
    Ok(report)
}

/// Reads the batches of every segment, up to the end of what is durable.
async fn batches<D: Disk>(
    volume: &Volume<D>,
    report: &mut Report,
    tell: &mut impl FnMut(Broken),
    progress: &mut impl FnMut(Progress),
    unread: &impl Fn(&mut dyn FnMut(Broken)),
) -> Result<(), OpenError> {
    let (files, end, accepted): (Vec<(u32, D::File)>, _, _) = {
        let log = volume.0.log.borrow();
        let files = log.files.iter().map(|(number, file)| (*number, file.clone()));
        (files.collect(), log.durable_end, log.accepted)
    };
    let mut begun = Vec::new();
    for (number, file) in files.into_iter().filter(|(number, _)| *number <= end.segment) {
        let block = file.read_at(0, segment::HEADER_BYTES).await;
        let block = block.map_err(|why| io_error(&format!("reading segment {number}"), why))?;
        let header = SegmentHeader::decode(&block).filter(|header| header.segment == number);
        begun.push((number, file, header));
    }
    let mut told: Vec<(u32, u64, u64)> = Vec::new();
    for (i, (number, file, header)) in begun.iter().enumerate() {
        let segment = *number;
        let mut say = |hole: Hole, accepted: bool, report: &mut Report| {
            told.push((segment, hole.offset, hole.octets));
            if accepted {
                report.accepted += 1;
            } else {
                tell(Broken::Log { segment, offset: hole.offset, octets: hole.octets });
            }
        };
        let incarnation = header.as_ref().map(|h| h.incarnation);
        let (segment_bytes, seed) = (volume.0.facts.segment_bytes, volume.0.facts.seed);
        let mut walk = Walk {
            frames: Frames { file, segment, incarnation, segment_bytes, seed },
            stop: if segment == end.segment { end.offset } else { segment_bytes },
            at: segment::HEADER_BYTES as u64,
            expected: header.as_ref().map(|h| h.first_lsn),
            epoch: header.as_ref().map_or(0, |h| h.epoch),
        };
        report.segments += 1;
        if header.is_none() {
            say(Hole { offset: 0, octets: segment::HEADER_BYTES as u64, through: None }, false, report);
        }
        let mut broken_bodies = Vec::new();
        while let Some((batch, hole)) = walk.next().await? {
            if let Some(hole) = hole {
                let is_accepted = hole.through.is_some_and(|last| last <= accepted);
                say(hole, is_accepted, report);
            }
            let before = broken_bodies.len();
            for entry in directory::entries(&batch.directory) {
                let Some(Record::Body(body)) = entry.expect("checked when it was read").record else { continue };
                if !body_fits(file, body.offset, body.len, body.check).await {
                    broken_bodies.push(Broken::Body { segment, offset: body.offset, octets: body.len });
                }
            }
            report.batches += u64::from(broken_bodies.len() == before);
            report.batch_bytes += batch.header.total_bytes;
            progress(Progress::Batch(batch.header.total_bytes));
        }
        let next = begun.get(i + 1).filter(|(next, ..)| *next == segment + 1);
        let next_first = next.and_then(|(_, _, header)| header.as_ref()).map(|h| h.first_lsn);
        let reaches = segment == end.segment || next_first.is_some();
        if reaches && let Some(hole) = walk.tail(next_first).await? {
            let is_accepted = hole.through.is_some_and(|last| last <= accepted);
            say(hole, is_accepted, report);
        }
        unread(tell);
        broken_bodies.into_iter().for_each(&mut *tell);
    }
    // Segments that are missing, for one thing.
    for &(segment, offset, octets) in &report.recovered.damaged {
        let overlaps = |(s, o, n): &(u32, u64, u64)| *s == segment && *o < offset + octets && offset < o + n;
        if !told.iter().any(overlaps) {
            tell(Broken::Log { segment, offset, octets });
        }
    }
    Ok(())
}

async fn body_fits<F: File>(file: &F, offset: u64, len: u64, check: u128) -> bool {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let mut at = offset;
    while at < offset + len {
        let now = READ_BYTES.min(offset + len - at);
        match file.read_at(at, usize::try_from(now).expect("bounded")).await {
            Ok(bytes) => hash.update(&bytes),
            Err(_) => return false,
        }
        at += now;
    }
    hash.digest128() == check
}

/// Reads an account with every message as a reader would.
async fn mailboxes<D: Disk>(
    volume: &Volume<D>,
    account: AccountId,
    report: &mut Report,
    tell: &mut impl FnMut(Broken),
    progress: &mut impl FnMut(Progress),
) {
    let read = async { Ok((volume.account(account).await?, volume.load(account).await?)) };
    let (info, loaded) = match read.await {
        Ok((Some(info), Some(loaded))) => (info, loaded),
        Ok(_) => return,
        Err(why) => {
            let why: ReadError = why;
            return tell(Broken::Account { account, why: why.to_string() });
        }
    };
    report.accounts += 1;
    for mailbox in loaded.mailboxes() {
        report.mailboxes += 1;
        let messages = loaded.mailbox(mailbox.id, |m| m.messages().to_vec()).unwrap_or_default();
        for message in messages {
            let mut at = 0;
            while at < message.size() {
                match volume.read_range(&message, at, usize::try_from(READ_BYTES).expect("bounded")).await {
                    Ok(bytes) if !bytes.is_empty() => at += bytes.len() as u64,
                    Ok(_) => break,
                    Err(why) => {
                        let (account, mailbox) = (info.name.clone(), mailbox.name.clone());
                        tell(Broken::Message { account, mailbox, uid: message.uid, why: why.to_string() });
                        break;
                    }
                }
            }
            report.messages += 1;
            report.message_bytes += message.size();
            progress(Progress::Message(message.size()));
        }
    }
}
