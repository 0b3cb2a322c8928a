//! The commit loop. One batch is in flight; the next gathers meanwhile.
//!
//! Any error of a write or sync ends the volume's writing for good: the batch in flight is `Unknown`, what only
//! gathered is `NotWritten`, nothing is retried (a second fdatasync may report success for pages the first one
//! lost). Reads go on.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::Fate;
use super::keep;
use crate::batch::{Gather, HEADER_BYTES, Header, Sealed};
use crate::bugs::{self, Bug};
use crate::checkpoint;
use crate::disk::{Disk, File};
use crate::record::{Heartbeat, kind};
use crate::segment::BLOCK_BYTES;
use crate::transaction::Lost;
use crate::volume::{Commit, Inner};

/// Runs until the volume is closed.
pub async fn run<D: Disk, F: Future<Output = ()>>(inner: &Inner<D>, run_dry: impl Fn() -> F) {
    assert!(!inner.log.borrow().running, "one commit loop a volume");
    inner.log.borrow_mut().running = true;
    let guard = Running(inner);
    {
        let mut commits = pin!(commits(inner, run_dry));
        let mut keeping = pin!(keep::keep(inner));
        let (mut committed, mut kept) = (false, false);
        poll_fn(|cx| {
            committed = committed || commits.as_mut().poll(cx).is_ready();
            inner.keep_on.set(!committed);
            if committed {
                inner.keep_bell.ring();
            }
            kept = kept || keeping.as_mut().poll(cx).is_ready();
            if committed && kept { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    let changed = inner.settings.checkpoint_bytes > 0 && inner.log.borrow().clock.bytes > 0;
    let told = !inner.log.borrow().failed && changed && checkpoint::take(inner).await;
    if !told && !inner.log.borrow().failed {
        keep::write_superblock(inner).await;
    }
    drop(guard);
}

/// Whatever ends the loop, nobody is left waiting.
struct Running<'a, D: Disk>(&'a Inner<D>);

impl<D: Disk> Drop for Running<'_, D> {
    fn drop(&mut self) {
        let mut log = self.0.log.borrow_mut();
        log.running = false;
        if log.closing {
            log.closed = true;
        } else {
            log.failed = true;
            log.stats.failed = true;
        }
        let lost = log.give_up();
        drop(log);
        tell(&lost, Lost::NotWritten);
        self.0.closed_bell.ring();
        self.0.settled_bell.ring();
        self.0.watches.end();
    }
}

fn tell(fates: &[Rc<Fate>], lost: Lost) {
    fates.iter().for_each(|f| f.tell(Err(lost)));
}

async fn commits<D: Disk, F: Future<Output = ()>>(inner: &Inner<D>, run_dry: impl Fn() -> F) {
    loop {
        inner
            .commit_bell
            .until(|| {
                let log = inner.log.borrow();
                !log.queue.is_empty() || log.closing
            })
            .await;
        if inner.log.borrow().failed {
            inner.commit_bell.until(|| inner.log.borrow().closing).await;
            return;
        }
        if inner.log.borrow().queue.is_empty() && !(inner.log.borrow().closing && gather_heartbeat(inner)) {
            return;
        }
        gather_until_dry(inner, run_dry()).await;
        if !reach_segment(inner).await {
            continue;
        }
        let Some((gather, sealed)) = inner.log.borrow_mut().seal_first(inner.facts.volume, inner.facts.seed) else {
            continue;
        };
        commit(inner, gather, sealed).await;
    }
}

/// Waits for `dry`, or until the first batch of the queue takes nothing more.
async fn gather_until_dry<D: Disk>(inner: &Inner<D>, dry: impl Future<Output = ()>) {
    let mut dry = pin!(dry);
    poll_fn(|cx| {
        let full = inner.log.borrow().queue.front().is_none_or(|g| g.closed);
        if full || inner.log.borrow().closing || dry.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        inner.commit_bell.listen(cx);
        Poll::Pending
    })
    .await;
}

/// Makes sure that the first batch's segment is the active one. False: there is nothing to write (any more).
async fn reach_segment<D: Disk>(inner: &Inner<D>) -> bool {
    let Some(want) = inner.log.borrow().queue.front().map(|g| g.segment) else { return false };
    if inner.log.borrow().active == want {
        return true;
    }
    inner.keep_bell.ring();
    inner
        .segment_bell
        .until(|| {
            let log = inner.log.borrow();
            log.files.contains_key(&want) || log.failed || (log.no_room && !log.reserve.is_coming())
        })
        .await;
    let ready = {
        let log = inner.log.borrow();
        log.files.get(&want).cloned().filter(|_| !log.failed).map(|file| (file, log.segment_header(want)))
    };
    let Some((file, header)) = ready else {
        // No room for the segment they were meant for: none of these was handed to the disk. (After a failure they
        // have been told already.)
        let lost = inner.log.borrow_mut().give_up();
        inner.ahead.borrow_mut().forget();
        tell(&lost, Lost::NoRoom);
        inner.settled_bell.ring();
        return false;
    };
    // Synced alone and before any batch in it: from here on it vouches for all that came before.
    if !bugs::on(Bug::SkipSegmentHeader) && file.write_sync(0, vec![Rc::new(header.encode())]).await.is_err() {
        inner.fail();
        return false;
    }
    {
        let mut log = inner.log.borrow_mut();
        if let Some(before) = log.files.get(&log.active) {
            before.seal();
        }
        log.begun(&header);
    }
    inner.keep_bell.ring();
    true
}

async fn commit<D: Disk>(inner: &Inner<D>, gather: Gather, sealed: Sealed) {
    let file = inner.log.borrow().files[&sealed.header.segment].clone();
    let buffer = sealed.parts[0].clone();
    let mut in_flight = InFlight { inner, fate: Some(gather.fate.clone()) };
    inner.tell_watch(&gather, Commit::Begun);
    if bugs::on(Bug::AckBeforeSync)
        && let Some(fate) = in_flight.fate.take()
    {
        fate.tell(Ok(()));
    }
    if bugs::on(Bug::ShowDecided) {
        inner.index.borrow_mut().apply(&sealed.header, &buffer[HEADER_BYTES..]);
    }
    let mut result = file.write_sync(sealed.header.offset, sealed.parts.clone()).await;
    if bugs::on(Bug::RetrySync) && result.is_err() {
        // A sync needs something to write here: the last block once more.
        let octets = sealed.parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
        let last = octets.len() - BLOCK_BYTES as usize;
        result = file.write_sync(sealed.header.offset + last as u64, vec![Rc::new(octets[last..].to_vec())]).await;
    }
    if let Err(why) = &result
        && !bugs::on(Bug::IgnoreError)
        && !(bugs::on(Bug::IgnoreShortWrite) && why.kind() == std::io::ErrorKind::WriteZero)
    {
        return;
    }
    let fate = in_flight.fate.take();
    let Header { transactions, total_bytes, .. } = sealed.header;
    inner.tell_watch(&gather, Commit::Durable { transactions, bytes: total_bytes });
    // The index is told only now: no reader may see what a crash could take back.
    let orphans = match bugs::on(Bug::ShowDecided) {
        true => 0,
        false => inner.index.borrow_mut().apply(&sealed.header, &buffer[HEADER_BYTES..]),
    };
    let changed = std::mem::take(&mut inner.index.borrow_mut().changed);
    assert_eq!(orphans, 0, "what was decided fits what is durable");
    inner.ahead.borrow_mut().settled(gather.lsn, &gather.touched);
    let mut log = inner.log.borrow_mut();
    log.advance(&gather, &sealed);
    if gather.idle {
        // A heartbeat is nobody's news: it need not be vouched for itself.
        log.vouched = log.durable;
    } else {
        log.clock.grow(total_bytes);
    }
    let wants_keeper = log.wanted_segment().is_some() || log.clock.is_due(&inner.settings);
    drop(log);
    if wants_keeper {
        inner.keep_bell.ring();
    }
    if let Some(fate) = fate {
        fate.set_bodies_at(sealed.header.bodies_at());
        fate.tell(Ok(()));
    }
    inner.watches.ring(gather.lsn, &changed);
    inner.settled_bell.ring();
    inner.note_due();
    inner.trim();
}

/// A batch the disk has. If this is dropped before the disk has answered well, nobody knows.
struct InFlight<'a, D: Disk> {
    inner: &'a Inner<D>,
    fate: Option<Rc<Fate>>,
}

impl<D: Disk> Drop for InFlight<'_, D> {
    fn drop(&mut self) {
        if let Some(fate) = self.fate.take() {
            self.inner.log.borrow_mut().failed = true;
            fate.tell(Err(Lost::Unknown));
            self.inner.fail();
        }
    }
}

/// Puts a heartbeat into the queue, if something durable is not yet vouched for and it fits the segment.
pub fn gather_heartbeat<D: Disk>(inner: &Inner<D>) -> bool {
    let mut log = inner.log.borrow_mut();
    let bound = super::log::Bound { bytes: 64, parts: 0, appends: false };
    if log.failed || log.vouched >= log.durable || !log.queue.is_empty() {
        return false;
    }
    if log.cursor.offset + 2 * crate::segment::BLOCK_BYTES > log.superblock.segment_bytes {
        return false;
    }
    let durable_lsn = log.durable;
    let Ok(gather) = log.gather(bound, &inner.settings) else { return false };
    gather.push(kind::HEARTBEAT, |out| Heartbeat { durable_lsn }.encode(out));
    gather.idle = true;
    true
}

impl<D: Disk> Inner<D> {
    /// A heartbeat is nobody's news.
    fn tell_watch(&self, gather: &Gather, commit: Commit) {
        if let Some(watch) = self.on_commit.borrow().as_ref().filter(|_| !gather.idle) {
            watch(commit);
        }
    }

    /// The volume takes nothing more until it is opened anew.
    pub fn fail(&self) {
        let mut log = self.log.borrow_mut();
        log.failed = true;
        log.stats.failed = true;
        let lost = log.give_up();
        drop(log);
        tell(&lost, Lost::NotWritten);
        self.commit_bell.ring();
        self.segment_bell.ring();
        self.keep_bell.ring();
        self.settled_bell.ring();
        self.house_bell.ring();
        self.watches.end();
    }
}
