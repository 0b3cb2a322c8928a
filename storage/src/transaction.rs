//! What a caller asks the volume to make durable, all or nothing, and what the volume decided.

use crate::adopt::AdoptOp;
use crate::body::Body;
use crate::transfer::{TransferNumber, TransferOp, TransferOutcome};
use crate::types::{AccountId, Flags, Limits, MailboxId, Modseq, Uid};

/// One atomic change. It lies in one batch, whole.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Bodies that `Op::Append` refers to by index. Each is written once, however many copies name it.
    pub bodies: Vec<Body>,
    /// The changes, decided in order.
    pub ops: Vec<Op>,
}

/// A mailbox of a new account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMailbox {
    /// UTF-8 name, `/` as separator.
    pub name: String,
    /// Special use code, 0 for none.
    pub special_use: u16,
}

/// Where messages are copied or moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A mailbox of the same account.
    Mailbox(MailboxId),
    /// The mailbox that the `CreateMailbox` with this index makes: an earlier op of the same transaction, for the same account.
    Made(usize),
}

/// What becomes of a mailbox's UIDVALIDITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uidvalidity {
    /// It stays.
    Keep,
    /// It is this one: that of the mailbox whose messages come here with their UIDs. Only where no UID was given yet, else
    /// `UidsGiven`. Too high to leave room for others: `TooLarge`.
    Adopt(u32),
    /// It is a new one, above all that were given: UIDs that are known elsewhere mean nothing any more.
    Fresh,
}

/// How a STORE changes flags (RFC 9051 §6.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagsHow {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// One change.
#[derive(Clone, Debug)]
pub enum Op {
    /// Makes or changes a domain. `info` is opaque.
    PutDomain {
        /// Lower case A-label name.
        name: String,
        /// Opaque.
        info: Vec<u8>,
    },
    /// Removes a domain; the caller has seen to its accounts.
    RemoveDomain {
        /// Its name.
        name: String,
    },
    /// Makes an account (with its INBOX) or replaces the secrets of the one with this name.
    PutAccount {
        /// `user@domain`, lower case.
        name: String,
        /// Opaque.
        secrets: Vec<u8>,
        /// Mailboxes that it has from the start if it is made, beside INBOX, subscribed.
        mailboxes: Vec<NewMailbox>,
        /// What it may keep if it is made. One that is there keeps its limits.
        limits: Limits,
    },
    /// Sets what an account may keep. What is there stays, also where that is more. `Busy` while a `PutAccount` for it is not
    /// durable.
    SetLimits {
        /// Whose.
        account: AccountId,
        /// What.
        limits: Limits,
    },
    /// Removes an account with everything it has.
    RemoveAccount {
        /// Which.
        account: AccountId,
    },
    /// Makes a mailbox. Fails with `MailboxExists`, or `TooMany` past [`crate::MAILBOXES_MAX`].
    CreateMailbox {
        /// Whose.
        account: AccountId,
        /// UTF-8 name, `/` as separator.
        name: String,
        /// Special use code, 0 for none.
        special_use: u16,
        /// Subscribes the name too. `false` leaves a subscription that is there already.
        subscribed: bool,
    },
    /// Gives a mailbox another name; `special_use` and all the rest stay, and so do subscriptions, which are of names. Fails
    /// with `MailboxExists` where the name is taken (also by this very mailbox), with `NoMailbox` where the mailbox has
    /// another name than `from` by now. INBOX cannot be renamed: `NoMailbox`.
    /// Several in one transaction are decided in order, each on what those before it left; they cost least by rising id.
    RenameMailbox {
        /// Whose.
        account: AccountId,
        /// Which.
        mailbox: MailboxId,
        /// The name it is to have until then, as decided.
        from: String,
        /// UTF-8 name, `/` as separator.
        name: String,
    },
    /// Subscribes to a name, or ends that. There need be no mailbox with the name (RFC 9051 §6.3.7). Past
    /// [`crate::SUBSCRIPTIONS_MAX`]: `TooMany`.
    Subscribe {
        /// Whose.
        account: AccountId,
        /// UTF-8 name, `/` as separator; INBOX in any case.
        name: String,
        /// Subscribed from now on, or not.
        on: bool,
    },
    /// Removes a mailbox with its messages. Its name stays subscribed (RFC 9051 §6.3.7). `NoMailbox` where it has another
    /// name by now, and for INBOX, which stays.
    RemoveMailbox {
        /// Whose.
        account: AccountId,
        /// Which.
        mailbox: MailboxId,
        /// The name it is to have until then, as decided: whoever removes a name must not remove what has another one.
        name: String,
    },
    /// Adds a message. `OverQuota` past the account's limits; what is on its way from other volumes counts.
    Append {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// Index into `bodies`.
        body: usize,
        /// Header lines of this copy alone (such as Delivered-To), shown before the body. Canonical CRLF, at most 4 KiB.
        prefix: Vec<u8>,
        /// Flags.
        flags: Flags,
        /// INTERNALDATE, milliseconds since 1970.
        internal_ms: i64,
    },
    /// As `Append`, of a message that was accepted before: within any limits.
    Accepted {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// Index into `bodies`.
        body: usize,
        /// Header lines of this copy alone (such as Delivered-To), shown before the body. Canonical CRLF, at most 4 KiB.
        prefix: Vec<u8>,
        /// Flags.
        flags: Flags,
        /// INTERNALDATE, milliseconds since 1970.
        internal_ms: i64,
    },
    /// Gives a mailbox other numbers: for messages that keep theirs (import), and for a mailbox that comes back from a backup.
    Renumber {
        /// Whose.
        account: AccountId,
        /// Which.
        mailbox: MailboxId,
        /// What becomes of its UIDVALIDITY.
        uidvalidity: Uidvalidity,
        /// UIDNEXT rises to this; a lower one changes nothing. The next `Append` gets this UID.
        uidnext: Uid,
    },
    /// Changes flags.
    StoreFlags {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// Which; those that do not exist are passed over.
        uids: Vec<Uid>,
        /// How.
        how: FlagsHow,
        /// What.
        flags: Flags,
        /// Messages changed after this MODSEQ are left alone and reported (RFC 7162 §3.1.3).
        unchanged_since: Option<Modseq>,
    },
    /// Copies messages with flags, keywords and INTERNALDATE (RFC 9051 §6.4.7); no octet of them is written again. Those that
    /// do not exist are passed over. Keywords are spelt as the target's durable messages have them. The mailbox itself is a
    /// legal target.
    Copy {
        /// Whose.
        account: AccountId,
        /// From where.
        from: MailboxId,
        /// Which; at most [`crate::COPY_UIDS_MAX`] in a transaction, with those that are moved. More: `TooLarge`.
        uids: Vec<Uid>,
        /// To where.
        to: Target,
    },
    /// As `Copy`, within any limits, and the originals are expunged in the same batch, under the same MODSEQ (RFC 9051 §6.4.8). On a full disk
    /// this still goes on, as `Expunge` does.
    Move {
        /// Whose.
        account: AccountId,
        /// From where.
        from: MailboxId,
        /// Which; counted with those that are copied.
        uids: Vec<Uid>,
        /// To where. The mailbox itself is legal: they get new UIDs.
        to: Target,
    },
    /// Removes messages; those that do not exist are passed over. They are kept for a while where that is set
    /// ([`crate::retain`]).
    Expunge {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: Vec<Uid>,
    },
    /// As `Expunge`, for good: what is kept elsewhere.
    Discard {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: Vec<Uid>,
    },
    /// Keeps what listing a mailbox needs, computed by the caller, packed into one run.
    Summaries {
        /// Whose.
        account: AccountId,
        /// Where.
        mailbox: MailboxId,
        /// One opaque summary a message, UIDs rising.
        items: Vec<(Uid, Vec<u8>)>,
    },
    /// Sends to another volume, or receives from one.
    Transfer(TransferOp),
    /// Takes an account over from another volume, piece by piece.
    Adopt(AdoptOp),
}

/// What was decided for one op, in the order of the ops. True once the ticket says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more to say.
    Done,
    /// `PutAccount`
    Account(AccountId),
    /// `CreateMailbox`; `Renumber`
    Mailbox(MailboxId, /** UIDVALIDITY */ u32),
    /// `Append`
    Appended {
        /// The new UID.
        uid: Uid,
        /// The mailbox's UIDVALIDITY.
        uidvalidity: u32,
        /// Its MODSEQ.
        modseq: Modseq,
    },
    /// `StoreFlags`
    Stored {
        /// Each message that was changed, in UID order.
        changed: Vec<Changed>,
        /// Those left alone for `unchanged_since`.
        modified: Vec<Uid>,
    },
    /// `Copy`
    Copied {
        /// The target's UIDVALIDITY.
        uidvalidity: u32,
        /// UID here and UID there, both rising (RFC 4315 §3).
        pairs: Vec<(Uid, Uid)>,
        /// Of all copies; the account's last one where there are none.
        modseq: Modseq,
    },
    /// `Move`
    Moved {
        /// The target's UIDVALIDITY.
        uidvalidity: u32,
        /// UID here and UID there, both rising.
        pairs: Vec<(Uid, Uid)>,
        /// Of the going and of the coming; the account's last one where there are none.
        modseq: Modseq,
    },
    /// `Expunge`, `Discard`: those that were there, in UID order, and the MODSEQ of their going.
    Expunged(Vec<Uid>, Modseq),
    /// `Transfer`
    Transfer(TransferOutcome),
}

/// A message whose flags a `StoreFlags` changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub uid: Uid,
    /// All that it has now.
    pub flags: Flags,
    /// Its MODSEQ now.
    pub modseq: Modseq,
    /// Its MODSEQ before: who knew the message as of then knows it still.
    pub before: Modseq,
}

/// Why a transaction was not taken. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such account in this volume.
    #[error("no such account")]
    NoAccount,
    /// No such mailbox in this account.
    #[error("no such mailbox")]
    NoMailbox,
    /// The name is taken.
    #[error("mailbox exists")]
    MailboxExists,
    /// The disk is too full to take it safely; reads and expunge go on.
    #[error("the disk is full")]
    DiskFull,
    /// The volume failed (an error of write or sync) and takes nothing until a restart.
    #[error("the volume has failed")]
    Failed,
    /// Larger than a segment can hold, or one of its parts than its bound.
    #[error("too large for one batch")]
    TooLarge,
    /// The mailbox has given its last UID: it takes no more messages, and another mailbox does.
    #[error("the mailbox has no UIDs left")]
    UidsUsedUp,
    /// The account has as many mailboxes or subscriptions as it may have.
    #[error("too many mailboxes or subscriptions")]
    TooMany,
    /// The account is not in memory: load it first.
    #[error("the account is not in memory")]
    NotLoaded,
    /// The mailbox has given UIDs already: it cannot have another mailbox's.
    #[error("the mailbox has given UIDs already")]
    UidsGiven,
    /// The account would keep more than it may.
    #[error("over quota")]
    OverQuota,
    /// More is waiting than the volume may hold.
    #[error("too busy")]
    Busy,
    /// A transfer of another volume came before those that it follows; the last one received.
    #[error("transfers are missing behind {0:?}")]
    Gap(TransferNumber),
}

/// What became of a transaction that was decided and will not be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It was never handed to the disk: nothing is kept.
    #[error("not written")]
    NotWritten,
    /// It was never handed to the disk, because there is no room for the segment it was meant for: nothing is kept.
    #[error("no room")]
    NoRoom,
    /// It was handed to the disk and no sync vouches for it: kept or not, nobody knows until recovery.
    #[error("unknown")]
    Unknown,
}
