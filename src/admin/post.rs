//! A letter that a program on this host hands in by `ringpost sendmail`: taken as any other, durable before it is answered.
//!
//! - Whoever can open the admin socket may do anything here, so any sender is believed.
//! - A name without a domain is one of the first domain there is.
//! - All recipients are taken, or none and nothing is sent.
//!
//! ```text
//! {"verb":"post","sender":"root","recipients":["alice@ringpost.test"],"octets":27,"user":0}   the octets follow, canonical CRLF
//! {"answer":"posted","posted":{"id":"018b…"}}
//! ```

use std::rc::Rc;

use ringpost_storage::{Body, MailboxId};
use serde::{Deserialize, Serialize};

use super::Response;
use crate::intake::mend::Mender;
use crate::intake::{self, Letter, Recipient, Verdict};
use crate::limits;
use crate::mail::address::{Address, ReversePath};
use crate::mail::{date, trace};
use crate::office::{Office, folder, quota};
use crate::route::{Nowhere, expand, name_of};
use crate::shard::Peer;

/// What became of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Posted {
    /// It is durable.
    Id(String),
    /// A recipient is nobody here; nothing was sent.
    NoUser(String),
    /// What was given cannot be used; nothing was sent.
    BadData(String),
    /// It is refused for good; nothing was sent.
    Refused(String),
    /// Not now; nothing was sent.
    Later(String),
    /// Nobody knows whether it was kept.
    Unknown,
}

/// Takes a letter in.
pub(super) async fn post(office: &Rc<Office>, sender: &str, to: &[String], user: u32, bodies: Vec<Body>) -> Response {
    let posted = match try_post(office, sender, to, user, bodies).await {
        Ok(id) => {
            tracing::info!(id, user, from = sender, copies = to.len(), "handed in by sendmail");
            Posted::Id(id)
        }
        Err(why) => {
            tracing::warn!(user, from = sender, ?why, "not taken from sendmail");
            why
        }
    };
    Response::Posted { posted }
}

async fn try_post(
    office: &Rc<Office>,
    sender: &str,
    to: &[String],
    user: u32,
    bodies: Vec<Body>,
) -> Result<String, Posted> {
    let Some(body) = bodies.into_iter().next() else { return Err(Posted::BadData("there is no message".to_owned())) };
    if body.len() > office.settings.message_bytes_max {
        return Err(Posted::Refused("the message is too large".to_owned()));
    }
    let sender = match sender {
        "" => ReversePath::Null,
        some => ReversePath::Address(address(office, some)?),
    };
    let recipients = recipients(office, to, body.len()).await?;
    let volume = intake::deciding_volume(office, &recipients);
    let Some(_expecting) = office.expect(volume, Peer::Local, Some(body.len())) else {
        return Err(Posted::Later("the disk has too little room".to_owned()));
    };
    let mut letter = Letter::new(office, Peer::Local, recipients, body.len());
    let id = letter.id.simple().to_string();
    let host = office.settings.hostname.clone();
    let mut fields = Vec::with_capacity(256);
    trace::return_path(&mut fields, &sender);
    trace::received_here(&mut fields, (&host, &id), user, letter.received_ms);
    letter.sign(&fields);
    let mut mender = Mender::new(&date::rfc5322(letter.received_ms), &format!("{id}@{host}"));
    if let ReversePath::Address(from) = &sender {
        mender = mender.with_from(from.as_str());
    }
    for part in body.parts() {
        mender.take(part, &mut |octets| letter.push(octets));
        if letter.is_full() {
            letter.put_away(office).await;
        }
    }
    mender.end(&mut |octets| letter.push(octets));
    drop(body);
    match intake::accept(office, letter).await {
        Verdict::Stored => Ok(id),
        Verdict::Unacceptable(fault) => Err(Posted::Refused(format!("the message is refused: {fault:?}"))),
        Verdict::Later(why) => Err(Posted::Later(format!("not now: {why:?}"))),
        Verdict::Unknown => Err(Posted::Unknown),
    }
}

/// Of the first domain there is, if it has none.
fn address(office: &Office, text: &str) -> Result<Address, Posted> {
    let whole = match text.contains('@') {
        true => text.to_owned(),
        false => office.directory(|d| d.domains().next().map(|domain| format!("{text}@{domain}"))).unwrap_or_default(),
    };
    Address::parse(&whole, true).map_err(|why| Posted::BadData(format!("`{}`: {why}", text.escape_debug())))
}

async fn recipients(office: &Rc<Office>, to: &[String], octets: u64) -> Result<Vec<Recipient>, Posted> {
    if to.is_empty() || to.len() > limits::RECIPIENTS_MAX {
        return Err(Posted::BadData(format!("a message has 1 to {} recipients", limits::RECIPIENTS_MAX)));
    }
    let volumes = usize::from(office.volume_count());
    let mut all: Vec<Recipient> = Vec::new();
    for text in to {
        let address = address(office, text)?;
        let way = match name_of(&address) {
            Some(name) => office.directory(|d| expand(&name, address.local(), d, volumes)),
            None => Err(Nowhere::Elsewhere),
        };
        let targets = way.map_err(|why| match why {
            Nowhere::Nobody => Posted::NoUser(format!("{address}: no such user here")),
            Nowhere::Elsewhere => {
                Posted::Refused(format!("{address} is not here: mail is not sent to other hosts yet"))
            }
            Nowhere::Denied | Nowhere::Loop | Nowhere::TooMany => {
                Posted::Refused(format!("{address} leads to itself, or to too many"))
            }
            Nowhere::AskAgain => Posted::Later("the directory is not complete yet".to_owned()),
        })?;
        for target in targets {
            if all.iter().any(|r| r.home.account == target.home.account) {
                continue;
            }
            if all.len() >= limits::MAILBOXES_MAX {
                return Err(Posted::Refused("it would go to too many mailboxes".to_owned()));
            }
            if !quota::has_room(office, target.home, octets).await {
                return Err(Posted::Later(format!("the mailbox of {} is full", target.name)));
            }
            let mailbox = match target.folder {
                Some(wanted) => folder::folder(office, target.home, wanted).await,
                None => MailboxId::INBOX,
            };
            all.push(Recipient { name: target.name, home: target.home, mailbox });
        }
    }
    Ok(all)
}
