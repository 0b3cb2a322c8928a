//! What the operator's tools ask of one account: its mailboxes and messages as they are, and as they come from elsewhere.
//!
//! Plain values: they travel over the admin socket as JSON, and between shards as they are. The octets of messages travel
//! beside them, in order.

use ringpost_storage::space::Space;
use ringpost_storage::{Uid, VolumeId};
use serde::{Deserialize, Serialize};

/// Messages of one [`Ask::Append`]. More: refused.
pub const APPEND_MESSAGES_MAX: usize = 1_000;
/// Messages told in one answer. More: the next question says from which UID on.
pub const MESSAGES_TOLD_MAX: usize = 1_000;
/// Octets of a message read at once. More: the answer has fewer than were asked for.
pub const READ_BYTES_MAX: u64 = 1 << 20;

/// A question or a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// What mailboxes there are, and what is subscribed to.
    Mailboxes {},
    /// Makes a mailbox if there is none of the name.
    PutMailbox {
        /// In UTF-8.
        name: String,
        /// The UIDVALIDITY that it is to have, if it has given no UID yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uidvalidity: Option<u32>,
        /// Subscribes a mailbox that is made.
        #[serde(default)]
        subscribe: bool,
    },
    /// Raises a mailbox's UIDNEXT.
    RaiseUidnext {
        /// Its number.
        mailbox: u32,
        /// To at least this.
        uidnext: Uid,
    },
    /// Subscribes to a name.
    Subscribe {
        /// In UTF-8; there need be no mailbox.
        name: String,
    },
    /// Keeps unique ids that POP3 was told by another server, beside those that are kept.
    PutUidls {
        /// UIDs of INBOX, and the ids.
        uidls: Vec<(Uid, Box<str>)>,
    },
    /// A mailbox's messages, by UID.
    Messages {
        /// Its number.
        mailbox: u32,
        /// Those above this UID.
        after: Uid,
    },
    /// Octets of a message.
    Read {
        /// The mailbox's number.
        mailbox: u32,
        /// The message.
        uid: Uid,
        /// From here on.
        offset: u64,
        /// So many, at most.
        len: u64,
        /// As they lie on the disk, though they are damaged.
        #[serde(default)]
        as_is: bool,
    },
    /// Brings expunged messages back, while they are kept.
    Undelete {
        /// Those that were expunged at this time or later, milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_ms: Option<i64>,
        /// Those that were in this mailbox, as it is called now or was then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mailbox: Option<String>,
        /// All into this mailbox, and not where they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Only tells what would be done.
        #[serde(default)]
        dry_run: bool,
    },
    /// Adds messages, all or none. Their octets come beside it, canonical.
    Append {
        /// The mailbox's number.
        mailbox: u32,
        /// In order.
        messages: Vec<Coming>,
    },
}

/// A message that comes from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coming {
    /// How many octets of it come.
    pub octets: u64,
    /// The UID that it is to have, where that was not given yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// System flags, as `ringpost_storage::Flags` has them.
    #[serde(default)]
    pub flags: u32,
    /// Keywords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<Box<str>>,
    /// INTERNALDATE, milliseconds since 1970.
    pub internal_ms: i64,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// To `Mailboxes`.
    Mailboxes {
        /// By number.
        mailboxes: Vec<Mailbox>,
        /// Names subscribed to, sorted.
        subscriptions: Vec<String>,
    },
    /// To `PutMailbox`.
    Mailbox {
        /// As it is now.
        mailbox: Mailbox,
    },
    /// To `Messages`.
    Messages {
        /// By UID.
        messages: Vec<Message>,
        /// There are more above them.
        more: bool,
    },
    /// To `Read`. The octets come beside it.
    Octets {
        /// How many: none at the end of the message.
        octets: u64,
    },
    /// To `Read`: there is no such message any more.
    Gone,
    /// To `Read`: the disk has not what was stored.
    Damaged {
        /// A half sentence.
        why: String,
    },
    /// To `Append`: all of them together, or the only one, are more than one batch takes. None was kept.
    TooLarge,
    /// To `Append`: the UIDs that were given.
    Appended {
        /// In order.
        uids: Vec<Uid>,
    },
    /// To `Undelete`: where messages went, or would go.
    Undeleted {
        /// By name.
        mailboxes: Vec<Undeleted>,
    },
    /// To the others.
    Done,
}

/// Messages that come back into one mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undeleted {
    /// Its name.
    pub mailbox: String,
    /// How many.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// When the first of them was expunged, milliseconds since 1970.
    pub first_ms: i64,
    /// And the last.
    pub last_ms: i64,
}

/// A mailbox as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Its number.
    pub mailbox: u32,
    /// In UTF-8.
    pub name: String,
    /// Its UIDVALIDITY.
    pub uidvalidity: u32,
    /// Its UIDNEXT.
    pub uidnext: Uid,
    /// Messages in it.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
}

/// A message as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// Its octets.
    pub size: u64,
    /// System flags, as `ringpost_storage::Flags` has them.
    pub flags: u32,
    /// Keywords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<Box<str>>,
    /// INTERNALDATE, milliseconds since 1970.
    pub internal_ms: i64,
    /// What POP3 is told, where that is from another server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uidl: Option<Box<str>>,
}

impl Ask {
    /// Octets of messages that come beside it.
    #[must_use]
    pub fn octets(&self) -> u64 {
        match self {
            Ask::Append { messages, .. } => messages.iter().map(|m| m.octets).fold(0, u64::saturating_add),
            _ => 0,
        }
    }
}

/// How much a volume holds, and what it takes for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpace {
    /// Its number.
    pub volume: VolumeId,
    /// Accounts in it.
    pub accounts: u64,
    /// Their messages.
    pub messages: u64,
    /// Octets of those, as their readers see them.
    pub message_bytes: u64,
    /// Segments there are.
    pub segments: u64,
    /// Octets that they take on the disk.
    pub segment_bytes: u64,
    /// Octets of the log in them.
    pub written_bytes: u64,
    /// Octets of bodies that somebody has.
    pub live_bytes: u64,
    /// Full segments in which something lives.
    pub segments_live: u64,
    /// Full segments in which nothing lives.
    pub segments_dead: u64,
    /// Octets that compaction could bring, about.
    pub winnable_bytes: u64,
    /// The last durable batch.
    pub durable_lsn: u64,
    /// The newest checkpoint's batch; 0: there is none.
    pub checkpoint_lsn: u64,
    /// Octets of log that came after it.
    pub checkpoint_behind_bytes: u64,
    /// When it was taken, seconds ago; absent: before the start.
    pub checkpoint_age_s: Option<u64>,
    /// The segment that a scrub reads next, while one is on its way.
    pub scrub_next: Option<u32>,
    /// The last segment that is in use.
    pub last_segment: u32,
    /// Scrubs that were completed since the start.
    pub scrub_passes: u64,
    /// Damaged places that they found.
    pub scrub_errors: u64,
    /// When a scrub was complete last, seconds since 1970; 0: never, or it is not known.
    pub scrub_completed_s: u64,
    /// Accounts with a limit.
    pub limited_accounts: u64,
    /// Their limits of octets, added up.
    pub limit_bytes: u64,
    /// Of them those that have reached theirs.
    pub full_accounts: u64,
}

impl VolumeSpace {
    /// What a volume says of itself.
    #[must_use]
    pub fn of(volume: VolumeId, space: &Space) -> VolumeSpace {
        VolumeSpace {
            volume,
            accounts: space.accounts,
            messages: space.messages,
            message_bytes: space.message_bytes,
            segments: space.segments,
            segment_bytes: space.segment_bytes,
            written_bytes: space.written_bytes,
            live_bytes: space.live_bytes,
            segments_live: space.segments_live,
            segments_dead: space.segments_dead,
            winnable_bytes: space.winnable_bytes,
            durable_lsn: space.durable,
            checkpoint_lsn: space.checkpoint_lsn,
            checkpoint_behind_bytes: space.behind_bytes,
            checkpoint_age_s: space.checkpoint_age_s,
            scrub_next: space.scrub_next,
            last_segment: space.last_segment,
            scrub_passes: space.scrub_passes,
            scrub_errors: space.scrub_errors,
            scrub_completed_s: space.scrub_completed_s,
            limited_accounts: space.limited,
            limit_bytes: space.limit_bytes,
            full_accounts: space.full,
        }
    }
}

/// What a backup wants of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// They are to stay as they are, as far as they count now.
    Mark,
    /// They are copied.
    Release,
}

/// Files of a volume at one durable batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedVolume {
    /// Its number.
    pub volume: VolumeId,
    /// The last batch that counts.
    pub durable: u64,
    /// Octets of each segment's file.
    pub segment_bytes: u64,
    /// Segments by number: file names, and how many octets of each count.
    pub segments: Vec<(String, u64)>,
}
