//! The certificates in force: shown, and read anew.

use serde::{Deserialize, Serialize};

use super::{Response, Trouble, respond};
use crate::net::certificates::{Certificates, Identity};
use crate::observe::{self, Counter};
use crate::office::Office;
use crate::shard;

/// A certificate as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// The file it was read from.
    pub file: String,
    /// The names it holds for.
    pub names: Vec<String>,
    /// Its key's kind: ecdsa, rsa, other.
    pub key: String,
    /// From when, seconds since 1970; absent: that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_s: Option<i64>,
    /// And until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<i64>,
}

impl From<&Identity> for CertificateView {
    fn from(one: &Identity) -> CertificateView {
        CertificateView {
            file: one.file().display().to_string(),
            names: one.names().to_vec(),
            key: one.kind().word().to_owned(),
            from_s: one.validity().map(|v| v.from_s),
            until_s: one.validity().map(|v| v.until_s),
        }
    }
}

fn view(certificates: &Certificates) -> Response {
    Response::Certificates { certificates: certificates.all().iter().map(CertificateView::from).collect() }
}

pub(super) fn list(office: &Office) -> Response {
    respond(match &office.settings.tls {
        Some(acceptors) => Ok(view(&acceptors.certificates())),
        None => Err(no_doors()),
    })
}

/// Reads the certificates anew, all of them; if there is anything wrong with one, those in force stay (A101).
pub(super) async fn reload(office: &Office) -> Response {
    let reloaded = try_reload(office).await;
    observe::count(if reloaded.is_ok() { Counter::TlsReloads } else { Counter::TlsReloadsFailed });
    respond(reloaded)
}

async fn try_reload(office: &Office) -> Result<Response, Trouble> {
    let shelf = office.settings.tls.as_ref().ok_or_else(no_doors)?.shelf();
    // Hundreds of keys may have to be read, and a file may be on a slow disk.
    match shard::side(move || shelf.reload()).await {
        Ok(Ok(certificates)) => Ok(view(&certificates)),
        Ok(Err(why)) => Err(Trouble::Failed(format!("{why}\nthe certificates stay as they are"))),
        Err(why) => {
            Err(Trouble::Failed(format!("the certificates could not be read ({why:?}): they stay as they are")))
        }
    }
}

fn no_doors() -> Trouble {
    Trouble::Refused("this is no running server: it has no doors to show certificates at".to_owned())
}
