//! What an operator may ask, as one JSON object on one line.

use ringpost_storage::VolumeId;
use serde::{Deserialize, Serialize};

use super::{ACCOUNTS_PER_REQUEST_MAX, NewAccount, Response, routing};
use crate::office::tools;

/// What may be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// All counters.
    Stats {
        /// Those of each shard as well.
        #[serde(default)]
        per_shard: bool,
    },
    /// Makes a domain ours.
    DomainAdd {
        /// Its name.
        domain: String,
    },
    /// Gives up a domain without accounts.
    DomainRemove {
        /// Its name.
        domain: String,
    },
    /// Our domains.
    DomainList {},
    /// Makes accounts: all of them or, when one cannot be made, none.
    AccountAdd {
        /// At least one.
        accounts: Vec<NewAccount>,
    },
    /// Removes an account with all its mail.
    AccountRemove {
        /// Its address.
        address: String,
    },
    /// Gives an account another name, and what leads to it with it.
    AccountRename {
        /// Its address.
        address: String,
        /// The address it is to have.
        to: String,
        /// The old one becomes an alias of it.
        #[serde(default)]
        keep_alias: bool,
    },
    /// Addresses, sorted.
    AccountList {
        /// Of this domain alone.
        #[serde(default)]
        domain: Option<String>,
    },
    /// Sets a password.
    AccountPasswd {
        /// The account and its new password.
        #[serde(flatten)]
        account: NewAccount,
    },
    /// Shows by which protocols an account may log in, and sets what is given.
    AccountLogin {
        /// Its address.
        address: String,
        /// Handing in mail.
        #[serde(default)]
        smtp: Option<bool>,
        /// Reading it.
        #[serde(default)]
        imap: Option<bool>,
        /// Fetching it.
        #[serde(default)]
        pop3: Option<bool>,
    },
    /// Makes a password for one program.
    AppPasswordAdd {
        /// The account's address.
        address: String,
        /// What it is called.
        name: String,
        /// Where it is good: `smtp`, `imap`, `pop3`. None: everywhere.
        #[serde(default)]
        protocols: Vec<String>,
    },
    /// The passwords of programs of an account.
    AppPasswordList {
        /// Its address.
        address: String,
    },
    /// Takes one back.
    AppPasswordRemove {
        /// The account's address.
        address: String,
        /// What it is called.
        name: String,
    },
    /// Who is logged in.
    Who {
        /// As this account alone.
        #[serde(default)]
        address: Option<String>,
    },
    /// Ends the sessions of an account.
    Kick {
        /// Its address.
        address: String,
    },
    /// Shows what an account keeps and may keep, and sets what is given.
    AccountQuota {
        /// Its address.
        address: String,
        /// Octets it may keep; 0: as many as it likes.
        #[serde(default)]
        bytes: Option<u64>,
        /// Messages it may keep; 0: as many as it likes.
        #[serde(default)]
        messages: Option<u32>,
    },
    /// Where mail goes, and who is let in.
    Routing {
        /// What is wanted.
        ask: routing::Ask,
    },
    /// A program on this host hands in a letter. Its octets follow the line.
    Post {
        /// Where bounces go; empty: nowhere.
        sender: String,
        /// What stands before the sender's address in a From that is added.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        full_name: Option<String>,
        /// At least one.
        recipients: Vec<String>,
        /// Octets of the letter, canonical CRLF.
        octets: u64,
        /// Whose program it is.
        user: u32,
    },
    /// Looks into one account, or puts messages into it. Octets of messages follow the line, as many as it says.
    Store {
        /// Its address.
        account: String,
        /// What is wanted.
        ask: tools::Ask,
    },
    /// How much each volume holds.
    StoreStat {},
    /// All volumes are scrubbed now.
    StoreScrub {},
    /// Holds the files of all volumes for a backup, for ten minutes from the last such request.
    StoreHold {
        /// Whose backup it is.
        token: u64,
        /// Hold and mark, or let go.
        how: tools::Hold,
    },
    /// Accepts that lost batches do not come back. While the server is stopped.
    StoreAcceptLoss {},
    /// Gives every mailbox a new UIDVALIDITY. While the server is stopped.
    StoreRenumber {},
    /// Moves an account to another volume while it is in use.
    AccountMove {
        /// Its address.
        address: String,
        /// The volume's number.
        to: VolumeId,
    },
    /// One more volume.
    VolumeAdd {},
    /// Moves all accounts of a volume to others; it takes no new ones.
    VolumeEvacuate {
        /// Its number.
        volume: VolumeId,
    },
    /// Gives up a volume that is evacuated.
    VolumeRetire {
        /// Its number.
        volume: VolumeId,
    },
    /// The volumes.
    VolumeList {},
    /// How it is with work in the background.
    Jobs {},
    /// The certificates in force.
    TlsList {},
    /// Reads the certificates anew.
    TlsReload {},
    /// Stops the server in order.
    Stop {},
}

impl Request {
    /// True for requests that change the store: one at a time. What a tool looks for before it puts messages into an account is
    /// among them: another one that died may have some on their way in.
    #[must_use]
    pub fn changes(&self) -> bool {
        if let Request::Routing { ask } = self {
            return ask.changes();
        }
        !matches!(
            self,
            Request::Stats { .. }
                | Request::DomainList {}
                | Request::AccountList { .. }
                | Request::Store { ask: tools::Ask::Read { .. }, .. }
                | Request::AccountQuota { bytes: None, messages: None, .. }
                | Request::AccountLogin { smtp: None, imap: None, pop3: None, .. }
                | Request::AppPasswordList { .. }
                | Request::Who { .. }
                | Request::Kick { .. }
                | Request::Post { .. }
                | Request::StoreStat {}
                | Request::StoreScrub {}
                | Request::StoreHold { .. }
                | Request::VolumeList {}
                | Request::Jobs {}
                | Request::TlsList {}
                | Request::TlsReload {}
                | Request::Stop {}
        )
    }

    /// The octets of each message that follow the line.
    #[must_use]
    pub fn messages(&self) -> Vec<u64> {
        match self {
            Request::Store { ask: tools::Ask::Append { messages, .. }, .. } => {
                messages.iter().map(|m| m.octets).collect()
            }
            Request::Post { octets, .. } => vec![*octets],
            _ => Vec::new(),
        }
    }

    /// Reads one line of the socket.
    ///
    /// # Errors
    /// The answer for what is no request, or one too large.
    pub fn read(line: &[u8]) -> Result<Request, Response> {
        let refused = |error| Err(Response::Refused { error });
        match serde_json::from_slice(line) {
            Ok(Request::AccountAdd { accounts }) if accounts.len() > ACCOUNTS_PER_REQUEST_MAX => {
                refused(format!("{} accounts in one request: at most {ACCOUNTS_PER_REQUEST_MAX}", accounts.len()))
            }
            Ok(request) => Ok(request),
            Err(why) => refused(format!("this is no request: {why}")),
        }
    }

    /// The verb and what it is about, for the log. Never a password.
    pub(super) fn title(&self) -> (&'static str, &str) {
        match self {
            Request::Stats { .. } => ("stats", ""),
            Request::DomainAdd { domain } => ("domain-add", domain),
            Request::DomainRemove { domain } => ("domain-remove", domain),
            Request::DomainList {} => ("domain-list", ""),
            Request::AccountAdd { accounts } => ("account-add", accounts.first().map_or("", |a| &a.address)),
            Request::AccountRemove { address } => ("account-remove", address),
            Request::AccountRename { address, .. } => ("account-rename", address),
            Request::AccountList { domain } => ("account-list", domain.as_deref().unwrap_or("")),
            Request::AccountPasswd { account } => ("account-passwd", &account.address),
            Request::AccountQuota { address, .. } => ("account-quota", address),
            Request::Routing { ask } => ask.title(),
            Request::AccountLogin { address, .. } => ("account-login", address),
            Request::AppPasswordAdd { address, .. } => ("app-password-add", address),
            Request::AppPasswordList { address } => ("app-password-list", address),
            Request::AppPasswordRemove { address, .. } => ("app-password-remove", address),
            Request::Who { address } => ("who", address.as_deref().unwrap_or("")),
            Request::Kick { address } => ("kick", address),
            Request::Post { sender, .. } => ("post", sender),
            Request::Store { account, .. } => ("store", account),
            Request::StoreStat {} => ("store-stat", ""),
            Request::StoreScrub {} => ("store-scrub", ""),
            Request::StoreHold { .. } => ("store-hold", ""),
            Request::StoreAcceptLoss {} => ("store-accept-loss", ""),
            Request::StoreRenumber {} => ("store-renumber", ""),
            Request::AccountMove { address, .. } => ("account-move", address),
            Request::VolumeAdd {} => ("volume-add", ""),
            Request::VolumeEvacuate { .. } => ("volume-evacuate", ""),
            Request::VolumeRetire { .. } => ("volume-retire", ""),
            Request::VolumeList {} => ("volume-list", ""),
            Request::Jobs {} => ("jobs", ""),
            Request::TlsList {} => ("tls-list", ""),
            Request::TlsReload {} => ("tls-reload", ""),
            Request::Stop {} => ("stop", ""),
        }
    }
}
