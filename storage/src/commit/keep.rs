//! Housekeeping beside the commits: the next segment is made before it is needed, the superblock follows, and now and then
//! there is a checkpoint.
//!
//! A retired file is used again where there is one: a rename. Making a new one writes 64 MiB of zeros; commits go on
//! meanwhile. Having no room for it, or no descriptor or memory
//! just now, is not a failure: nothing was handed to the disk that anybody counts on. It is tried again when `decide`
//! or a heartbeat sees room, at most once a second; meanwhile the reserve is there for what makes room.

use std::io::ErrorKind;
use std::rc::Rc;

use super::Log;
use super::log::{Retired, Spare};
use super::reserve::make_reserve;
use crate::checkpoint;
use crate::disk::{Disk, File};
use crate::segment::{self, FIRST_INCARNATION};
use crate::superblock::{COPIES, COPY_DISTANCE};
use crate::volume::Inner;

/// Runs until the commits have ended.
pub async fn keep<D: Disk>(inner: &Inner<D>) {
    loop {
        inner
            .keep_bell
            .until(|| {
                let log = inner.log.borrow();
                let due = log.superblock_due || log.clock.is_due(&inner.settings);
                let due = (due && !log.failed) || log.has_surplus() || log.reserve_due();
                !inner.keep_on.get() || log.wanted_segment().is_some() || due
            })
            .await;
        if !inner.keep_on.get() {
            return;
        }
        // A file that waits for the superblock to let it go is worth waiting for.
        let lets_go = inner.log.borrow().superblock_due && !inner.log.borrow().retired.is_empty();
        if inner.log.borrow().wanted_segment().is_some() && !lets_go {
            make_segment(inner).await;
        } else if inner.log.borrow().superblock_due {
            write_superblock(inner).await;
        } else if inner.log.borrow().reserve_due() {
            make_reserve(inner).await;
        } else {
            if inner.log.borrow().has_surplus() {
                remove_surplus(inner).await;
            } else {
                checkpoint::take(inner).await;
            }
        }
    }
}

/// Makes the next segment, if it is wanted.
pub async fn make_segment<D: Disk>(inner: &Inner<D>) {
    let (number, bytes, full) = {
        let log = inner.log.borrow();
        let Some(number) = log.wanted_segment() else { return };
        (number, log.superblock.segment_bytes, log.no_room)
    };
    if full {
        return lend_reserve(inner, number).await;
    }
    let retired = inner.log.borrow_mut().take_retired();
    match next_file(&inner.disk, number, bytes, retired.map(Retired::spare)).await {
        Ok((file, incarnation)) => {
            inner.log.borrow_mut().add(number, incarnation, file);
            inner.segment_bell.ring();
        }
        Err(why) if passes(&why) => {
            let mut log = inner.log.borrow_mut();
            log.retired.extend(retired);
            log.no_room = true;
            let appends = log.queue.iter().any(|gather| gather.segment == number && gather.appends);
            if log.cursor.segment == number && !appends {
                log.reserve.want();
            }
            log.stats.segments_put_off += 1;
            drop(log);
            inner.segment_bell.ring();
        }
        Err(_) => inner.fail(),
    }
}

/// The next segment is made of the reserve, without any room on the disk. Nobody but those who make room gets at it.
async fn lend_reserve<D: Disk>(inner: &Inner<D>, number: u32) {
    let Some(spare) = inner.log.borrow_mut().reserve.take() else { return };
    match inner.disk.recycle(&spare.name, &segment::name(number)).await {
        Ok(file) => {
            let mut log = inner.log.borrow_mut();
            log.reserve.lend();
            log.stats.reserves_lent += 1;
            log.add(number, spare.incarnation, file);
        }
        // Somebody has removed it.
        Err(why) if why.kind() == ErrorKind::NotFound => inner.log.borrow_mut().reserve.give_back(None),
        Err(why) if passes(&why) => inner.log.borrow_mut().reserve.give_back(Some(&spare)),
        Err(_) => inner.fail(),
    }
    inner.segment_bell.ring();
}

/// The file of a segment to come, and its incarnation: a spare one, else a new one.
pub async fn next_file<D: Disk>(
    disk: &D,
    number: u32,
    bytes: u64,
    spare: Option<Spare>,
) -> std::io::Result<(D::File, u32)> {
    let name = segment::name(number);
    if let Some(Spare { name: old, incarnation }) = spare {
        match disk.recycle(&old, &name).await {
            Ok(file) => return Ok((file, incarnation)),
            // Somebody has removed it: nothing is lost by that.
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
    }
    Ok((disk.create(&name, bytes).await?, FIRST_INCARNATION))
}

async fn remove_surplus<D: Disk>(inner: &Inner<D>) {
    let Some(retired) = inner.log.borrow_mut().take_surplus() else { return };
    match inner.disk.remove(&segment::name(retired.segment)).await {
        Ok(()) => {}
        Err(why) if why.kind() == ErrorKind::NotFound => {}
        Err(_) => inner.fail(),
    }
}

/// True for errors that say nothing of the disk's health: no room, or the process or the host is short of something.
pub fn passes(why: &std::io::Error) -> bool {
    const EINTR: i32 = 4;
    const EAGAIN: i32 = 11;
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOSPC: i32 = 28;
    const EDQUOT: i32 = 122;
    match why.raw_os_error() {
        Some(code) => matches!(code, EINTR | EAGAIN | ENOMEM | ENFILE | EMFILE | ENOSPC | EDQUOT),
        None => matches!(why.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded),
    }
}

/// Writes the next superblock: copies 0 and 1 before 2 and 3, each synced before the next. False: the disk failed.
pub async fn write_superblock<D: Disk>(inner: &Inner<D>) -> bool {
    let next = {
        let index = inner.index.borrow();
        let mut log = inner.log.borrow_mut();
        log.superblock_due = false;
        Log::next_superblock(&log, index.last_uidvalidity, index.last_account)
    };
    // Dropped in between it stays so: nobody knows what the copies are.
    inner.superblock_busy.set(true);
    if write_copies(&inner.superblock_file, &next).await.is_err() {
        inner.fail();
        return false;
    }
    let mut log = inner.log.borrow_mut();
    log.vouched = log.vouched.max(next.durable_lsn);
    log.superblock = next;
    inner.superblock_busy.set(false);
    true
}

/// Writes the four copies in order.
pub async fn write_copies<F: File>(file: &F, superblock: &crate::superblock::Superblock) -> std::io::Result<()> {
    for copy in 0..COPIES {
        file.write_sync(copy * COPY_DISTANCE, vec![Rc::new(superblock.encode(copy))]).await?;
    }
    Ok(())
}
