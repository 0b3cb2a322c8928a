//! Volumes: more of them, fewer of them, and accounts that move from one to another.
//!
//! What takes long is a job: the answer says its number, and `jobs` how far it is.

use std::rc::Rc;

use ringpost_storage::VolumeId;
use serde::{Deserialize, Serialize};

use super::{Response, Trouble, accounts, catalogue, deeds, respond};
use crate::directory::Change;
use crate::office::jobs::Job;
use crate::office::volumes::{self, Kept};
use crate::office::{Office, Reply, Request};
use crate::shard::ShardId;

/// Volumes of a store, retired ones included. More: refused.
const VOLUMES_MAX: u16 = 1_000;

/// A volume, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeView {
    /// Its number.
    pub volume: VolumeId,
    /// The shard that has it.
    pub shard: ShardId,
    /// Accounts that live there.
    pub accounts: u64,
    /// Transfers that it owes to others.
    pub owes: u64,
    /// Transfers that others owe to it.
    pub awaits: u64,
    /// `open`, `closed` (takes no new accounts), `failed` (takes nothing until a start) or `retired`.
    pub state: String,
}

pub(super) async fn move_account(office: &Rc<Office>, address: &str, to: VolumeId) -> Response {
    respond(try_move(office, address, to).await)
}

async fn try_move(office: &Rc<Office>, address: &str, to: VolumeId) -> Result<Response, Trouble> {
    let (name, home) = accounts::existing(office, address)?;
    known(office, to)?;
    if home.volume == to {
        return Err(Trouble::Refused(format!("{name} lives in volume {to} already")));
    }
    if office.has_failed(to) {
        return Err(Trouble::Refused(format!("volume {to} has failed: it takes nothing until a start")));
    }
    let request = Request::Move { volume: home.volume, account: home.account, to };
    begun(office.mesh.call(office.shard_of(home.volume), request, 0).await.ok())
}

pub(super) async fn evacuate(office: &Rc<Office>, volume: VolumeId) -> Response {
    respond(try_evacuate(office, volume).await)
}

async fn try_evacuate(office: &Rc<Office>, volume: VolumeId) -> Result<Response, Trouble> {
    known(office, volume)?;
    let kept = office.volumes_kept();
    if !kept.closed.contains(&volume) {
        let mut closed = kept.closed.clone();
        closed.push(volume);
        keep(office, Kept { closed, ..kept }).await?;
    }
    if office.emptiest_volume(Some(volume)).is_none() {
        return Err(Trouble::Refused("there is no other volume that takes accounts: `ringpost volume add`".to_owned()));
    }
    begun(office.mesh.call(office.shard_of(volume), Request::Evacuate { volume }, 0).await.ok())
}

pub(super) async fn add(office: &Rc<Office>) -> Response {
    respond(try_add(office).await)
}

/// The volume is made and has the whole catalogue before the store counts it: what a crash leaves is made use of by the next.
async fn try_add(office: &Rc<Office>) -> Result<Response, Trouble> {
    let kept = office.volumes_kept();
    let volume = kept.count;
    if volume >= VOLUMES_MAX {
        return Err(Trouble::Refused(format!("a store has at most {VOLUMES_MAX} volumes")));
    }
    let told = match office.mesh.call(office.shard_of(volume), Request::OpenVolume { volume }, 0).await {
        Ok(Reply::Volume(Ok(Some(told)))) => *told,
        Ok(Reply::Volume(Err(why))) => return Err(Trouble::Failed(format!("volume {volume}: {why}"))),
        _ => return Err(Trouble::Failed(format!("volume {volume}: its shard does not answer"))),
    };
    catalogue::copy_to(office, volume).await?;
    office.tell_all(told).await.map_err(deeds::untold)?;
    keep(office, Kept { count: volume + 1, ..kept }).await?;
    Ok(Response::VolumeList { volumes: view(office).await.into_iter().filter(|v| v.volume == volume).collect() })
}

pub(super) async fn retire(office: &Rc<Office>, volume: VolumeId) -> Response {
    respond(try_retire(office, volume).await)
}

async fn try_retire(office: &Rc<Office>, volume: VolumeId) -> Result<Response, Trouble> {
    known(office, volume)?;
    let kept = office.volumes_kept();
    if volumes::live(office).count() == 1 {
        return Err(Trouble::Refused("it is the only volume".to_owned()));
    }
    if !kept.closed.contains(&volume) {
        return Err(Trouble::Refused(format!("it still takes accounts: `ringpost volume evacuate {volume}` first")));
    }
    if let Some(view) = view(office).await.into_iter().find(|v| v.volume == volume && v.awaits > 0) {
        let count = view.awaits;
        return Err(Trouble::Refused(format!("others still owe it {count} transfers: try again in a moment")));
    }
    match office.mesh.call(office.shard_of(volume), Request::CloseVolume { volume }, 0).await {
        Ok(Reply::Volume(Ok(_))) => {}
        Ok(Reply::Volume(Err(why))) => return Err(Trouble::Refused(format!("volume {volume}: {why}"))),
        _ => return Err(Trouble::Failed(format!("volume {volume}: its shard does not answer"))),
    }
    let mut retired = kept.retired.clone();
    retired.push(volume);
    let closed = kept.closed.iter().copied().filter(|v| *v != volume).collect();
    keep(office, Kept { closed, retired, ..kept }).await?;
    Ok(Response::Done)
}

pub(super) async fn list(office: &Rc<Office>) -> Response {
    Response::VolumeList { volumes: view(office).await }
}

pub(super) async fn jobs(office: &Rc<Office>) -> Response {
    let mut jobs: Vec<Job> = Vec::new();
    for (_, reply) in office.ask_all(|| Request::Jobs).await {
        if let Some(Reply::Jobs(some)) = reply {
            jobs.extend(some);
        }
    }
    Response::Jobs { jobs }
}

async fn view(office: &Rc<Office>) -> Vec<VolumeView> {
    let mut owed = Vec::new();
    for (_, reply) in office.ask_all(|| Request::Owed).await {
        if let Some(Reply::Owed(some)) = reply {
            owed.extend(some);
        }
    }
    let Kept { count, closed, retired } = office.volumes_kept();
    let one = |volume: VolumeId| VolumeView {
        volume,
        shard: office.shard_of(volume),
        accounts: office.directory(|d| d.accounts().filter(|(_, home)| home.volume == volume).count()) as u64,
        owes: owed.iter().filter(|(source, ..)| *source == volume).map(|(.., n)| *n as u64).sum(),
        awaits: owed.iter().filter(|(_, target, _)| *target == volume).map(|(.., n)| *n as u64).sum(),
        state: match () {
            () if retired.contains(&volume) => "retired",
            () if office.has_failed(volume) => "failed",
            () if closed.contains(&volume) => "closed",
            () => "open",
        }
        .to_owned(),
    };
    (0..count).map(one).collect()
}

/// Refuses a volume that is not there.
fn known(office: &Office, volume: VolumeId) -> Result<(), Trouble> {
    if volumes::live(office).any(|v| v == volume) {
        return Ok(());
    }
    Err(Trouble::Refused(format!("there is no volume {volume}: `ringpost volume list` shows those there are")))
}

/// On disk first, then told to all.
async fn keep(office: &Rc<Office>, kept: Kept) -> Result<(), Trouble> {
    let done = match office.builder.borrow().as_ref() {
        Some(builder) => (builder.keep)(&kept),
        None => Err("this server keeps no list of its volumes".to_owned()),
    };
    done.map_err(Trouble::Failed)?;
    let Kept { count, closed, retired } = kept;
    office.tell_all(Change::Volumes { count, closed, retired }).await.map_err(deeds::untold)
}

fn begun(reply: Option<Reply>) -> Result<Response, Trouble> {
    match reply {
        Some(Reply::Begun(job)) => Ok(Response::Begun { job }),
        _ => {
            Err(Trouble::Failed("its shard does not answer; `ringpost volume list` shows whether it began".to_owned()))
        }
    }
}
