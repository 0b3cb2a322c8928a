//! One round: from a source to one target, load by load, until nothing is pending.

use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::{Body, PendingTransfer, ReadError, Refused, TransferNumber, Volume, VolumeId};

use super::bounce;
use super::collect::{Uncollected, collect};
use crate::bugs::{self, Bug};
use crate::limits;
use crate::mailbox::anew::Anew;
use crate::observe::{self, Counter};
use crate::office::words::{Carriage, Landing, Load};
use crate::office::{Deliverable, Incoming, Office, Reply, Request};
use crate::shard::{self, Disk};

/// The first wait after a load that was not taken, milliseconds. It doubles.
const WAIT_MS: u64 = 50;

/// Why a load has to wait.
#[derive(Debug)]
enum Stuck {
    /// Nothing is known to have become durable there.
    There(Deliverable),
    /// It has not received what came before; the last it has.
    Gap(TransferNumber),
    /// The mesh has no room, or the shard is gone.
    OnTheWay,
    /// The source could not be read.
    Unread,
    /// What came of it could not be made durable here.
    Unsettled,
}

/// How far a round is.
struct Round<'a> {
    office: &'a Rc<Office>,
    id: VolumeId,
    volume: &'a Volume<Disk>,
    target: VolumeId,
    /// The last one that is durable there, settled here or not.
    there: TransferNumber,
    /// What the target says to have received, where that is less than it should have.
    after: Option<TransferNumber>,
    /// Transfers of a load, at most.
    transfers_max: usize,
}

/// Carries everything that is pending; returns when nothing is, or when the source takes no more changes and all was carried.
pub async fn round(office: &Rc<Office>, id: VolumeId, volume: &Volume<Disk>, target: VolumeId) {
    let there = volume.transfers_sent(target);
    let transfers_max = limits::LOAD_TRANSFERS_MAX;
    let mut round = Round { office, id, volume, target, there, after: None, transfers_max };
    let mut wait_ms = WAIT_MS;
    loop {
        let pending = round.pending();
        if pending.is_empty() {
            return;
        }
        let Err(stuck) = round.carry(pending).await else {
            wait_ms = WAIT_MS;
            continue;
        };
        if round.office.may_complain() {
            tracing::warn!(target: "courier", source = id, volume = target, ?stuck, wait_ms, "transfers wait (said once a second)");
        }
        shard::sleep(Duration::from_millis(jittered(wait_ms))).await;
        wait_ms = (wait_ms * 2).min(limits::COURIER_WAIT_MS_MAX);
    }
}

/// Between three quarters of it and all of it, so that couriers do not march in step.
fn jittered(ms: u64) -> u64 {
    let mut chance = [0; 2];
    shard::random(&mut chance);
    ms - ms / 4 * u64::from(u16::from_le_bytes(chance)) / u64::from(u16::MAX)
}

impl Round<'_> {
    fn pending(&self) -> Vec<Rc<PendingTransfer>> {
        let mut octets = 0;
        let mut pending = self.volume.pending_transfers(self.target, self.there, self.transfers_max);
        let fits = pending.iter().take_while(|transfer| {
            octets += transfer.octets();
            octets <= limits::LOAD_BYTES_MAX
        });
        let fits = fits.count().max(1);
        pending.truncate(fits);
        pending
    }

    /// Carries one load, and settles what became of it.
    async fn carry(&mut self, pending: Vec<Rc<PendingTransfer>>) -> Result<(), Stuck> {
        // What of a large one went ahead is kept until the load is answered.
        let mut ahead = None;
        let load = self.load(&pending, &mut ahead).await?;
        let last = pending.last().expect("a load has at least one").number;
        if bugs::on(Bug::SettleEarly) {
            let landings: Vec<Landing> =
                pending.iter().map(|_| Landing { uids: Vec::new(), bounced: Vec::new() }).collect();
            let _ = bounce::settle(self.office, self.id, self.volume, &pending, &landings).await;
        }
        let landings = match self.ask(load).await {
            Ok(landings) => landings,
            Err(Stuck::Gap(has)) => return self.over_the_gap(pending[0].number, last, has),
            Err(Stuck::There(Deliverable::Refused(Refused::TooLarge))) if pending.len() > 1 => {
                self.transfers_max = 1;
                return Ok(());
            }
            // Alone it is too large for any batch there, now and later.
            Err(Stuck::There(Deliverable::Refused(Refused::TooLarge))) => {
                let all = (0..).take(pending[0].copies.len()).collect();
                vec![Landing { uids: Vec::new(), bounced: all }]
            }
            Err(Stuck::There(_) | Stuck::OnTheWay) if bugs::on(Bug::SkipUnanswered) => {
                self.there = last;
                return Ok(());
            }
            Err(stuck) => return Err(stuck),
        };
        drop(ahead);
        self.after = None;
        observe::add(Counter::TransfersSent, landings.len() as u64);
        if bounce::settle(self.office, self.id, self.volume, &pending, &landings).await.is_err() {
            if self.volume.stats().failed && landings.iter().all(|landing| landing.bounced.is_empty()) {
                // Nothing is written here any more, but the others may have their mail; the next start carries it again, to
                // no effect.
                self.there = last;
                return Ok(());
            }
            return Err(Stuck::Unsettled);
        }
        self.there = last;
        for (transfer, landing) in pending.iter().zip(&landings) {
            self.office.couriers.tell((self.id, self.target, transfer.number), landing);
        }
        Ok(())
    }

    async fn load(&self, pending: &[Rc<PendingTransfer>], ahead: &mut Option<Incoming>) -> Result<Box<Load>, Stuck> {
        let mut transfers = Vec::with_capacity(pending.len());
        for transfer in pending {
            let octets = Anew::transfer(self.volume, transfer);
            let body = match collect(self.office, self.volume, octets, self.target, ahead).await {
                Ok(body) => body,
                Err(Uncollected::Unread(ReadError::Damaged | ReadError::Gone | ReadError::Missing)) => {
                    self.remains(transfer)
                }
                Err(Uncollected::Unput(why)) => return Err(Stuck::There(why.into())),
                Err(Uncollected::Unread(ReadError::Io(why))) => {
                    tracing::error!(target: "courier", volume = self.id, %why, "a transfer cannot be read");
                    return Err(Stuck::Unread);
                }
            };
            let PendingTransfer { number, copies, internal_ms, .. } = &**transfer;
            transfers.push(Carriage { number: *number, body, copies: copies.clone(), internal_ms: *internal_ms });
        }
        let settled = self.volume.transfers_sent(self.target);
        let after = self.after.unwrap_or(self.there);
        Ok(Box::new(Load { source: self.id, target: self.target, after, settled, transfers }))
    }

    /// What is delivered of a letter that is damaged: that there was one. Dropping it quietly would be worse.
    fn remains(&self, transfer: &PendingTransfer) -> Body {
        let TransferNumber { incarnation, number } = transfer.number;
        tracing::error!(target: "courier", volume = self.id, number, incarnation, "a transfer is damaged on disk; a notice goes instead");
        Body::from(
            format!(
                "Subject: A message was damaged before it reached you\r\n\
                 From: <MAILER-DAEMON@{host}>\r\n\
                 \r\n\
                 A message of {octets} octets for you was damaged on disk at {host}\r\n\
                 before it could be delivered. Its number in the log is {incarnation}.{number}.\r\n",
                host = self.office.settings.hostname,
                octets = transfer.octets(),
            )
            .into_bytes(),
        )
    }

    async fn ask(&self, load: Box<Load>) -> Result<Vec<Landing>, Stuck> {
        let octets = load.transfers.iter().map(|t| t.body.in_memory()).sum();
        let (shard, count) = (self.office.shard_of(self.target), load.transfers.len());
        match self.office.mesh.call(shard, Request::Receive(load), octets).await {
            Ok(Reply::Received { landings: Ok(landings), buffers }) => {
                // They were allocated here.
                drop(buffers);
                assert_eq!(landings.len(), count, "each transfer is answered");
                Ok(landings)
            }
            Ok(Reply::Received { landings: Err(Deliverable::Refused(Refused::Gap(has))), .. }) => Err(Stuck::Gap(has)),
            Ok(Reply::Received { landings: Err(why), .. }) => Err(Stuck::There(why)),
            Ok(other) => unreachable!("a load is answered with its landings, not {other:?}"),
            Err(_) => Err(Stuck::OnTheWay),
        }
    }

    /// The target misses what was sent before, because it was put back as it was earlier or has lost something. It cannot be
    /// sent again: it is gone here. So it is said, and the rest goes on.
    fn over_the_gap(&mut self, first: TransferNumber, last: TransferNumber, has: TransferNumber) -> Result<(), Stuck> {
        observe::count(Counter::TransfersGap);
        if has.incarnation > first.incarnation || self.after == Some(has) {
            tracing::error!(
                target: "courier", source = self.id, volume = self.target, ?first, ?last, ?has,
                "transfers from before a loss are held: it is not known whether they arrived"
            );
            self.there = last;
            return Ok(());
        }
        tracing::error!(
            target: "courier", source = self.id, volume = self.target, after = ?self.there, ?has,
            "the volume has not what was sent to it before: those copies are lost; going on behind them"
        );
        self.after = Some(has);
        Ok(())
    }
}
