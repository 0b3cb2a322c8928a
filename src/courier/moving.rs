//! Moves an account to another volume while it is in use (DESIGN §2, §3).
//!
//! ```text
//!   copied while it is in use ─► frozen ─► what changed since ─► ACTIVATE (generation + 1) ─► told to all ─► removed here
//!        (arrives as generation 0)                                   ▲ from here on it lives there
//! ```
//!
//! - UIDs, UIDVALIDITY, MODSEQ, flags, subscriptions and secrets stay. A frozen account is read as before; a change to it is
//!   told to come back (451, NO `[UNAVAILABLE]`), for as long as the last of it takes.
//! - A move that is cut off before ACTIVATE has not happened; one cut off behind it has: the higher generation wins, and the
//!   next start removes what is left of the other (see [`tidy`](super::tidy)).
//! - Conversations of the account end when it is removed here; who logs in again is handed to its new shard.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::{
    ADOPT_FLAGS_MAX, AccountId, AccountInfo, AdoptOp, Body, Loaded, MailboxId, MailboxInfo, Message, Modseq, Op,
    ReadError, Refused, Transaction, Uid, Volume, VolumeId,
};

use super::collect::{Uncollected, collect};
use crate::bugs::{self, Bug};
use crate::directory::{Change, Home};
use crate::limits;
use crate::mailbox::anew::Anew;
use crate::office::durable::{Undone, make_durable};
use crate::office::jobs::Progress;
use crate::office::words::{AdoptStep, Adoption};
use crate::office::{Deliverable, Office, Reply, Request};
use crate::shard::{self, Disk};

/// Tries of one piece while the target is busy, [`WAIT`] apart. Then the move is given up.
const TRIES: u32 = 600;
/// Between two tries.
const WAIT: Duration = Duration::from_millis(100);

/// What of a mailbox is at the target already.
struct Copied {
    info: MailboxInfo,
    uidnext: Uid,
    messages: BTreeMap<Uid, Modseq>,
}

/// One account on its way.
struct Move<'a> {
    office: &'a Rc<Office>,
    volume: Volume<Disk>,
    account: AccountId,
    to: VolumeId,
    progress: &'a Progress,
    there: BTreeMap<MailboxId, Copied>,
    subscribed: BTreeSet<String>,
    /// The next piece.
    steps: Vec<AdoptStep>,
    bodies: Vec<Body>,
    octets: u64,
}

/// Moves an account of volume `from`, which is on this shard.
///
/// # Errors
/// A sentence; then the account is where it was, or, when the target could not say whether it has it, the sentence says so.
pub async fn relocate(
    office: &Rc<Office>,
    from: VolumeId,
    account: AccountId,
    to: VolumeId,
    progress: &Progress,
) -> Result<(), String> {
    let volume = office.volume(from).ok_or("its volume is not open")?;
    // Its name is told there at the beginning and at the end, and must be the same.
    let _on_the_move = office.couriers.take(account).ok_or("it is being moved or renamed already")?;
    let mut moving = Move {
        office,
        volume: volume.clone(),
        account,
        to,
        progress,
        there: BTreeMap::new(),
        subscribed: BTreeSet::new(),
        steps: Vec::new(),
        bodies: Vec::new(),
        octets: 0,
    };
    if volume.is_frozen(account) {
        return Err("it is being moved already".to_owned());
    }
    let info = moving.info().await?;
    moving.arrive(&info).await?;
    let moved = moving.copy_and_activate().await;
    let Some(home) = moved? else { return Ok(()) };
    // It lives there now: whoever asks is to hear it before the old one goes.
    let change = Change::AccountMoved { name: info.name.clone(), home };
    for _ in 0..TRIES {
        if office.tell_all(change.clone()).await.is_ok() {
            break;
        }
        shard::sleep(WAIT).await;
    }
    remove(&volume, account).await;
    tracing::info!(target: "admin", account = info.name, from, to, generation = home.generation, "moved");
    Ok(())
}

/// Begins to move an account of this shard; returns the job's number.
pub fn begin(office: &Rc<Office>, from: VolumeId, account: AccountId, to: VolumeId) -> u64 {
    let progress = office.jobs.begin(format!("move account {:#x} from volume {from} to {to}", account.0));
    let (id, office) = (progress.id(), office.clone());
    shard::spawn("move", async move {
        let how = relocate(&office, from, account, to, &progress).await;
        if let Err(why) = &how {
            tracing::warn!(target: "admin", account = account.0, from, to, why, "not moved");
        }
        progress.end(how);
    });
    id
}

/// Begins to move all accounts of a volume of this shard to others; returns the job's number.
pub fn begin_to_evacuate(office: &Rc<Office>, from: VolumeId) -> u64 {
    let progress = office.jobs.begin(format!("evacuate volume {from}"));
    let (id, office) = (progress.id(), office.clone());
    shard::spawn("evacuate", async move {
        let how = evacuate(&office, from, &progress).await;
        if let Err(why) = &how {
            tracing::warn!(target: "admin", volume = from, why, "not evacuated");
        }
        progress.end(how);
    });
    id
}

/// One account after the other, each to the volume with the fewest.
async fn evacuate(office: &Rc<Office>, from: VolumeId, progress: &Progress) -> Result<(), String> {
    let accounts: Vec<(String, Home)> = office.directory(|d| {
        d.accounts().filter(|(_, home)| home.volume == from).map(|(name, home)| (name.to_owned(), home)).collect()
    });
    progress.total(accounts.len() as u64);
    let mut failed: Vec<String> = Vec::new();
    for (name, home) in accounts {
        let to = office.emptiest_volume(Some(from)).ok_or("there is no other volume that takes accounts")?;
        let each = office.jobs.begin(format!("move {name} from volume {from} to {to}"));
        let how = relocate(office, from, home.account, to, &each).await;
        if let Err(why) = &how {
            failed.push(format!("{name}: {why}"));
        }
        each.end(how);
        progress.did(1);
    }
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} accounts are still there; the first: {first}", failed.len())),
    }
}

/// Removes the account that lives elsewhere by now. What does not go now goes with the next start.
async fn remove(volume: &Volume<Disk>, account: AccountId) {
    for _ in 0..TRIES {
        let Ok(Some(held)) = volume.load(account).await else { return };
        // Nothing runs between the thawing and the decision.
        volume.thaw(account);
        let removing = Transaction { bodies: Vec::new(), ops: vec![Op::RemoveAccount { account }] };
        match make_durable(volume, removing).await {
            Err(Undone::Refused(Refused::Busy)) => volume.freeze(account),
            Ok(_) => return,
            Err(why) => {
                volume.freeze(account);
                tracing::error!(target: "admin", %why, "an account that moved is not removed: the next start does it");
                return;
            }
        }
        drop(held);
        shard::sleep(WAIT).await;
    }
}

impl Move<'_> {
    async fn info(&self) -> Result<AccountInfo, String> {
        match self.volume.account(self.account).await {
            Ok(Some(info)) => Ok(info),
            Ok(None) => Err("the account is gone".to_owned()),
            Err(why) => Err(format!("the account cannot be read: {why}")),
        }
    }

    async fn load(&self) -> Result<Loaded<Disk>, String> {
        match self.volume.load(self.account).await {
            Ok(Some(loaded)) => Ok(loaded),
            Ok(None) => Err("the account is gone".to_owned()),
            Err(why) => Err(format!("the account cannot be read: {why}")),
        }
    }

    /// The account, nobody's home, without anything in it.
    async fn arrive(&mut self, info: &AccountInfo) -> Result<(), String> {
        self.steps.push(AdoptStep::GiveUp);
        self.flush().await?;
        let op = self.put(info, 0)?;
        self.steps.push(AdoptStep::Adopt(op));
        self.flush().await
    }

    fn put(&self, info: &AccountInfo, generation: u32) -> Result<AdoptOp, String> {
        let gone = "the account is gone";
        let (limit_bytes, limit_messages) = self.volume.limits_of(self.account).ok_or(gone)?;
        Ok(AdoptOp::Account {
            account: self.account,
            name: info.name.clone(),
            secrets: info.secrets.to_vec(),
            generation,
            limit_bytes,
            limit_messages,
            modseq: self.volume.modseq_of(self.account).ok_or(gone)?,
        })
    }

    /// Its new home; `None`: the target cannot say whether it has it, and it stays frozen until a start finds out.
    async fn copy_and_activate(&mut self) -> Result<Option<Home>, String> {
        let copied = self.copy().await;
        if let Err(why) = copied {
            self.give_up().await;
            return Err(why);
        }
        let late = bugs::on(Bug::FreezeLate);
        if !late {
            self.volume.freeze(self.account);
        }
        let last = self.last_of_it().await;
        if late {
            self.volume.freeze(self.account);
        }
        let info = match last {
            Ok(info) => info,
            Err(why) => {
                self.give_up().await;
                self.volume.thaw(self.account);
                return Err(why);
            }
        };
        let generation = info.generation + 1;
        let op = match self.put(&info, generation) {
            Ok(op) => op,
            Err(why) => {
                self.volume.thaw(self.account);
                return Err(why);
            }
        };
        self.steps.push(AdoptStep::Adopt(op));
        match self.send().await {
            Ok(()) => Ok(Some(Home { volume: self.to, account: self.account, generation })),
            Err(Deliverable::Refused(why)) => {
                self.give_up().await;
                self.volume.thaw(self.account);
                Err(format!("volume {}: {why}; the account stays where it is", self.to))
            }
            Err(_) if bugs::on(Bug::ThawUnknown) => {
                self.volume.thaw(self.account);
                Err(format!("volume {} does not answer; the account stays where it is", self.to))
            }
            Err(_) => Err(format!(
                "volume {} does not say whether it has the account: it takes no changes until the server was started again",
                self.to
            )),
        }
    }

    async fn give_up(&mut self) {
        self.steps = vec![AdoptStep::GiveUp];
        self.bodies.clear();
        if let Err(why) = self.flush().await {
            tracing::warn!(target: "admin", why, "what was copied of an account is not removed: the next start does it");
        }
    }

    /// Everything there is, while it is in use.
    async fn copy(&mut self) -> Result<(), String> {
        let loaded = self.load().await?;
        let mailboxes = loaded.mailboxes();
        let count = |m: &MailboxInfo| loaded.mailbox(m.id, |m| m.messages().len() as u64).unwrap_or(0);
        self.progress.total(mailboxes.iter().map(count).sum());
        self.subscribed = loaded.subscriptions().into_iter().collect();
        for info in mailboxes {
            self.mailbox(&loaded, info).await?;
        }
        self.flush().await
    }

    /// What changed since, of a frozen account; what is to be said of it.
    async fn last_of_it(&mut self) -> Result<AccountInfo, String> {
        // A batch behind all that was decided before the freezing.
        make_durable(&self.volume, Transaction::default()).await.map_err(|why| format!("its volume: {why}"))?;
        let loaded = self.load().await?;
        let mailboxes = loaded.mailboxes();
        let ids: BTreeSet<MailboxId> = mailboxes.iter().map(|m| m.id).collect();
        let gone: Vec<MailboxId> = self.there.keys().filter(|id| !ids.contains(id)).copied().collect();
        for mailbox in gone {
            let name = self.there.remove(&mailbox).map(|copied| copied.info.name).unwrap_or_default();
            self.steps.push(AdoptStep::RemoveMailbox { mailbox, name });
        }
        // Two may have changed names with one another: the old ones are given up first.
        let renamed: Vec<MailboxInfo> = mailboxes
            .iter()
            .filter(|info| self.there.get(&info.id).is_some_and(|copied| copied.info.name != info.name))
            .cloned()
            .collect();
        for info in renamed {
            let between = MailboxInfo { name: format!("\u{1}moving {}", info.id.0), subscribed: false, ..info };
            let op = self.mailbox_op(&between, 1, 0);
            self.steps.push(AdoptStep::Adopt(op));
            self.steps.push(AdoptStep::Subscribe { name: between.name, on: false });
        }
        for info in mailboxes {
            self.mailbox(&loaded, info).await?;
        }
        let now: BTreeSet<String> = loaded.subscriptions().into_iter().collect();
        for name in self.subscribed.difference(&now) {
            self.steps.push(AdoptStep::Subscribe { name: name.clone(), on: false });
        }
        for name in now {
            self.steps.push(AdoptStep::Subscribe { name, on: true });
        }
        self.flush().await?;
        self.info().await
    }

    fn mailbox_op(&self, info: &MailboxInfo, uidnext: Uid, modseq: Modseq) -> AdoptOp {
        AdoptOp::Mailbox {
            account: self.account,
            mailbox: info.id,
            name: info.name.clone(),
            uidvalidity: info.uidvalidity,
            uidnext,
            special_use: info.special_use,
            subscribed: info.subscribed,
            modseq,
        }
    }

    /// What of a mailbox is not there yet, or not so.
    async fn mailbox(&mut self, loaded: &Loaded<Disk>, info: MailboxInfo) -> Result<(), String> {
        let id = info.id;
        let look = loaded.mailbox(id, |m| (m.uidnext(), m.highest_modseq(), m.messages().to_vec()));
        let Some((uidnext, modseq, messages)) = look else { return Ok(()) };
        let known = self.there.remove(&id);
        let had = known.as_ref().map_or(0, |copied| copied.messages.len());
        if known.as_ref().is_none_or(|copied| copied.info != info || copied.uidnext != uidnext) {
            let op = self.mailbox_op(&info, uidnext, modseq);
            self.steps.push(AdoptStep::Adopt(op));
        }
        let known = known.map(|copied| copied.messages).unwrap_or_default();
        let now: BTreeMap<Uid, Modseq> = messages.iter().map(|m| (m.uid, m.modseq)).collect();
        let gone: Vec<Uid> = known.keys().filter(|uid| !now.contains_key(uid)).copied().collect();
        for uids in gone.chunks(ADOPT_FLAGS_MAX) {
            self.steps.push(AdoptStep::Expunge { mailbox: id, uids: uids.to_vec() });
        }
        let mut changed: BTreeMap<Modseq, Vec<&Message>> = BTreeMap::new();
        let mut kept = BTreeMap::new();
        for message in &messages {
            match known.get(&message.uid) {
                Some(modseq) if *modseq == message.modseq => {}
                Some(_) => changed.entry(message.modseq).or_default().push(message),
                None if self.message(id, message).await? => {}
                None => continue,
            }
            kept.insert(message.uid, message.modseq);
        }
        for (modseq, messages) in changed {
            for some in messages.chunks(ADOPT_FLAGS_MAX) {
                let item = |m: &&Message| (m.uid, m.bits(), m.keywords().to_vec());
                let items = some.iter().map(item).collect();
                let op = AdoptOp::Flags { account: self.account, mailbox: id, modseq, items };
                self.push(AdoptStep::Adopt(op), None).await?;
            }
        }
        self.progress.did(kept.len().saturating_sub(had) as u64);
        self.there.insert(id, Copied { info, uidnext, messages: kept });
        Ok(())
    }

    /// A message that is not there yet. False: it was expunged meanwhile, and its octets are gone.
    async fn message(&mut self, mailbox: MailboxId, message: &Message) -> Result<bool, String> {
        let is_large = message.size() > limits::BODY_BYTES_IN_MEMORY_MAX;
        if is_large {
            // It is a piece of its own, so that what of it goes ahead is soon somebody's.
            self.flush().await?;
        }
        let mut ahead = None;
        let octets = Anew::message(self.account, mailbox, message.clone());
        let which = || format!("message {} of mailbox {}", message.uid, mailbox.0);
        let body = match collect(self.office, &self.volume, octets, self.to, &mut ahead).await {
            Ok(body) => body,
            Err(Uncollected::Unread(ReadError::Gone)) => return Ok(false),
            Err(Uncollected::Unread(why)) => return Err(format!("{}: {why}", which())),
            Err(Uncollected::Unput(why)) => {
                return Err(format!("{} does not get to volume {}: {why}", which(), self.to));
            }
        };
        let op = AdoptOp::Message {
            account: self.account,
            mailbox,
            uid: message.uid,
            modseq: message.modseq,
            // Counted when it is pushed.
            body: 0,
            bits: message.bits(),
            keywords: message.keywords().to_vec(),
            internal_ms: message.internal_ms,
            saved_ms: message.saved_ms(),
        };
        self.push(AdoptStep::Adopt(op), Some(body)).await?;
        if is_large {
            self.flush().await?;
        }
        drop(ahead);
        Ok(true)
    }

    /// Adds a step to the next piece, and sends what would be too much with it.
    async fn push(&mut self, step: AdoptStep, body: Option<Body>) -> Result<(), String> {
        let octets = body.as_ref().map_or(0, Body::in_memory);
        if self.steps.len() >= limits::LOAD_TRANSFERS_MAX || self.octets + octets > limits::LOAD_BYTES_MAX {
            self.flush().await?;
        }
        self.octets += octets;
        let at = self.bodies.len();
        self.bodies.extend(body);
        self.steps.push(match step {
            AdoptStep::Adopt(AdoptOp::Message {
                account,
                mailbox,
                uid,
                modseq,
                bits,
                keywords,
                internal_ms,
                saved_ms,
                ..
            }) => AdoptStep::Adopt(AdoptOp::Message {
                account,
                mailbox,
                uid,
                modseq,
                body: at,
                bits,
                keywords,
                internal_ms,
                saved_ms,
            }),
            other => other,
        });
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), String> {
        self.send().await.map_err(|why| match why {
            Deliverable::Refused(why) => format!("volume {}: {why}", self.to),
            Deliverable::NoVolume => format!("volume {} is not open", self.to),
            _ => format!("volume {} does not answer", self.to),
        })
    }

    /// Sends the piece. What is busy, or has no room on the way, is asked again; nothing else can be, because a piece that is
    /// there must not come twice.
    async fn send(&mut self) -> Result<(), Deliverable> {
        let steps = std::mem::take(&mut self.steps);
        if steps.is_empty() {
            return Ok(());
        }
        let mut bodies = std::mem::take(&mut self.bodies);
        self.octets = 0;
        for _ in 0..TRIES {
            let octets = bodies.iter().map(Body::in_memory).sum();
            let copies = bodies.clone();
            let piece = Adoption { volume: self.to, account: self.account, bodies, steps: steps.clone() };
            let asked = self.office.mesh.call(self.office.shard_of(self.to), Request::Adopt(Box::new(piece)), octets);
            match asked.await {
                Ok(Reply::Adopted { result: Ok(()), buffers }) => {
                    // They were allocated here.
                    drop(buffers);
                    return Ok(());
                }
                Ok(Reply::Adopted { result: Err(Deliverable::Refused(Refused::Busy)), .. })
                | Err(shard::MeshError::Full) => bodies = copies,
                Ok(Reply::Adopted { result: Err(why), .. }) => return Err(why),
                Ok(other) => unreachable!("a piece of an account is answered with its fate, not {other:?}"),
                Err(shard::MeshError::Down) => return Err(Deliverable::Unknown),
            }
            shard::sleep(WAIT).await;
        }
        Err(Deliverable::Refused(Refused::Busy))
    }
}
