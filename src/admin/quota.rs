//! What an account keeps and may keep: shown, and set.

use std::rc::Rc;

use ringpost_storage::{AccountId, Limits};
use serde::{Deserialize, Serialize};

use super::{Response, Trouble, accounts, deeds, respond};
use crate::directory::{Change, Home};
use crate::office::Office;
use crate::office::quota::{is_reserved, quota};
use crate::office::words::Deed;

/// An account's quota, as it is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountQuota {
    /// `user@domain`.
    pub address: String,
    /// Octets of all its messages.
    pub used_bytes: u64,
    /// Octets it may keep; absent: as many as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Its messages.
    pub used_messages: u32,
    /// Messages it may keep; absent: as many as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_messages: Option<u32>,
}

/// Sets what is given, and shows all. 0 is no limit.
pub(super) async fn quota_of(
    office: &Rc<Office>,
    address: &str,
    bytes: Option<u64>,
    messages: Option<u32>,
) -> Response {
    respond(try_quota(office, address, bytes, messages).await)
}

async fn try_quota(
    office: &Rc<Office>,
    address: &str,
    bytes: Option<u64>,
    messages: Option<u32>,
) -> Result<Response, Trouble> {
    let (address, home) = accounts::existing(office, address)?;
    let silent = || Trouble::Failed(format!("the shard of {address} does not answer; try again"));
    let gone = || Trouble::Refused(format!("there is no account {address} any more"));
    let look = async || quota(office, home).await.map_err(|_| silent())?.ok_or_else(gone);
    let mut now = look().await?;
    if bytes.is_some() || messages.is_some() {
        let limits =
            Limits { bytes: bytes.unwrap_or(now.limits.bytes), messages: messages.unwrap_or(now.limits.messages) };
        if limits != Limits::NONE && is_reserved(&address) {
            return Err(Trouble::Refused(format!("{address} takes all mail: postmaster and abuse have no limits")));
        }
        deeds::ask(office, home.volume, vec![Deed::SetLimits(home.account, limits)]).await?;
        tell(office, home.account, limits != Limits::NONE).await?;
        now = look().await?;
    }
    let quota = AccountQuota {
        address,
        used_bytes: now.used_bytes,
        limit_bytes: Some(now.limits.bytes).filter(|bytes| *bytes > 0),
        used_messages: now.used_messages,
        limit_messages: Some(now.limits.messages).filter(|messages| *messages > 0),
    };
    Ok(Response::Quota { quota })
}

/// What an account may keep; `None`: it is gone.
pub(super) async fn limits_of(office: &Rc<Office>, home: Home) -> Result<Option<Limits>, Trouble> {
    let quota =
        quota(office, home).await.map_err(|_| Trouble::Failed("its shard does not answer; try again".to_owned()))?;
    Ok(quota.map(|quota| quota.limits))
}

/// Tells every shard whether somebody has limits.
pub(super) async fn tell(office: &Rc<Office>, account: AccountId, limited: bool) -> Result<(), Trouble> {
    office.tell_all(Change::Limited { accounts: vec![account], limited }).await.map_err(deeds::untold)
}
