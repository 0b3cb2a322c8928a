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

use std::rc::Rc;

use ringpost_storage::Body;

use crate::office::Office;
use crate::shard;

mod request;
mod response;
mod accounts;
mod catalogue;
mod deeds;
mod domains;
mod logins;
mod look;
mod names;
mod post;
mod quota;
mod rename;
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
pub use post::{Envelope, Posted, Posting, forbids, note};
pub use quota::AccountQuota;
pub use report::{Report, report};
pub use request::Request;
pub use response::{NewAccount, Response, ShardCounters};
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
        Request::AccountRename { address, to, keep_alias } => rename::rename(office, &address, &to, keep_alias).await,
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
        Request::Post { sender, full_name, recipients, octets, user } => {
            let full_name = full_name.as_deref();
            post::post(office, Envelope { sender: &sender, full_name, to: &recipients, octets, user }, bodies).await
        }
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
