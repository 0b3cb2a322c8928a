//! A shard's post office: its volumes, the directory, and the words it exchanges with the other shards.
//!
//! Everything a door needs to serve a letter or a reader is here, and nothing of it is shared with another thread.
//! [`words`] lists what offices ask of one another; their answers are given in `serve::mesh`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringpost_storage::{AccountId, Limits, Loaded, ReadError, Volume, VolumeId};

use crate::directory::catalogue::{Access, Entry, Key, Rule, SendLimits, Table};
use crate::directory::{Change, Directory};
use crate::dns::{self, Resolver};
use crate::filter::{self, Filters};
use crate::limits;
use crate::net::census::Cidr;
use crate::net::roll::Roll;
use crate::net::{Acceptors, Admission, Census, Guest};
use crate::proto::sasl;
use crate::shard::{self, Disk, Mesh, MeshError, Peer, ShardId};

pub mod anew;
pub mod attempts;
pub mod level;
pub mod login;
pub mod sessions;
pub mod remembered;
pub mod charge;
pub mod couriers;
pub mod doors;
pub mod durable;
pub mod expected;
pub mod folder;
pub mod held;
pub mod jobs;
pub mod load;
pub mod uploads;
pub mod quota;
pub mod sending;
pub mod turn;
pub mod tools;
pub mod volumes;
pub mod words;

pub use crate::directory::secrets::Argon2Cost;
pub use charge::{BodyCharge, Budget};
pub use couriers::Couriers;
pub use doors::Doors;
pub use expected::{Expected, Expecting};
pub use load::Load;
pub use login::{Keys, Login};
use remembered::Remembered;
pub use uploads::{Incoming, Uploads};
pub use words::{Arrival, Copy, Deliver, Deliverable, Reply, Request, Visitor};

/// Between two tries where there was no place for a request.
const BREATH: Duration = Duration::from_millis(5);

/// What the doors of this process were told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name we greet with and sign Received fields with.
    pub hostname: String,
    /// Connections of one shard, at most.
    pub connections_max: usize,
    /// Connections of one address or /64 on one shard, at most.
    pub connections_per_address_max: usize,
    /// Connections of one /24 or /48 on one shard, at most.
    pub connections_per_network_max: usize,
    /// Octets of memory that the process may hold.
    pub memory_max: u64,
    /// From how late its timers fire on a shard has too much to do, milliseconds. 0: never.
    pub loop_delay_max_ms: u64,
    /// Largest message, octets.
    pub message_bytes_max: u64,
    /// Networks without per-address limits.
    pub exempt_networks: Vec<Cidr>,
    /// Networks that may log in without TLS.
    pub plaintext_auth_networks: Vec<Cidr>,
    /// When that ends, milliseconds since 1970 (A013).
    pub plaintext_auth_until_ms: Option<u64>,
    /// Mechanisms of SASL that doors may offer.
    pub mechanisms: sasl::Allowed,
    /// How long a password that was right is remembered, seconds. 0: not at all.
    pub remember_s: u64,
    /// What a new account may keep.
    pub new_limits: Limits,
    /// How much an account may send of which nothing else is said.
    pub send_limits: SendLimits,
    /// Which senders' addresses must be the account's that hands a letter in.
    pub sender_check: sending::SenderCheck,
    /// Users of this host whose programs may write any sender into a letter, by name.
    pub trusted_users: Vec<String>,
    /// What is done with mail for an account that keeps as much as it may.
    pub over_quota: quota::OverQuota,
    /// Cost of hashing a new password.
    pub argon2: Argon2Cost,
    /// What doors shake hands with. `None`: no TLS is offered, and doors that begin with it are not opened.
    pub tls: Option<Acceptors>,
    /// True: a message with bare CR or LF is refused at its end; false: it is made canonical.
    pub reject_bare_newlines: bool,
    /// Names, beside the host's own, by which HTTP may be asked.
    pub http_hosts: Vec<String>,
    /// Whom DNS is asked of.
    pub dns: dns::Settings,
    /// What is done about those who bring mail.
    pub filter: filter::Settings,
}

impl Settings {
    /// For a node that carries out one request and opens no doors.
    #[must_use]
    pub fn offline() -> Self {
        Settings {
            hostname: String::new(),
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_address_max: limits::CONNECTIONS_PER_ADDRESS_MAX,
            connections_per_network_max: limits::CONNECTIONS_PER_NETWORK_MAX,
            memory_max: u64::MAX,
            loop_delay_max_ms: 0,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            exempt_networks: Vec::new(),
            plaintext_auth_networks: Vec::new(),
            plaintext_auth_until_ms: None,
            mechanisms: sasl::Allowed::ALL,
            remember_s: 0,
            new_limits: Limits::NONE,
            send_limits: SendLimits::default(),
            sender_check: sending::SenderCheck::Header,
            trusted_users: Vec::new(),
            over_quota: quota::OverQuota::Defer,
            argon2: Argon2Cost::DEFAULT,
            tls: None,
            reject_bare_newlines: false,
            http_hosts: Vec::new(),
            dns: dns::Settings::ask(Vec::new()),
            filter: filter::Settings::default(),
        }
    }
}

/// A shard's office. Shared by its tasks as `Rc<Office>`.
pub struct Office {
    /// What the doors were told.
    pub settings: Settings,
    /// The mesh to the other offices.
    pub mesh: Mesh<Request, Reply>,
    /// Connections of this shard, those of HTTP aside.
    pub census: Census,
    /// Whose they are.
    pub roll: Roll,
    /// HTTP connections of this shard: mail that is crowded must not keep out those who look why.
    pub http_census: Census,
    /// Whether there is too much of something.
    pub load: Load,
    /// What DNS knows.
    pub resolver: Resolver,
    /// What is thought of those who bring mail.
    pub filters: Filters,
    /// Passwords that were right a moment ago.
    remembered: Remembered,
    /// Logins that failed a moment ago.
    attempts: attempts::Attempts,
    /// Accounts of which something is made anew.
    anew: anew::Anew,
    /// Who is logged in on this shard.
    pub sessions: sessions::Sessions,
    /// What keys of nobody are made of: the store's own number, which nobody outside is told.
    secret: Cell<[u8; 16]>,
    /// Handshakes under way on this shard.
    handshakes: Census,
    volumes: RefCell<BTreeMap<VolumeId, Volume<Disk>>>,
    directory: RefCell<Directory>,
    volume_count: u16,
    shard_count: u16,
    /// Message octets on their way in.
    pub budget: Budget,
    /// What is announced and on its way in.
    expected: Expected,
    /// Who carries what the volumes here owe to others.
    pub couriers: Couriers,
    /// Work in the background on this shard.
    pub jobs: jobs::Jobs,
    /// Large bodies of other shards on their way into volumes here.
    pub uploads: Uploads,
    /// What the accounts of this shard have sent lately.
    pub sending: sending::Sending,
    /// What users of this host that have no account have handed in lately at a door of this shard, by their number.
    pub sending_of_users: sending::Sending<u32>,
    /// Whose turn it is to change the catalogue.
    pub turn: turn::Turn,
    /// This shard's doors.
    pub doors: Doors,
    /// What only the start knows: how volumes are opened and the store's list of them is kept.
    pub builder: RefCell<Option<volumes::Builder>>,
    doors_may_open: Cell<bool>,
    doors_open: Cell<u16>,
    complained: Cell<Option<shard::Moment>>,
    /// Files that a backup holds.
    held: RefCell<held::Held>,
}

/// An account whose volume is on this shard.
#[derive(Clone)]
pub struct Resident {
    /// Its volume.
    pub volume: Volume<Disk>,
    /// Its id.
    pub account: AccountId,
    /// `user@domain`.
    pub name: Rc<str>,
    /// When the login began.
    pub began: shard::Moment,
}

impl Resident {
    /// Brings the account into memory, where it stays while this is held: for one command, never while its client is
    /// silent. `None`: there is no such account any more.
    ///
    /// # Errors
    /// As [`Volume::load`]; it is in the log.
    pub async fn load(&self) -> Result<Option<Loaded<Disk>>, ReadError> {
        let loaded = self.volume.load(self.account).await;
        if let Err(why) = &loaded {
            tracing::error!(account = %self.name, %why, "account not readable");
        }
        loaded
    }
}

/// The network of which this change may shut out somebody.
fn banned_by(change: &Change) -> Option<Cidr> {
    match change {
        Change::Put(Key::Access(Table::Client, what), Entry { rule: Rule::Access(Access { deny: true, .. }), .. }) => {
            what.parse().ok()
        }
        // Where a wider entry refuses, whoever was let in by this one is not any more.
        Change::Gone(Key::Access(Table::Client, what)) => what.parse().ok(),
        _ => None,
    }
}

fn seed() -> u64 {
    let mut seed = [0; 8];
    shard::random(&mut seed);
    u64::from_le_bytes(seed)
}

impl Office {
    /// An office without volumes. `volume_count`: volumes of the store; `shard_count`: offices there are.
    #[must_use]
    pub fn new(settings: Settings, mesh: Mesh<Request, Reply>, volume_count: u16, shard_count: u16) -> Rc<Office> {
        Rc::new(Office {
            census: Census::new(settings.connections_max, settings.connections_per_address_max)
                .with_networks(settings.connections_per_network_max),
            roll: Roll::default(),
            http_census: Census::new(limits::HTTP_CONNECTIONS_MAX, limits::HTTP_CONNECTIONS_PER_ADDRESS_MAX),
            load: Load::new(settings.memory_max, Duration::from_millis(settings.loop_delay_max_ms)),
            resolver: Resolver::new(settings.dns.clone()),
            filters: Filters::new(settings.filter.clone()),
            remembered: Remembered::for_s(settings.remember_s),
            attempts: attempts::Attempts::with_seed(seed()),
            anew: anew::Anew::default(),
            sessions: sessions::Sessions::default(),
            secret: Cell::default(),
            handshakes: Census::new(settings.connections_max, limits::HANDSHAKES_PER_ADDRESS_MAX),
            settings,
            mesh,
            volumes: RefCell::default(),
            directory: RefCell::default(),
            volume_count,
            shard_count,
            budget: Budget::default(),
            expected: Expected::default(),
            couriers: Couriers::default(),
            jobs: jobs::Jobs::default(),
            uploads: Uploads::default(),
            sending: sending::Sending::default(),
            sending_of_users: sending::Sending::default(),
            turn: turn::Turn::default(),
            doors: Doors::default(),
            builder: RefCell::new(None),
            doors_may_open: Cell::new(false),
            doors_open: Cell::new(0),
            complained: Cell::new(None),
            held: RefCell::default(),
        })
    }

    /// Gives this office a volume.
    pub fn adopt(&self, id: VolumeId, volume: Volume<Disk>) {
        self.volumes.borrow_mut().insert(id, volume);
    }

    /// The store's number is known.
    pub fn keep_secret(&self, store: [u8; 16]) {
        self.secret.set(store);
    }

    fn secret(&self) -> [u8; 16] {
        self.secret.get()
    }

    /// True if SCRAM is offered: every account has keys.
    #[must_use]
    pub fn offers_keys(&self) -> bool {
        self.directory.borrow().all_have_keys(self.volume_count().into())
    }

    /// A volume of this shard.
    #[must_use]
    pub fn volume(&self, id: VolumeId) -> Option<Volume<Disk>> {
        self.volumes.borrow().get(&id).cloned()
    }

    /// The volumes of this shard.
    #[must_use]
    pub fn volumes(&self) -> Vec<(VolumeId, Volume<Disk>)> {
        self.volumes.borrow().iter().map(|(id, v)| (*id, v.clone())).collect()
    }

    /// True for an office without doors, which a tool has opened.
    #[must_use]
    pub fn is_for_tools(&self) -> bool {
        self.settings.hostname.is_empty()
    }

    /// Volumes of the store, retired ones included.
    #[must_use]
    pub fn volume_count(&self) -> u16 {
        self.directory.borrow().volume_count().unwrap_or(self.volume_count)
    }

    /// Offices there are.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// The shard that serves a volume (DESIGN §2: volume v → shard v mod n).
    #[must_use]
    pub fn shard_of(&self, volume: VolumeId) -> ShardId {
        volume % self.shard_count
    }

    /// The volume that decides what this shard takes in and no volume is named for: the first it has, or one assigned to it.
    #[must_use]
    pub fn deciding_volume(&self) -> VolumeId {
        let here = self.volumes.borrow().keys().next().copied();
        here.unwrap_or_else(|| shard::id() % self.volume_count().max(1))
    }

    /// Looks into the directory.
    pub fn directory<T>(&self, look: impl FnOnce(&Directory) -> T) -> T {
        look(&self.directory.borrow())
    }

    /// Applies a change of the directory on this shard.
    pub fn hear(&self, change: Change) {
        let banned = banned_by(&change);
        self.directory.borrow_mut().apply(change);
        let Some(network) = banned else { return };
        // A narrower entry may let some of them in.
        let now_ms = shard::wall_ms();
        let denied = |ip| self.directory(|d| d.rules().client(ip, now_ms).is_some_and(|access| access.deny));
        let connections = self.roll.end(|ip| network.contains(ip) && denied(ip));
        if connections > 0 {
            tracing::info!(target: "audit", shard = shard::id(), %network, connections, "ended: banned");
        }
    }

    /// Asks a shard something that has to be heard, however busy the way there is: tries again for
    /// [`SHARD_ANSWER_S`](limits::SHARD_ANSWER_S) when there is no place for it.
    ///
    /// # Errors
    /// See [`MeshError`].
    pub async fn insist(&self, shard: ShardId, request: impl Fn() -> Request) -> Result<Reply, MeshError> {
        let until = shard::now().after(Duration::from_secs(limits::SHARD_ANSWER_S));
        loop {
            match self.mesh.call(shard, request(), 0).await {
                Err(MeshError::Full) if shard::now() < until => shard::sleep(BREATH).await,
                done => return done,
            }
        }
    }

    /// Tells every shard, this one included, of a change, and returns when all have applied it.
    ///
    /// # Errors
    /// When a shard could not be told.
    pub async fn tell_all(&self, change: Change) -> Result<(), MeshError> {
        let mut told = Ok(());
        for shard in 0..self.shard_count {
            // One that cannot be told must not keep it from the others.
            if let Err(why) = self.insist(shard, || Request::Hear(change.clone())).await {
                told = Err(why);
            }
        }
        told
    }

    /// Asks every shard the same, this one included, all at once. `None`: it did not answer within
    /// [`SHARD_ANSWER_S`](limits::SHARD_ANSWER_S), or could not be asked.
    pub async fn ask_all(&self, request: impl Fn() -> Request) -> Vec<(ShardId, Option<Reply>)> {
        let time = Duration::from_secs(limits::SHARD_ANSWER_S);
        let mut asked: Vec<_> = (0..self.shard_count)
            .map(|shard| Some(Box::pin(shard::within(time, self.insist(shard, &request)))))
            .collect();
        let mut heard: Vec<_> = (0..self.shard_count).map(|shard| (shard, None)).collect();
        poll_fn(|cx| {
            for (asked, (_, heard)) in asked.iter_mut().zip(&mut heard) {
                if let Some(Poll::Ready(answer)) = asked.as_mut().map(|asked| asked.as_mut().poll(cx)) {
                    *heard = answer.and_then(Result::ok);
                    *asked = None;
                }
            }
            if asked.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        heard
    }

    /// A charge for a message that this peer sends.
    #[must_use]
    pub fn charge(&self, peer: Peer) -> BodyCharge {
        self.budget.open(self.payer(peer))
    }

    /// Whose part of a bound for octets this peer takes; `None`: only the sums bound him.
    fn payer(&self, peer: Peer) -> charge::Payer {
        self.census.key(peer, &self.settings.exempt_networks)
    }

    /// A place among the handshakes under way, before anything is computed for one; `None`: this address has too many
    /// (A093).
    #[must_use]
    pub fn handshake_place(&self, peer: Peer) -> Option<Guest> {
        match self.handshakes.admit(peer, &self.settings.exempt_networks) {
            Admission::Welcome(guest) => Some(guest),
            Admission::TooMany | Admission::TooManyFromAddress => None,
        }
    }

    /// Shard 0 says that the store is ready.
    pub fn let_doors_open(&self) {
        self.doors_may_open.set(true);
    }

    /// Resolves with true when shard 0 has said so.
    pub async fn doors_may_open(&self) -> bool {
        while !self.doors_may_open.get() {
            shard::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// A shard says to shard 0 that its doors are open.
    pub fn doors_opened(&self) {
        self.doors_open.set(self.doors_open.get() + 1);
    }

    /// Resolves on shard 0 when all shards have said so.
    pub async fn all_doors_open(&self) {
        while self.doors_open.get() < self.shard_count {
            shard::sleep(Duration::from_millis(1)).await;
        }
    }

    /// True at most once a second: for events that outsiders can cause as often as they like.
    #[must_use]
    pub fn may_complain(&self) -> bool {
        let now = shard::now();
        let may = self.complained.get().is_none_or(|last| now.since(last) >= Duration::from_secs(1));
        if may {
            self.complained.set(Some(now));
        }
        may
    }

    /// The account, if its volume is on this shard.
    #[must_use]
    pub fn resident(&self, arrival: &Arrival) -> Option<Resident> {
        let volume = self.volume(arrival.volume)?;
        Some(Resident { volume, account: arrival.account, name: arrival.name.as_str().into(), began: arrival.began })
    }

    /// True if the volume failed: known at once of the volumes here, within seconds of the others.
    #[must_use]
    pub fn has_failed(&self, volume: VolumeId) -> bool {
        match self.volumes.borrow().get(&volume) {
            Some(here) => here.stats().failed,
            None => self.directory.borrow().has_failed(volume) || self.directory.borrow().is_retired(volume),
        }
    }

    /// True if no volume of the store takes anything any more.
    #[must_use]
    pub fn all_failed(&self) -> bool {
        volumes::live(self).all(|volume| self.has_failed(volume))
    }

    /// Why nobody more should come in now. `brings_mail`: he would want the disk.
    #[must_use]
    pub fn strain(&self, brings_mail: bool) -> Option<load::Strain> {
        let letters = brings_mail.then(|| self.budget.octets());
        self.load.strain(shard::now(), letters, shard::descriptors_are_scarce(), shard::resident_bytes)
    }

    /// Somebody was turned away, and that began then.
    pub fn turned_away(&self, began: shard::Moment) {
        self.load.turned_away(began, shard::now());
    }

    /// A door rests, for as long as the value lives.
    #[must_use]
    pub fn rests(&self) -> load::Resting<'_> {
        self.load.rests()
    }

    /// Doors that rest.
    #[must_use]
    pub fn resting(&self) -> u64 {
        self.load.resting()
    }

    /// True if turning somebody away now would take time that others want.
    #[must_use]
    pub fn is_tired(&self) -> bool {
        self.load.is_tired(shard::now())
    }

    /// True if there is memory for another letter.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        !self.load.refuses_letters(shard::now(), shard::resident_bytes)
    }

    /// True if this peer may log in without TLS.
    #[must_use]
    pub fn plaintext_auth_allowed(&self, peer: Peer) -> bool {
        crate::net::census::listed(&self.settings.plaintext_auth_networks, peer)
            && self.settings.plaintext_auth_until_ms.is_none_or(|end| shard::wall_ms() < end)
    }
}
