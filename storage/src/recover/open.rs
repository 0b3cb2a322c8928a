//! Opening: who is it, what does the log say, and one write if something must be settled before use.
//!
//! What recovery accepts without anybody having vouched for it may still be only in the kernel's memory, and if
//! a sync has failed before, the kernel may think it clean. So it is written again, with a sync, before anyone
//! sees it. What recovery discards is shut out by a new epoch.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::create::read_copies;
use super::frames::io_error;
use super::scan::{Scan, incarnation_of, scan};
use crate::batch::HEADER_BYTES;
use crate::bugs::{self, Bug};
use crate::checkpoint::{self, Clock, Found};
use crate::commit::{self, Bell, Bound, Cursor, Log, Reserve, Retired, find_reserve};
use crate::disk::{Disk, File};
use crate::fold::House;
use crate::index::ahead::Ahead;
use crate::index::{ACCOUNT_NUMBER_MAX, Index};
use crate::record::{FRAME_BYTES_MAX, Gap, Heartbeat, Truncate, all_known, kind};
use crate::scrub::Scrub;
use crate::segment::{self, BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENTS_MAX};
use crate::superblock::{self, Address, FORMAT_VERSION, INCOMPAT_KNOWN, Quorum, RO_COMPAT_KNOWN, Superblock};
use crate::types::{LSN_MAX, VolumeId};
use crate::upload::Pins;
use crate::volume::{Create, Inner, OpenError, Recovered, Settings, VolumeStats};

/// Octets that a mark needs at the end of a segment, its batch included.
const MARK_BYTES: u64 = 2 * BLOCK_BYTES;

/// See [`crate::Volume::open`].
pub async fn open<D: Disk>(
    disk: D,
    want: Option<(uuid::Uuid, VolumeId)>,
    settings: Settings,
) -> Result<(Inner<D>, Recovered), OpenError> {
    let names = disk.list().await.map_err(|why| io_error("listing the volume's folder", why))?;
    if !names.iter().any(|n| n == superblock::NAME) {
        return Err(OpenError::Absent);
    }
    let superblock_file = open_file(&disk, superblock::NAME).await?;
    let copies = read_copies(&superblock_file).await.map_err(|why| io_error("reading the superblock", why))?;
    let superblock = known(superblock::quorum(&copies))?;
    belongs(&superblock, want)?;
    let mut files = BTreeMap::new();
    let mut retired = VecDeque::new();
    let ours = |n: &u32| *n <= SEGMENTS_MAX && names.contains(&segment::name(*n));
    for number in names.iter().filter_map(|n| segment::number(n)).filter(ours).collect::<BTreeSet<_>>() {
        if number >= superblock.head_segment {
            files.insert(number, open_file(&disk, &segment::name(number)).await?);
        } else {
            retired.extend(let_go(&disk, &superblock, number).await);
        }
    }
    let found = match settings.checkpoint_bytes {
        0 => None,
        _ => Some(checkpoint::load(&disk, &names, &superblock).await),
    };
    let (pages, start, checkpoints, checkpointed) = match found {
        Some(Found { pages, start, address, before, segments }) => (Some(pages), start, [address, before], segments),
        None => (None, None, [superblock.checkpoint, superblock.checkpoint_before], [None; 2]),
    };
    // Those that the checkpoint knows to be retired are here only until they are used again.
    let gone: Vec<u32> = match &start {
        Some(start) => files.keys().copied().filter(|number| start.index.is_retired(*number)).collect(),
        None => Vec::new(),
    };
    for number in gone {
        files.remove(&number);
        retired.extend(let_go(&disk, &superblock, number).await);
    }
    let checkpoint_lsn = start.as_ref().map_or(0, |start| start.position.lsn);
    let mut scan = scan(&superblock, &files, start).await?;
    let mut index = std::mem::take(&mut scan.index);
    let recovered = scan.recovered.clone();
    // All four copies again, synced: a copy read back may never have reached the disk, and the next sequence may
    // only be begun over four that have.
    commit::write_copies(&superblock_file, &superblock)
        .await
        .map_err(|why| io_error("writing the superblock again", why))?;
    let reserve = Reserve::found(find_reserve(&disk, &names, &superblock).await);
    let mut log = settle(&disk, superblock, files, (retired, reserve), &scan, &mut index, &settings).await?;
    log.checkpoints = checkpoints;
    log.checkpointed = checkpointed;
    log.checkpoint_lsn = checkpoint_lsn;
    log.clock.grow(recovered.bytes);
    let facts = Create {
        store: log.superblock.store,
        volume: log.superblock.volume,
        volumes: log.superblock.volumes,
        segment_bytes: log.superblock.segment_bytes,
        seed: log.superblock.seed,
    };
    let failed = log.failed;
    index.live = true;
    index.fold_at = settings.fold_at;
    let inner = Inner {
        ahead: RefCell::new(Ahead::level(&index)),
        index: RefCell::new(index),
        log: RefCell::new(log),
        pages: RefCell::new(pages),
        disk,
        facts,
        settings,
        superblock_file,
        superblock_busy: Cell::default(),
        commit_bell: Bell::default(),
        keep_bell: Bell::default(),
        segment_bell: Bell::default(),
        closed_bell: Bell::default(),
        load_bell: Bell::default(),
        settled_bell: Bell::default(),
        turns: RefCell::default(),
        house: House::default(),
        house_bell: Bell::default(),
        watches: Rc::default(),
        on_commit: RefCell::default(),
        keep_on: Cell::new(true),
        pins: Pins::default(),
        reading: Pins::default(),
        stuck: RefCell::default(),
        compacting: Cell::default(),
        retiring: Cell::default(),
        renaming: Cell::default(),
        rests_until: Cell::default(),
        scrub: Scrub::default(),
    };
    if failed {
        inner.watches.end();
    }
    if scan.partial && inner.recount().await.is_err() {
        // Everything is there but the count of it: nothing is compacted.
        inner.index.borrow_mut().uncounted = true;
    }
    Ok((inner, recovered))
}

/// A file before the head, if it can be used again. What cannot be read is left lying: nobody needs it.
async fn let_go<D: Disk>(disk: &D, superblock: &Superblock, number: u32) -> Option<Retired> {
    let file = disk.open(&segment::name(number)).await.ok()?;
    let incarnation = incarnation_of(superblock, number, &file).await.ok()?;
    Some(Retired { segment: number, incarnation })
}

async fn open_file<D: Disk>(disk: &D, name: &str) -> Result<D::File, OpenError> {
    disk.open(name).await.map_err(|why| io_error(&format!("opening {name}"), why))
}

/// The superblock, if this program understands it.
fn known(quorum: Quorum) -> Result<Superblock, OpenError> {
    let superblock = match quorum {
        Quorum::Blank => return Err(OpenError::Absent),
        Quorum::Newer(found) => return Err(OpenError::Newer { found, known: FORMAT_VERSION }),
        Quorum::Damaged(why) => return Err(OpenError::Superblock(why)),
        Quorum::Found(superblock) => *superblock,
    };
    let unknown = (superblock.incompat & !INCOMPAT_KNOWN) | (superblock.ro_compat & !RO_COMPAT_KNOWN);
    if unknown != 0 {
        return Err(OpenError::Features(unknown));
    }
    let bytes = superblock.segment_bytes;
    if superblock.format_version < FORMAT_VERSION {
        return Err(OpenError::Older { found: superblock.format_version, known: FORMAT_VERSION });
    }
    let sizes = superblock.block_bytes == BLOCK_BYTES as u32
        && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes)
        && bytes.is_multiple_of(BLOCK_BYTES);
    if !sizes {
        return Err(OpenError::Superblock(format!(
            "blocks of {} and segments of {bytes} octets are not possible",
            superblock.block_bytes
        )));
    }
    let grown = superblock.durable_lsn <= LSN_MAX
        && (1..=superblock.durable_lsn + 1).contains(&superblock.head_lsn)
        && superblock.epoch <= LSN_MAX
        && superblock.sequence <= LSN_MAX
        && (1..=superblock.tail_segment).contains(&superblock.head_segment)
        && superblock.tail_segment <= SEGMENTS_MAX
        && superblock.last_account <= ACCOUNT_NUMBER_MAX;
    if !grown {
        return Err(OpenError::Superblock("its counters are not possible".to_owned()));
    }
    Ok(superblock)
}

fn belongs(superblock: &Superblock, want: Option<(uuid::Uuid, VolumeId)>) -> Result<(), OpenError> {
    match want {
        Some((want_store, want_volume)) if (want_store, want_volume) != (superblock.store, superblock.volume) => {
            Err(OpenError::Other {
                found_store: superblock.store,
                found_volume: superblock.volume,
                want_store,
                want_volume,
            })
        }
        _ => Ok(()),
    }
}

/// Makes the end of the log fit to be continued: everything accepted is durable, everything discarded shut out.
async fn settle<D: Disk>(
    disk: &D,
    superblock: Superblock,
    files: BTreeMap<u32, D::File>,
    (retired, reserve): (VecDeque<Retired>, Reserve),
    scan: &Scan,
    index: &mut Index,
    settings: &Settings,
) -> Result<Log<D::File>, OpenError> {
    let end = Cursor { segment: scan.segment, offset: scan.offset };
    let mut log = Log {
        files,
        uses: scan.uses.clone(),
        retired,
        head: (superblock.head_segment, superblock.head_lsn),
        active: scan.segment,
        cursor: end,
        durable_end: end,
        queue: VecDeque::new(),
        next_lsn: scan.next_lsn,
        durable: 0,
        vouched: scan.durable,
        prev: scan.prev,
        epoch: scan.epoch,
        waiting_bytes: 0,
        failed: false,
        closing: false,
        closed: false,
        running: false,
        no_room: false,
        free: None,
        reserve,
        superblock_due: false,
        stale_to: scan.stale_to,
        checkpoints: [Address::NONE; 2],
        checkpointed: [None; 2],
        clock: Clock::default(),
        checkpoint_lsn: 0,
        checkpoint_age_s: None,
        distrusted: false,
        stats: VolumeStats::default(),
        whole: scan.lost.iter().all(|(_, last)| *last <= superblock.accepted_lsn),
        accepted: superblock.accepted_lsn,
        superblock,
    };
    // What was emptied before a crash, and is still there.
    let gone: Vec<u32> = log.files.keys().copied().filter(|n| *n < log.active && index.is_retired(*n)).collect();
    gone.into_iter().for_each(|number| log.retire(number));
    let shut_out = scan.torn_to.is_some() || scan.ends_in_damage;
    let unvouched = !scan.unvouched.is_empty();
    if shut_out {
        log.epoch += u64::from(!bugs::on(Bug::KeepEpoch));
        log.superblock_due = true;
    }
    let room = log.superblock.segment_bytes - scan.offset;
    let gap = !all_known(&scan.lost, &index.lost()) && !bugs::on(Bug::ForgetGap);
    // The gap's record lies in no segment that lost anything: whoever loses it too, loses more, and jumps further.
    let elsewhere = scan.ends_in_damage || room < MARK_BYTES || gap;
    if let Some(file) = log.files.get(&scan.segment).cloned() {
        for &(offset, bytes) in scan.unvouched.iter().filter(|_| !bugs::on(Bug::TrustUnsynced)) {
            again(&file, offset, bytes).await?;
        }
        // A segment that the superblock does not know yet: its header may be in the kernel's memory only.
        if log.superblock.tail_segment < scan.segment {
            again(&file, 0, segment::HEADER_BYTES as u64).await?;
            log.superblock_due = true;
        }
    }
    log.durable = scan.next_lsn - 1;
    log.stats = VolumeStats {
        durable: log.durable,
        damaged_regions: scan.recovered.damaged.len() as u64,
        lost_batches: scan.recovered.lost_batches,
        ..VolumeStats::default()
    };
    if (shut_out || gap) && elsewhere {
        match begin_next(disk, &mut log).await {
            // Nothing may be written behind the damage, and there is no room elsewhere: the volume opens for its readers.
            Err(OpenError::Io { why, .. }) if crate::commit::passes(&why) => {
                log.failed = true;
                log.stats.failed = true;
                return Ok(log);
            }
            done => done?,
        }
    }
    if shut_out {
        let discarded_to = if elsewhere { 0 } else { scan.torn_to.unwrap_or(0) };
        log.stale_to = log.stale_to.max(discarded_to);
        mark(&mut log, index, settings, kind::TRUNCATE, 8, |out| Truncate { discarded_to }.encode(out)).await?;
    } else if unvouched && !elsewhere {
        let durable_lsn = log.durable;
        mark(&mut log, index, settings, kind::HEARTBEAT, 8, |out| Heartbeat { durable_lsn }.encode(out)).await?;
    }
    if gap {
        let segment_bytes = log.superblock.segment_bytes;
        let lost_bytes = segment_bytes * damaged_segments(&scan.recovered.damaged, segment_bytes).max(1);
        let bytes = Gap::bytes(&scan.lost);
        mark(&mut log, index, settings, kind::GAP, bytes, |out| Gap::encode(out, lost_bytes, &scan.lost)).await?;
    }
    Ok(log)
}

/// Segments with damage in them. A region that is longer than one is of those that follow, too.
fn damaged_segments(damaged: &[(u32, u64, u64)], segment_bytes: u64) -> u64 {
    let mut damaged: Vec<_> = damaged.iter().collect();
    damaged.sort_unstable();
    let (mut count, mut next) = (0, 0);
    for (segment, from, len) in damaged {
        let after = u64::from(*segment) + from.saturating_add(*len).div_ceil(segment_bytes).max(1);
        count += after.saturating_sub(next.max(u64::from(*segment)));
        next = next.max(after);
    }
    count
}

/// Writes the same octets again, for the sync that comes with them.
async fn again<F: File>(file: &F, offset: u64, bytes: u64) -> Result<(), OpenError> {
    let doing = |why| io_error("writing the end of the log again", why);
    let bytes = file.read_at(offset, usize::try_from(bytes).expect("a segment is below 4 GiB")).await.map_err(doing)?;
    file.write_sync(offset, vec![Rc::new(bytes)]).await.map_err(doing)
}

/// The log goes on in the next segment.
async fn begin_next<D: Disk>(disk: &D, log: &mut Log<D::File>) -> Result<(), OpenError> {
    let number = log.active + 1;
    if !log.files.contains_key(&number) {
        let doing = |why| io_error("making a segment to go on in", why);
        let spare = log.take_retired().map(Retired::spare);
        let made = commit::next_file(disk, number, log.superblock.segment_bytes, spare).await;
        let (file, incarnation) = match (made, log.reserve.can_be_lent()) {
            (Err(why), true) if commit::passes(&why) => {
                let spare = log.reserve.take();
                let made = commit::next_file(disk, number, log.superblock.segment_bytes, spare).await.map_err(doing)?;
                log.reserve.lend();
                log.stats.reserves_lent += 1;
                made
            }
            (made, _) => made.map_err(doing)?,
        };
        log.add(number, incarnation, file);
    }
    let header = log.segment_header(number);
    let file = log.files[&number].clone();
    file.write_sync(0, vec![Rc::new(header.encode())]).await.map_err(|why| io_error("beginning a segment", why))?;
    log.begun(&header);
    log.cursor = Cursor { segment: number, offset: segment::HEADER_BYTES as u64 };
    log.durable_end = log.cursor;
    Ok(())
}

/// Commits one record of the log itself. `bytes`: of its payload, at most.
async fn mark<F: File>(
    log: &mut Log<F>,
    index: &mut Index,
    settings: &Settings,
    kind: u16,
    bytes: u64,
    payload: impl FnOnce(&mut Vec<u8>),
) -> Result<(), OpenError> {
    let bound = Bound { bytes: FRAME_BYTES_MAX + bytes, parts: 0, appends: false };
    log.gather(bound, settings).expect("there is room for a mark").push(kind, payload);
    let (volume, seed) = (log.superblock.volume, log.superblock.seed);
    let (gather, sealed) = log.seal_first(volume, seed).expect("just gathered");
    assert_eq!(gather.segment, log.active, "a mark stays in its segment");
    let buffer = sealed.parts[0].clone();
    let file = log.files[&gather.segment].clone();
    file.write_sync(sealed.header.offset, sealed.parts.clone())
        .await
        .map_err(|why| io_error("settling the end of the log", why))?;
    index.apply(&sealed.header, &buffer[HEADER_BYTES..]);
    log.advance(&gather, &sealed);
    // Nobody was acknowledged anything in it.
    log.vouched = log.durable;
    Ok(())
}
