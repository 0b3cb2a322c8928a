//! One shard's life: open the volumes, meet the others, open the doors, stop in order.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures_lite::future::or;
use ringpost_storage::{Commit, Create, Limits, OpenError, Settings as VolumeSettings, Volume, VolumeId};
use uuid::Uuid;

use crate::admin;
use crate::boot::{compaction, greylist, home, retention, scrub, welcome};
use crate::bugs::{self, Bug};
use crate::config::{DoorPlan, Founders, Upkeep};
use crate::courier;
use crate::directory::{Change, Home, catalogue, secrets};
use crate::net::{Acceptors, tickets};
use crate::observe::{self, Measure};
use crate::office::load::UnderWay;
use crate::office::quota;
use crate::office::volumes::{self, Builder, Kept};
use crate::office::{Office, Reply, Request, Settings};
use crate::serve;
use crate::shard::{self, Disk, Listener, Mesh, Place, StartError, Writing, plan};

/// What every shard of a process is told.
#[derive(Clone)]
pub struct Node {
    /// The data directory.
    pub data: PathBuf,
    /// The store's identity.
    pub store: Uuid,
    /// Its volumes.
    pub volumes: u16,
    /// Of these the ones that take no new accounts, and those that are no more.
    pub closed: Vec<VolumeId>,
    /// Numbers of volumes that are no more.
    pub retired: Vec<VolumeId>,
    /// Keeps the list of volumes on disk. `None`: it is not kept.
    pub keep: Option<Keep>,
    /// Octets of a segment.
    pub segment_bytes: u64,
    /// Octets that accounts in memory may take, in all volumes together.
    pub index_memory: u64,
    /// Whether its volumes are compacted.
    pub compaction: bool,
    /// How else they are looked after.
    pub upkeep: Upkeep,
    /// How its files are written.
    pub writing: Writing,
    /// True on the store's first start: missing volumes are made.
    pub found: bool,
    /// What the doors are told.
    pub settings: Settings,
    /// Whom a new store begins with.
    pub founders: Founders,
    /// Doors, the same on every shard.
    pub doors: Vec<DoorPlan>,
    /// The certificate of the doors, for people to look at.
    pub tls_cert: PathBuf,
    /// Shards that open them.
    pub accept_on: Vec<usize>,
    /// True: shard 0 keeps the admin socket.
    pub admin_socket: bool,
    /// A single request to carry out instead of serving.
    pub errand: Option<Errand>,
}

/// What a node without doors is for.
#[derive(Clone)]
pub enum Errand {
    /// One admin request, and the place for its answer.
    Request {
        /// Taken by shard 0.
        request: Arc<Mutex<Option<admin::Request>>>,
        /// Filled by shard 0.
        said: Arc<Mutex<Option<admin::Response>>>,
    },
    /// As many as come through the admin socket.
    Desk {
        /// Told when the socket is there.
        ready: mpsc::Sender<()>,
        /// No more will come.
        over: Arc<AtomicBool>,
    },
}

/// Keeps the list of a store's volumes on disk.
pub type Keep = Arc<dyn Fn(&Kept) -> Result<(), StartError> + Send + Sync>;

/// How a volume of this house is run.
const VOLUME: VolumeSettings = VolumeSettings::DEFAULT;
/// How long the folding of accounts leaves the shard to others, after every few.
const BREATH: Duration = Duration::from_millis(1);

/// Runs one shard until the process is asked to stop. `settled` is called by shard 0 when a first start is complete: its doors are open and
/// its passwords shown.
///
/// # Errors
/// Why it cannot start.
pub async fn node(
    node: Node,
    mesh: Mesh<Request, Reply>,
    settled: impl Fn() -> Result<(), StartError>,
) -> Result<(), StartError> {
    let office = Office::new(node.settings.clone(), mesh, node.volumes, shard::count());
    office.keep_secret(node.store.into_bytes());
    let (count, closed, retired) = (node.volumes, node.closed.clone(), node.retired.clone());
    office.hear(Change::Volumes { count, closed, retired });
    let mut told = Vec::new();
    for id in volumes::live(&office).filter(|v| office.shard_of(*v) == shard::id()) {
        told.push(begin(&node, &office, id).await?);
    }
    *office.builder.borrow_mut() = Some(builder(&node, &office));
    shard::spawn("pulse", pulse(office.clone()));
    let answering = office.clone();
    office.mesh.serve(move |_from, request| serve::mesh::answer(answering.clone(), request));
    let served = if meet(&node, &office, told).await? {
        for (id, volume) in office.volumes() {
            shard::spawn("scrub", scrub::keep(id, volume.clone(), node.upkeep));
            shard::spawn("retention", retention::keep(id, volume.clone(), node.upkeep));
            shard::spawn("tidy", courier::tidy(office.clone(), id, volume.clone()));
            if node.compaction {
                shard::spawn("compaction", compaction::keep(id, volume.clone()));
            }
            shard::spawn("courier", courier::keep(office.clone(), id, volume));
        }
        if greylist::is_kept(&office) {
            greylist::read(&office).await;
            shard::spawn("greylist", greylist::keep(office.clone()));
        }
        let served = attend(&node, &office, settled).await;
        greylist::write(&office).await;
        served
    } else {
        Ok(())
    };
    for (_, volume) in office.volumes() {
        volume.close().await;
    }
    served
}

/// Opens a volume and lets it work; what it holds.
async fn begin(node: &Node, office: &Rc<Office>, id: VolumeId) -> Result<Change, StartError> {
    let volume = open(node, id).await?;
    let told = holds(node, id, &volume).await?;
    let committer = volume.clone();
    shard::spawn("commit", async move { committer.commit_loop(shard::run_dry).await });
    let housekeeper = volume.clone();
    shard::spawn("housekeeping", async move { housekeeper.housekeeping(|| shard::sleep(BREATH)).await });
    let under_way = office.load.watch();
    time_commits(&volume, under_way.clone());
    shard::spawn("heartbeat", heartbeat(office.clone(), id, volume.clone(), under_way));
    office.adopt(id, volume);
    Ok(told)
}

/// How the office opens one more volume, and keeps the list of them.
fn builder(node: &Node, office: &Rc<Office>) -> Builder {
    let (making, weak) = (Node { found: true, ..node.clone() }, Rc::downgrade(office));
    let open = move |id| {
        let (node, office) = (making.clone(), weak.upgrade());
        Box::pin(async move {
            let office = office.ok_or("the server is stopping")?;
            if let Some(volume) = office.volume(id) {
                return holds(&node, id, &volume).await.map_err(|why| why.to_string());
            }
            let told = begin(&node, &office, id).await.map_err(|why| why.to_string())?;
            let volume = office.volume(id).expect("it was just opened");
            if node.compaction {
                shard::spawn("compaction", compaction::keep(id, volume.clone()));
            }
            shard::spawn("scrub", scrub::keep(id, volume.clone(), node.upkeep));
            shard::spawn("retention", retention::keep(id, volume.clone(), node.upkeep));
            shard::spawn("courier", courier::keep(office.clone(), id, volume));
            Ok(told)
        }) as _
    };
    let kept = node.keep.clone();
    let keep = move |list: &Kept| match &kept {
        Some(keep) => keep(list).map_err(|why| why.to_string()),
        None => Ok(()),
    };
    Builder { open: Box::new(open), keep: Box::new(keep), opening: Cell::new(false) }
}

/// Forgets ticket keys whose time is over, though nobody comes.
async fn change_tickets(acceptors: Acceptors) {
    loop {
        shard::sleep(Duration::from_secs(u64::from(tickets::KEY_S) / 4)).await;
        acceptors.keep_fresh(shard::now());
    }
}

/// SIGHUP is `ringpost tls reload`.
async fn reload_when_asked(office: Rc<Office>) {
    loop {
        shard::reload_requested().await;
        // The log says how it went.
        admin::execute(&office, admin::Request::TlsReload {}).await;
    }
}

/// Measures how late a timer of one second fires.
async fn pulse(office: Rc<Office>) {
    const BEAT: Duration = Duration::from_secs(1);
    loop {
        let began = shard::now();
        shard::sleep(BEAT).await;
        let late = shard::now().since(began).saturating_sub(BEAT);
        observe::took(Measure::TimerDelay, late);
        office.load.beat(late);
    }
}

/// Measures the batches of a volume. The storage has no clock; one batch is on its way at a time.
fn time_commits(volume: &Volume<Disk>, under_way: UnderWay) {
    volume.watch_commits(move |commit| match commit {
        Commit::Begun => under_way.set(Some(shard::now())),
        Commit::Durable { transactions, bytes } => {
            let began = under_way.take().unwrap_or_else(shard::now);
            observe::took(Measure::Commit, shard::now().since(began));
            observe::record(Measure::CommitTransactions, u64::from(transactions));
            observe::record(Measure::CommitBytes, bytes);
        }
    });
}

/// Lets an idle log say how far it is durable, so that rot in its last batch is told from a torn tail; tells the
/// others when the volume has failed, and the log when its disk is full and when there is room again.
async fn heartbeat(office: Rc<Office>, id: VolumeId, volume: Volume<Disk>, under_way: UnderWay) {
    let mut told = false;
    let (mut was_full, mut lent) = (false, 0);
    loop {
        shard::sleep(Duration::from_secs(1)).await;
        volume.heartbeat();
        let stats = volume.stats();
        if stats.failed {
            // It waits for nothing any more; who brings mail for it is told at RCPT, and others are welcome.
            under_way.set(None);
        }
        match (was_full, stats.full) {
            (false, true) => {
                tracing::warn!(
                    volume = id,
                    "the disk is full: no mail is taken; what is there can be read and removed"
                );
            }
            (true, false) => tracing::info!(volume = id, "there is room on the disk again: mail is taken"),
            _ => {}
        }
        if stats.reserves_lent > lent {
            tracing::warn!(volume = id, "the reserve is in use: only what makes room is written until there is some");
        }
        (was_full, lent) = (stats.full, stats.reserves_lent);
        if !told && stats.failed {
            tracing::error!(volume = id, "the volume failed: it takes nothing more until Ringpost is started again");
            told = office.tell_all(Change::VolumeFailed { volume: id }).await.is_ok();
        }
    }
}

/// Tells every shard what is in the volumes here, and waits until this one knows all of them. False: the process was
/// asked to stop meanwhile; a shard that was quicker may be gone before it has answered the others.
async fn meet(node: &Node, office: &Office, told: Vec<Change>) -> Result<bool, StartError> {
    // Before any shard has heard of this volume, so before any door opens.
    for (id, volume) in office.volumes() {
        for (target, _) in volume.transfer_targets() {
            if bugs::on(Bug::ForgetExpected) {
                continue;
            }
            quota::expect(office, (id, &volume), target, None).await;
        }
    }
    for change in told {
        match office.tell_all(change).await {
            Ok(()) => {}
            Err(_) if is_stopping().await => return Ok(false),
            Err(why) => return Err(StartError::Setting(format!("a shard did not start: {why:?}"))),
        }
    }
    while !office.directory(|d| d.complete(usize::from(node.volumes))) {
        if is_stopping().await {
            return Ok(false);
        }
        shard::sleep(Duration::from_millis(1)).await;
    }
    Ok(true)
}

async fn is_stopping() -> bool {
    futures_lite::future::poll_once(shard::stop_requested()).await.is_some()
}

/// What happens between the volumes' opening and their closing.
async fn attend(
    node: &Node,
    office: &Rc<Office>,
    settled: impl Fn() -> Result<(), StartError>,
) -> Result<(), StartError> {
    let founded = if shard::id() == 0 {
        if let Some(errand) = &node.errand {
            // Else the next start would show no passwords of founders whom a start before made and did not live to show.
            if !welcome::is_half_done(office, &node.founders) {
                settled()?;
            }
            run_errand(node, office, errand).await?;
            shard::request_stop();
            return Ok(());
        }
        let admin_socket = match node.admin_socket.then(|| admin_socket(node)) {
            // That keeps nobody from the mail.
            Some(Err(StartError::Io { doing, why })) if why.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!("{doing}: {why}; it is tried again until there is room");
                shard::spawn("admin", open_desk_late(office.clone(), node.data.join(admin::SOCKET)));
                None
            }
            made => made.transpose()?,
        };
        if let Some(acceptors) = node.settings.tls.clone() {
            shard::spawn("tickets", change_tickets(acceptors));
            shard::spawn("reload", reload_when_asked(office.clone()));
        }
        for shard in 0..office.shard_count() {
            // Where that cannot be done the next start does it; what is in force is known already.
            let _ = office.mesh.call(shard, Request::Level, 0).await;
        }
        let founded = welcome::found(office, &node.founders).await.map_err(StartError::Setting)?;
        if let Some(listener) = admin_socket {
            shard::spawn("admin", serve::admin::keep_door(office.clone(), listener));
        }
        for other in 1..office.shard_count() {
            match office.mesh.call(other, Request::OpenDoors, 0).await {
                Ok(_) => {}
                Err(_) if is_stopping().await => return Ok(()),
                Err(why) => return Err(StartError::Setting(format!("shard {other} did not start: {why:?}"))),
            }
        }
        founded
    } else if or(office.doors_may_open(), stopped()).await {
        Vec::new()
    } else {
        return Ok(());
    };
    open_doors(node, office)?;
    if office.mesh.call(0, Request::DoorsOpened, 0).await.is_err() && !is_stopping().await {
        return Err(StartError::Setting("shard 0 did not start".to_owned()));
    }
    tracing::info!(shard = shard::id(), volumes = office.volumes().len(), "open");
    if shard::id() == 0 && or(all_open(office), stopped()).await {
        if node.admin_socket {
            welcome::announce(node, &founded);
        }
        // Not before the passwords were shown: a start that ends earlier founds again, with new ones.
        settled()?;
    }
    shard::stop_requested().await;
    tracing::info!(shard = shard::id(), "stopping");
    Ok(())
}

/// True when every shard has opened its doors.
async fn all_open(office: &Office) -> bool {
    office.all_doors_open().await;
    true
}

/// False when the process was asked to stop.
async fn stopped() -> bool {
    shard::stop_requested().await;
    false
}

fn open_doors(node: &Node, office: &Rc<Office>) -> Result<(), StartError> {
    let here = usize::from(shard::id());
    if !node.accept_on.contains(&here) {
        office.doors.want(0);
        return Ok(());
    }
    // A Unix socket cannot be shared as a port can.
    let is_ours = |door: &&DoorPlan| door.at.net().is_some() || node.accept_on.first() == Some(&here);
    let doors: Vec<&DoorPlan> = node.doors.iter().filter(is_ours).collect();
    office.doors.want(doors.len());
    for door in doors {
        let listener = shard::listen_at(&door.at).map_err(|why| plan::not_opened(&door.at, why))?;
        shard::spawn("door", serve::keep_door(office.clone(), door.service, door.rules.clone(), listener));
    }
    Ok(())
}

async fn run_errand(node: &Node, office: &Rc<Office>, errand: &Errand) -> Result<(), StartError> {
    match errand {
        Errand::Request { request, said } => {
            let request = request.lock().expect("no holder of this lock can panic").take();
            if let Some(request) = request {
                let answer = admin::execute(office, request).await;
                *said.lock().expect("no holder of this lock can panic") = Some(answer);
            }
        }
        Errand::Desk { ready, over } => {
            shard::spawn("admin", serve::admin::keep_door(office.clone(), admin_socket(node)?));
            // Nobody waits for it any more: then there is nothing to do.
            let mut works = ready.send(()).is_ok();
            while works {
                // The one who asks is a thread of its own: no shard hears it end.
                shard::sleep(Duration::from_millis(5)).await;
                works = !over.load(Ordering::SeqCst) && !is_stopping().await;
            }
        }
    }
    Ok(())
}

/// Keeps the admin socket once the full disk has room for its name.
async fn open_desk_late(office: Rc<Office>, path: PathBuf) {
    loop {
        shard::sleep(Duration::from_secs(1)).await;
        if let Ok(listener) = shard::listen_local(&path, Place::MODE) {
            tracing::info!("listening on {}", path.display());
            return serve::admin::keep_door(office, listener).await;
        }
    }
}

fn admin_socket(node: &Node) -> Result<Listener, StartError> {
    let path = node.data.join(admin::SOCKET);
    shard::listen_local(&path, Place::MODE).map_err(|why| match why.kind() {
        io::ErrorKind::AddrInUse => {
            StartError::Setting(format!("{} is in the way of the admin socket: remove it", path.display()))
        }
        _ => StartError::Io { doing: format!("listening on {}", path.display()), why },
    })
}

async fn open(node: &Node, id: u16) -> Result<Volume<Disk>, StartError> {
    let dir = home::volume_dir(&node.data, id);
    let disk = shard::disk_written(&dir, node.writing)
        .map_err(|why| StartError::Io { doing: format!("opening {}", dir.display()), why })?;
    let began = shard::now();
    // What accounts may take is for all volumes together.
    let index_bytes_max = usize::try_from(node.index_memory).unwrap_or(usize::MAX) / usize::from(node.volumes.max(1));
    let run = VolumeSettings { index_bytes_max, retain: node.upkeep.retention_s > 0, ..VOLUME };
    let opened = match Volume::open(disk.clone(), Some((node.store, id)), run.clone()).await {
        Err(OpenError::Absent) if node.found => {
            let mut seed = [0; 8];
            shard::random(&mut seed);
            let facts = Create {
                store: node.store,
                volume: id,
                volumes: node.volumes,
                segment_bytes: node.segment_bytes,
                seed: u64::from_le_bytes(seed),
            };
            Volume::create(&disk, &facts)
                .await
                .map_err(|why| StartError::Io { doing: format!("making a volume in {}", dir.display()), why })?;
            Volume::open(disk, Some((node.store, id)), run.clone()).await
        }
        other => other,
    };
    let (volume, found) = opened.map_err(|error| StartError::Data {
        why: match error {
            OpenError::Absent => "the volume is missing: put its folder back, or restore it from a backup".to_owned(),
            other => other.to_string(),
        },
        dir: dir.clone(),
    })?;
    let took_ms = u64::try_from(shard::now().since(began).as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        volume = id,
        batches = found.batches,
        bytes = found.bytes,
        durable = found.durable,
        torn_bytes = found.torn_bytes,
        took_ms,
        "volume recovered"
    );
    if volume.stats().failed {
        tracing::error!(
            volume = id,
            "open for readers only: behind the damage there is no room to go on; make some and start again"
        );
    }
    for (segment, offset, octets) in &found.damaged {
        tracing::error!(volume = id, segment, offset, octets, "acknowledged data is damaged on disk and was set aside");
    }
    if found.lost_batches > 0 {
        tracing::error!(
            volume = id,
            lost_batches = found.lost_batches,
            "accounts may be lost: addresses nobody has are told to come back later until the damaged octets are put back"
        );
    }
    Ok(volume)
}

/// What a volume knows, as the directory hears it.
async fn holds(node: &Node, id: u16, volume: &Volume<Disk>) -> Result<Change, StartError> {
    let accounts = volume.accounts().await.map_err(|why| StartError::Data {
        dir: home::volume_dir(&node.data, id),
        why: format!("its accounts cannot be read: {why}"),
    })?;
    let is_limited = |account| volume.quota(account).is_some_and(|quota| quota.limits != Limits::NONE);
    let (mut known, mut is_read) = (Vec::new(), true);
    for (key, octets) in volume.domains() {
        match catalogue::read(&key, &octets) {
            Ok(entry) => known.push(entry),
            Err(why) => {
                is_read = false;
                tracing::error!(volume = id, entry = %key.escape_debug(), %why, "addresses nobody has are told to come back later until it is set anew");
            }
        }
    }
    Ok(Change::Volume {
        volume: id,
        whole: volume.is_whole() && is_read,
        catalogue: known,
        limited: volume.account_ids().into_iter().filter(|id| is_limited(*id)).collect(),
        keyless: accounts.iter().filter(|a| !secrets::has_keys(&a.secrets)).map(|a| a.id).collect(),
        accounts: accounts
            .into_iter()
            // Others are on their way here and live elsewhere.
            .filter(|a| a.generation > 0)
            .map(|a| (a.name, Home { volume: id, account: a.id, generation: a.generation }))
            .collect(),
    })
}
