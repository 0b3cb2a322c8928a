//! What offices ask of one another over the mesh, and what they answer. Plain values that may cross threads.

use std::collections::BTreeMap;

use ringpost_storage::{
    AccountId, AdoptOp, Body, Limits, MailboxId, Quota, Refused, TransferCopy, TransferNumber, Uid, VolumeId,
    VolumeStats,
};

use super::attempts;
use super::sending::Allowance;
use super::uploads::{Part, PutAway};
use crate::directory::Change;
use crate::directory::catalogue::SendLimits;
use crate::directory::secrets::Protocols;
use crate::filter::{dnsbl, greylist};
use crate::net::Unwired;
use crate::observe::Figures;
use crate::office::jobs::Job;
use crate::office::sessions::SessionView;
use crate::office::tools;
use crate::shard::Moment;

/// One recipient's copy of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Whose.
    pub account: AccountId,
    /// Into which mailbox.
    pub mailbox: MailboxId,
    /// Header lines of this copy alone, canonical CRLF.
    pub prefix: Vec<u8>,
}

/// A letter ready to be stored: one volume decides, with its own copies and what it owes to others.
#[derive(Debug)]
pub struct Deliver {
    /// It.
    pub volume: VolumeId,
    /// The body, trace fields first, canonical CRLF.
    pub body: Body,
    /// Its own.
    pub copies: Vec<Copy>,
    /// Copies for other volumes, each volume once.
    pub owed: Vec<(VolumeId, Vec<TransferCopy>)>,
    /// When it was received, milliseconds since 1970.
    pub received_ms: i64,
}

/// Fate of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deliverable {
    /// Durable: its own copies in their mailboxes, the others as transfers.
    Stored,
    /// Not kept; why.
    Refused(Refused),
    /// Submitted to the disk and not vouched for.
    Unknown,
    /// The volume is not open on the shard that should have it.
    NoVolume,
}

/// Transfers of one volume to another, in order, as they are carried.
#[derive(Debug)]
pub struct Load {
    /// From.
    pub source: VolumeId,
    /// To.
    pub target: VolumeId,
    /// The transfer before the first.
    pub after: TransferNumber,
    /// What bounced up to this one the source knows.
    pub settled: TransferNumber,
    /// At least one.
    pub transfers: Vec<Carriage>,
}

/// One of them.
#[derive(Debug)]
pub struct Carriage {
    /// Which.
    pub number: TransferNumber,
    /// What its copies are of.
    pub body: Body,
    /// At least one.
    pub copies: Vec<TransferCopy>,
    /// INTERNALDATE, milliseconds since 1970.
    pub internal_ms: i64,
}

/// What became of one transfer at its target, where it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landing {
    /// For each copy its UIDVALIDITY and UID; empty when it was there already.
    pub uids: Vec<Option<(u32, Uid)>>,
    /// Copies that could not be made, by position.
    pub bounced: Vec<u16>,
}

/// A piece of an account that moves to another volume: one batch there.
#[derive(Debug)]
pub struct Adoption {
    /// Where it moves to.
    pub volume: VolumeId,
    /// Which account.
    pub account: AccountId,
    /// Whole messages that steps refer to by index.
    pub bodies: Vec<Body>,
    /// In order.
    pub steps: Vec<AdoptStep>,
}

/// One change of an account that is arriving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdoptStep {
    /// With the numbers of where it comes from.
    Adopt(AdoptOp),
    /// Messages are gone.
    Expunge {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: Vec<Uid>,
    },
    /// A mailbox is gone.
    RemoveMailbox {
        /// Which.
        mailbox: MailboxId,
        /// As it is called there.
        name: String,
    },
    /// A name is subscribed, or not any more.
    Subscribe {
        /// It.
        name: String,
        /// Whether it is.
        on: bool,
    },
    /// Whatever has arrived of it is to go.
    GiveUp,
}

/// An account's arrival on the shard that owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its volume.
    pub volume: VolumeId,
    /// Its id.
    pub account: AccountId,
    /// `user@domain`.
    pub name: String,
    /// When its login began.
    pub began: Moment,
}

/// A logged-in connection handed to the owner's shard, with its ask still out.
pub struct Visitor {
    /// The connection, with its TLS.
    pub stream: Unwired,
    /// When it was decided that it belongs on another shard.
    pub decided: Moment,
    /// Received, not yet used.
    pub held: Vec<u8>,
    /// Who logged in.
    pub arrival: Arrival,
    /// The conversation.
    pub talk: Talk,
}

/// The conversation of a visitor.
pub enum Talk {
    /// POP3
    Pop3(Box<crate::proto::pop3::Session>),
    /// IMAP
    Imap(Box<crate::proto::imap::Session>),
}

/// A change an operator or an upper room asks of a volume on another shard: accounts and entries of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// As [`ringpost_storage::Op::PutDomain`]: an entry of the catalogue, as the store has it.
    PutEntry {
        /// Its key's text.
        key: String,
        /// Its octets.
        octets: Vec<u8>,
    },
    /// As [`ringpost_storage::Op::RemoveDomain`]: an entry of the catalogue.
    RemoveEntry {
        /// Its key's text.
        key: String,
    },
    /// As [`ringpost_storage::Op::PutAccount`].
    PutAccount {
        /// `user@domain`.
        name: String,
        /// Encoded `directory::secrets::Secrets`.
        secrets: Vec<u8>,
        /// What it may keep if it is made.
        limits: Limits,
    },
    /// Other secrets for an account that is there, if they are still what they were: else it is refused as busy.
    ReplaceSecrets {
        /// Its id.
        account: AccountId,
        /// `user@domain`.
        name: String,
        /// Encoded, as they were read.
        was: Vec<u8>,
        /// Encoded, as they are to be.
        secrets: Vec<u8>,
    },
    /// Another name for an account that is there, and nothing else of it is other. Refused as busy while it is moved, or when it has
    /// another name than `from` by now; as taken when the name is somebody's in its volume.
    RenameAccount {
        /// Its id.
        account: AccountId,
        /// `user@domain`, lower case, as it is called.
        from: String,
        /// `user@domain`, lower case, as it is to be called.
        to: String,
    },
    /// As [`ringpost_storage::Op::SetLimits`].
    SetLimits(AccountId, Limits),
    /// As [`ringpost_storage::Op::RemoveAccount`].
    RemoveAccount(AccountId),
}

/// What a shard has done and has.
#[derive(Clone, Debug)]
pub struct ShardStats {
    /// Its counters and measures.
    pub figures: Figures,
    /// Its volumes.
    pub volumes: Vec<(VolumeId, VolumeStats)>,
    /// Message octets between receive and commit.
    pub bodies_in_flight_bytes: u64,
    /// What greylisting remembers: letters that wait, networks that passed.
    pub greylist: (u64, u64),
    /// What came of asking lists of addresses, by their names.
    pub lists: BTreeMap<String, dnsbl::Told>,
}

/// How it is with a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Doors that are not open and should be.
    pub doors_shut: usize,
    /// True when the kernel had no descriptor for a newcomer a moment ago.
    pub accept_paused: bool,
    /// True when every place for mail connections is taken.
    pub places_taken: bool,
    /// Volumes that take nothing any more.
    pub volumes_failed: Vec<VolumeId>,
    /// Those that take no mail for want of room.
    pub volumes_full: Vec<VolumeId>,
}

/// A request to another office.
pub enum Request {
    /// Store a letter and say when it is durable.
    Deliver(Box<Deliver>),
    /// Take what another volume owes.
    Receive(Box<Load>),
    /// Take a piece of an account that moves here.
    Adopt(Box<Adoption>),
    /// Begin to move an account of a volume there to another one.
    Move {
        /// Its volume.
        volume: VolumeId,
        /// Its id.
        account: AccountId,
        /// Where to.
        to: VolumeId,
    },
    /// Begin to move all accounts of a volume there to others.
    Evacuate {
        /// Which.
        volume: VolumeId,
    },
    /// Open a volume, making it if need be.
    OpenVolume {
        /// Which.
        volume: VolumeId,
    },
    /// Close a volume for good; it must be empty.
    CloseVolume {
        /// Which.
        volume: VolumeId,
    },
    /// What the volumes there owe.
    Owed,
    /// How it is with work in the background.
    Jobs,
    /// Put octets of a large body into a volume.
    Put(Box<Part>),
    /// This upload is over: its body is committed, or never will be.
    PutOver(u64),
    /// The encoded secrets of an account.
    Secrets {
        /// Its volume.
        volume: VolumeId,
        /// Its id.
        account: AccountId,
    },
    /// Who is logged in there.
    Sessions {
        /// As this account alone.
        account: Option<String>,
    },
    /// End the sessions of an account.
    EndSessions {
        /// Whose.
        account: String,
        /// By these protocols.
        protocols: Protocols,
    },
    /// What an account keeps and may keep.
    Quota {
        /// Its volume.
        volume: VolumeId,
        /// Its id.
        account: AccountId,
    },
    /// Which mailbox of an account a subaddress names.
    Folder {
        /// Its volume.
        volume: VolumeId,
        /// Its id.
        account: AccountId,
        /// As the sender wrote it.
        name: String,
    },
    /// May this account hand in so many messages, to so many recipients? None of both: asked only.
    Send {
        /// Its id.
        account: AccountId,
        /// What it may.
        limits: SendLimits,
        /// Messages, recipients.
        wanted: (u32, u32),
    },
    /// To shard 0: this account is to send nothing more.
    Suspend {
        /// `user@domain`.
        name: String,
    },
    /// Keep room in these accounts for messages of so many octets, in all of them or in none.
    Reserve {
        /// Their volume.
        volume: VolumeId,
        /// At least one.
        wanted: Vec<(AccountId, u64)>,
    },
    /// Keep room for these transfers, whether there is room or not.
    Expect {
        /// Who receives them.
        volume: VolumeId,
        /// Who sends them.
        source: VolumeId,
        /// For each copy: of which transfer, whose, octets.
        coming: Vec<(TransferNumber, AccountId, u64)>,
    },
    /// The messages will not come.
    Release {
        /// Their volume.
        volume: VolumeId,
        /// As it was kept.
        wanted: Vec<(AccountId, u64)>,
    },
    /// An attempt to log in, of an address or for a name whose home is there.
    Attempt(attempts::home::Asked),
    /// May a letter of this network, whose home is there, pass greylisting?
    Greylist(greylist::Asked),
    /// Put into your volumes what others have of the catalogue and they have not.
    Level,
    /// Apply a change of the directory.
    Hear(Change),
    /// Make changes durable in a volume, in one batch.
    Do {
        /// Where.
        volume: VolumeId,
        /// What.
        deeds: Vec<Deed>,
    },
    /// Answer an operator's question about an account, or change it.
    Tool {
        /// Its volume.
        volume: VolumeId,
        /// Its id.
        account: AccountId,
        /// What is asked.
        ask: tools::Ask,
        /// The messages that come with it.
        bodies: Vec<Body>,
    },
    /// Go on with this connection.
    Visit(Box<Visitor>),
    /// What this shard has done.
    Stats,
    /// How much the volumes of this shard hold.
    Space {
        /// And scrub them.
        scrub: bool,
    },
    /// Hold the files of your volumes for a backup, or let go of them.
    Hold {
        /// Whose backup it is.
        token: u64,
        /// Which of it.
        how: tools::Hold,
    },
    /// How it is with this shard.
    Health,
    /// The store is ready: open your doors.
    OpenDoors,
    /// My doors are open.
    DoorsOpened,
}

/// The answer to a [`Request`].
#[derive(Debug)]
pub enum Reply {
    /// To `Deliver`.
    Delivered {
        /// What became of it.
        fate: Deliverable,
        /// The buffers of its body, to be freed on the core that allocated them.
        buffers: Vec<Vec<u8>>,
    },
    /// To `Receive`: what became of each; or why nothing is known to be durable.
    Received {
        /// In the order of the load.
        landings: Result<Vec<Landing>, Deliverable>,
        /// The buffers of their bodies, to be freed on the core that allocated them.
        buffers: Vec<Vec<u8>>,
    },
    /// To `Adopt`.
    Adopted {
        /// What became of it.
        result: Result<(), Deliverable>,
        /// The buffers of its bodies, to be freed on the core that allocated them.
        buffers: Vec<Vec<u8>>,
    },
    /// To `Move` and `Evacuate`: the job's number.
    Begun(u64),
    /// To `OpenVolume`: what it holds. To `CloseVolume`: nothing. Or a sentence.
    Volume(Result<Option<Box<Change>>, String>),
    /// To `Owed`: source, target, transfers.
    Owed(Vec<(VolumeId, VolumeId, usize)>),
    /// To `Jobs`.
    Jobs(Vec<Job>),
    /// To `Put`.
    Put(PutAway),
    /// To `Secrets`: `None` when the account is gone or its volume is not here.
    Secrets(Option<Vec<u8>>),
    /// To `Sessions`.
    Sessions(Vec<SessionView>),
    /// To `EndSessions`: how many there were.
    SessionsEnded(usize),
    /// To `Quota`: `None` when the account is gone or its volume is not here.
    Quota(Option<Quota>),
    /// To `Folder`: INBOX where it has none of that name.
    Folder(MailboxId),
    /// To `Send`.
    Sending(Allowance),
    /// To `Reserve`.
    Reserved(Result<(), Refused>),
    /// To `Attempt`.
    Attempt(attempts::Begun),
    /// To `Greylist`.
    Greylisted(greylist::Said),
    /// To `Secrets`: the account cannot be read.
    Unreadable,
    /// To `Level`, `Hear`, `PutOver`, `Expect`, `Release`, `Suspend`, `Visit`, `OpenDoors` and `DoorsOpened`.
    Done,
    /// To `Do`: for each deed the account it made or changed, if any; or what happened instead.
    Did(Result<Vec<Option<AccountId>>, Deliverable>),
    /// To `Tool`: what is told, and octets of a message beside it; or a sentence.
    Told(Result<Box<(tools::Told, Vec<u8>)>, String>),
    /// To `Hold`; `None`: another backup holds them.
    Held(Option<Vec<tools::MarkedVolume>>),
    /// To `Space`.
    Space(Vec<tools::VolumeSpace>),
    /// To `Stats`.
    Stats(Box<ShardStats>),
    /// To `Health`.
    Health(Health),
}
