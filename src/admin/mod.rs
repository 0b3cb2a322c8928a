//! What an operator may ask for: typed requests, carried out by the office of one shard.
//!
//! ```text
//!   command line ─┬─ <data>/admin.sock, one JSON object a line ──┐
//!                 └─ the data directory, while the server is stopped ─┴──► execute ──► a Response
//! ```
//!
//! - The same code runs in both ways, and in the first start.
//! - A change is durable in its volumes first and heard by every shard next; then it is answered.
//! - Requests that change something are carried out one at a time; whoever calls [`execute`] sees to that
//!   (see [`Request::changes`]). Otherwise two of them could give one address two homes.
//! - Octets of messages go beside the lines: behind a request or an answer that says how many.
//! - An error is a sentence that says what to do. `refused`: the request is wrong, nothing was done. `failed`: the store or a
//!   shard could not; asking again does no harm.
//!
//! ```text
//! {"verb":"account-add","accounts":[{"address":"alice@ringpost.test","password":"…"}]}
//! {"answer":"accounts","accounts":[{"address":"alice@ringpost.test"}]}
//! ```

use std::collections::BTreeMap;
use std::rc::Rc;

use ringpost_storage::{Body, VolumeId};
use serde::{Deserialize, Serialize};

use crate::office::jobs::Job;
use crate::office::sessions::SessionView;
use crate::office::{Office, tools};
use crate::shard;

mod accounts;
mod catalogue;
mod deeds;
mod domains;
mod logins;
mod look;
mod names;
mod post;
mod quota;
pub mod routing;
mod report;
mod secret;
mod stats;
mod store;
mod tls;
mod undelete;
mod volumes;
mod whole;
#[cfg(test)]
mod tests;

pub use accounts::found_account;
pub use deeds::do_deeds;
pub use domains::found_domain;
pub use logins::{AppPasswordView, LoginView};
pub use look::{Looked, look};
pub use post::Posted;
pub use quota::AccountQuota;
pub use report::{Report, report};
pub use secret::Secret;
pub use store::answer_tool;
pub use tls::CertificateView;
pub use volumes::VolumeView;

/// The socket's name in the data directory.
pub const SOCKET: &str = "admin.sock";
/// Octets of the socket's path: what a Unix socket's address holds, less the NUL at its end. Longer: the start is refused.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Accounts of one request over the socket. More: refused; the command line splits.
pub const ACCOUNTS_PER_REQUEST_MAX: usize = 1_000;

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

/// The counters and measures of one shard.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShardCounters {
    /// Its number.
    pub shard: shard::ShardId,
    /// Name → value.
    pub counters: BTreeMap<String, u64>,
    /// As the sums have them.
    pub measures: BTreeMap<String, u64>,
}

/// An address and the password it is to have.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewAccount {
    /// `user@domain`.
    pub address: String,
    /// Absent: one is generated and told in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// In the place of a password: its hash, as another server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

impl NewAccount {
    /// With this password; `None`: one is generated.
    #[must_use]
    pub fn with(address: String, password: Option<Secret>) -> Self {
        NewAccount { address, password, hash: None }
    }
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    /// It is done.
    Done,
    /// To `Stats`.
    Counters {
        /// Name → value.
        counters: BTreeMap<String, u64>,
        /// How many were measured of each kind, and what half of them, 99 % of them and all of them stayed below: microseconds
        /// (`_us`), octets, things. They do not add up as counters do.
        #[serde(default)]
        measures: BTreeMap<String, u64>,
        /// The same of each shard, if asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        shards: Vec<ShardCounters>,
    },
    /// To `DomainList`.
    Domains {
        /// Sorted.
        domains: Vec<String>,
    },
    /// To `AccountAdd`, `AccountPasswd` (with generated passwords) and `AccountList` (without).
    Accounts {
        /// In the order asked for; sorted in a list.
        accounts: Vec<NewAccount>,
    },
    /// To `AccountLogin`: as it is then.
    Login {
        /// It.
        login: LoginView,
    },
    /// To `AppPasswordAdd`.
    AppPassword {
        /// The account.
        address: String,
        /// What it is called.
        name: String,
        /// It. Kept nowhere.
        password: Secret,
    },
    /// To `AppPasswordList`.
    AppPasswords {
        /// The oldest first.
        passwords: Vec<AppPasswordView>,
    },
    /// To `Who`.
    Sessions {
        /// The oldest first.
        sessions: Vec<SessionView>,
    },
    /// To `Kick`.
    Kicked {
        /// How many end.
        sessions: usize,
    },
    /// To `AccountQuota`: as it is then.
    Quota {
        /// It.
        quota: AccountQuota,
    },
    /// To `Routing`.
    Routing {
        /// What is told.
        told: Box<routing::Told>,
    },
    /// To `Post`.
    Posted {
        /// What became of it.
        posted: Posted,
    },
    /// To `Store`. Octets of a message may follow the line, as many as it says.
    Store {
        /// What is told.
        told: tools::Told,
    },
    /// To `StoreHold`.
    Marked {
        /// By number.
        volumes: Vec<tools::MarkedVolume>,
    },
    /// To `StoreStat` and `StoreScrub`.
    Volumes {
        /// By number.
        volumes: Vec<tools::VolumeSpace>,
    },
    /// To `AccountMove` and `VolumeEvacuate`: it is under way.
    Begun {
        /// The job's number.
        job: u64,
    },
    /// To `VolumeList`, and of the new one to `VolumeAdd`.
    VolumeList {
        /// By number.
        volumes: Vec<VolumeView>,
    },
    /// To `Jobs`.
    Jobs {
        /// Of each shard the oldest first.
        jobs: Vec<Job>,
    },
    /// To `TlsList`, and to `TlsReload` when they are in force.
    Certificates {
        /// The default first.
        certificates: Vec<CertificateView>,
    },
    /// The request is wrong; nothing was done.
    Refused {
        /// A sentence.
        error: String,
    },
    /// It could not be done, or not wholly; asking again does no harm.
    Failed {
        /// A sentence.
        error: String,
    },
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
    fn title(&self) -> (&'static str, &str) {
        match self {
            Request::Stats { .. } => ("stats", ""),
            Request::DomainAdd { domain } => ("domain-add", domain),
            Request::DomainRemove { domain } => ("domain-remove", domain),
            Request::DomainList {} => ("domain-list", ""),
            Request::AccountAdd { accounts } => ("account-add", accounts.first().map_or("", |a| &a.address)),
            Request::AccountRemove { address } => ("account-remove", address),
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

/// Carries out a request and logs it.
pub async fn execute(office: &Rc<Office>, request: Request) -> Response {
    execute_with(office, request, Vec::new()).await.0
}

/// As [`execute`], with the messages that came with the request, and the octets that go with the answer.
pub async fn execute_with(office: &Rc<Office>, request: Request, bodies: Vec<Body>) -> (Response, Vec<u8>) {
    let mut octets = Vec::new();
    let (verb, about) = request.title();
    // These change nothing in the store, and are to be seen.
    let shown =
        matches!(request, Request::Stop {} | Request::StoreHold { .. } | Request::TlsReload {} | Request::Kick { .. });
    let changes = request.changes() || shown;
    let about = about.to_owned();
    let response = match request {
        Request::Stats { per_shard } => stats::stats(office, per_shard).await,
        Request::DomainAdd { domain } => domains::add(office, &domain).await,
        Request::DomainRemove { domain } => domains::remove(office, &domain).await,
        Request::DomainList {} => domains::list(office),
        Request::AccountAdd { accounts } => accounts::add(office, accounts).await,
        Request::AccountRemove { address } => accounts::remove(office, &address).await,
        Request::AccountList { domain } => accounts::list(office, domain.as_deref()),
        Request::AccountPasswd { account } => accounts::passwd(office, account).await,
        Request::AccountQuota { address, bytes, messages } => quota::quota_of(office, &address, bytes, messages).await,
        Request::Routing { ask } => routing::answer(office, ask).await,
        Request::AccountLogin { address, smtp, imap, pop3 } => {
            logins::switches(office, &address, [smtp, imap, pop3]).await
        }
        Request::AppPasswordAdd { address, name, protocols } => {
            logins::app_add(office, &address, &name, &protocols).await
        }
        Request::AppPasswordList { address } => logins::app_list(office, &address).await,
        Request::AppPasswordRemove { address, name } => logins::app_remove(office, &address, &name).await,
        Request::Who { address } => logins::who(office, address.as_deref()).await,
        Request::Kick { address } => logins::kick(office, &address).await,
        Request::Post { sender, recipients, user, .. } => post::post(office, &sender, &recipients, user, bodies).await,
        Request::Store { account, ask } => {
            let (response, beside) = store::ask(office, &account, ask, bodies).await;
            octets = beside;
            response
        }
        Request::StoreStat {} => whole::stat(office, false).await,
        Request::StoreScrub {} => whole::stat(office, true).await,
        Request::StoreHold { token, how } => whole::hold(office, token, how).await,
        Request::StoreAcceptLoss {} => whole::accept_loss(office),
        Request::StoreRenumber {} => whole::renumber(office).await,
        Request::AccountMove { address, to } => volumes::move_account(office, &address, to).await,
        Request::VolumeAdd {} => volumes::add(office).await,
        Request::VolumeEvacuate { volume } => volumes::evacuate(office, volume).await,
        Request::VolumeRetire { volume } => volumes::retire(office, volume).await,
        Request::VolumeList {} => volumes::list(office).await,
        Request::Jobs {} => volumes::jobs(office).await,
        Request::TlsList {} => tls::list(office),
        Request::TlsReload {} => tls::reload(office).await,
        Request::Stop {} => {
            shard::request_stop();
            Response::Done
        }
    };
    match &response {
        Response::Refused { error } => tracing::warn!(target: "admin", verb, about, error, "refused"),
        Response::Failed { error } => tracing::error!(target: "admin", verb, about, error, "failed"),
        // A tool asks thousands of times, and who only looks is no news.
        Response::Store { .. } => tracing::debug!(target: "admin", verb, about, "done"),
        _ if !changes => tracing::debug!(target: "admin", verb, about, "done"),
        _ => tracing::info!(target: "admin", verb, about, "done"),
    }
    (response, octets)
}

/// Why a verb does not end as hoped. Becomes a [`Response`].
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    Refused(String),
    Failed(String),
}

impl From<Trouble> for Response {
    fn from(trouble: Trouble) -> Response {
        match trouble {
            Trouble::Refused(error) => Response::Refused { error },
            Trouble::Failed(error) => Response::Failed { error },
        }
    }
}

impl From<Trouble> for String {
    fn from(trouble: Trouble) -> String {
        let (Trouble::Refused(error) | Trouble::Failed(error)) = trouble;
        error
    }
}

/// Turns what a verb made into its answer.
fn respond(made: Result<Response, Trouble>) -> Response {
    made.unwrap_or_else(Response::from)
}
