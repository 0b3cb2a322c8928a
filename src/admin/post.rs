//! A letter that a program on this host hands in by `ringpost sendmail`: taken as any other, durable before it is answered.
//!
//! - Who may open the admin socket may do anything here, so any sender is believed; of others see `serve::sendmail`.
//! - A name without a domain is one of the first domain there is.
//! - All recipients are taken, or none and nothing is sent. The way to them is that of any letter: whom nobody may send to, no program
//!   reaches (see `route`).
//! - What is ours alone to say is taken out (see `intake::strip`).
//! - Its octets go into the letter as they come, and a large one into the log: they count as those of any sender.
//!
//! ```text
//! {"verb":"post","sender":"root","recipients":["alice@ringpost.test"],"octets":27,"user":0}   the octets follow, canonical CRLF
//! {"answer":"posted","posted":{"id":"018b…"}}
//! ```

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringpost_storage::{Body, MailboxId};
use serde::{Deserialize, Serialize};

use super::Response;
use crate::directory::catalogue::SendLimits;
use crate::intake::mend::Mender;
use crate::intake::strip::Stripper;
use crate::intake::{self, Letter, Recipient, Verdict};
use crate::limits;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::{date, trace};
use crate::office::sending::{self, Allowance};
use crate::office::{BodyCharge, Expecting, Office, folder, quota};
use crate::route::{Nowhere, Route, name_of, route};
use crate::shard::{self, Peer};

/// Octets of a name that stands before an address. More: refused.
const FULL_NAME_BYTES_MAX: usize = 200;
/// Octets of one encoded word's text: with what stands around it it is at most 75 (RFC 2047 §2).
const WORD_BYTES_MAX: usize = 42;

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

/// Whose letter it is, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Where bounces go; empty: nowhere.
    pub sender: &'a str,
    /// What stands before the sender's address in a From that is added.
    pub full_name: Option<&'a str>,
    /// At least one.
    pub to: &'a [String],
    /// Octets of the letter.
    pub octets: u64,
    /// Whose program it is.
    pub user: u32,
}

/// A letter that is being handed in.
pub struct Posting {
    letter: Letter,
    stripper: Stripper,
    mender: Mender,
    id: String,
    _expecting: Expecting,
}

/// Takes a letter in.
pub(super) async fn post(office: &Rc<Office>, envelope: Envelope<'_>, bodies: Vec<Body>) -> Response {
    let Some(body) = bodies.into_iter().next() else {
        return Response::Posted { posted: Posted::BadData("there is no message".to_owned()) };
    };
    let posted = match Posting::begin(office, &envelope, office.budget.open(None)).await {
        Ok(mut posting) => {
            for part in body.parts() {
                posting.take(office, part).await;
            }
            drop(body);
            posting.end(office).await
        }
        Err(why) => why,
    };
    note(&envelope, &posted);
    Response::Posted { posted }
}

/// Says in the log what became of a letter.
pub fn note(envelope: &Envelope<'_>, posted: &Posted) {
    let Envelope { sender: from, user, to, .. } = envelope;
    match posted {
        Posted::Id(id) => tracing::info!(id, user, from, recipients = to.len(), "handed in by sendmail"),
        why => tracing::warn!(user, from, ?why, "not taken from sendmail"),
    }
}

impl Posting {
    /// Begins to take a letter. `charge`: what its octets count against.
    ///
    /// # Errors
    /// What becomes of it instead.
    pub async fn begin(office: &Rc<Office>, envelope: &Envelope<'_>, charge: BodyCharge) -> Result<Posting, Posted> {
        let Envelope { sender, full_name, to, octets, user } = *envelope;
        if octets > office.settings.message_bytes_max {
            return Err(Posted::Refused("the message is too large".to_owned()));
        }
        if !office.has_memory() {
            return Err(Posted::Later("the server has too little memory left".to_owned()));
        }
        let sender = match sender {
            "" => ReversePath::Null,
            some => ReversePath::Address(address(office, some)?),
        };
        let recipients = recipients(office, to, octets).await?;
        let volume = intake::deciding_volume(office, &recipients);
        let Some(expecting) = office.expect(volume, Peer::Local, Some(octets)) else {
            return Err(Posted::Later("the disk has too little room".to_owned()));
        };
        let mut letter = Letter::new(office, Peer::Local, recipients, octets).charged_to(charge);
        let id = letter.id.simple().to_string();
        let host = office.settings.hostname.clone();
        let mut fields = Vec::with_capacity(256);
        trace::return_path(&mut fields, &sender);
        trace::received_here(&mut fields, (&host, &id), user, letter.received_ms);
        letter.sign(&fields);
        let mut mender = Mender::new(&date::rfc5322(letter.received_ms), &format!("{id}@{host}"));
        if let ReversePath::Address(from) = &sender {
            mender = mender.with_from(&from_field(full_name.unwrap_or(""), from.as_str())?);
        }
        Ok(Posting { letter, stripper: Stripper::new(Some(&*host)), mender, id, _expecting: expecting })
    }

    /// Takes the next octets of it, canonical CRLF.
    pub async fn take(&mut self, office: &Rc<Office>, octets: &[u8]) {
        let Posting { letter, stripper, mender, .. } = self;
        stripper.take(octets, &mut |kept| mender.take(kept, &mut |octets| letter.push(octets)));
        if letter.is_full() {
            letter.put_away(office).await;
        }
    }

    /// It is whole.
    pub async fn end(self, office: &Rc<Office>) -> Posted {
        let Posting { mut letter, mut stripper, mut mender, id, _expecting } = self;
        stripper.end(&mut |kept| mender.take(kept, &mut |octets| letter.push(octets)));
        mender.end(&mut |octets| letter.push(octets));
        match intake::accept(office, letter).await {
            Verdict::Stored => Posted::Id(id),
            Verdict::Unacceptable(fault) => Posted::Refused(format!("the message is refused: {fault:?}")),
            Verdict::Later(why) => Posted::Later(format!("not now: {why:?}")),
            Verdict::Unknown => Posted::Unknown,
        }
    }
}

/// The limits and the suspension of the account whose address the sender is: what holds for its mail programs holds for its programs
/// on this host. A user without an account has the limits of an account of which nothing is said, by his number. `None`: it may send.
pub async fn forbids(office: &Rc<Office>, envelope: &Envelope<'_>) -> Option<Posted> {
    let Envelope { sender, to, user, .. } = *envelope;
    let name = address(office, sender).ok().as_ref().and_then(name_of);
    let home = name.as_ref().and_then(|name| office.directory(|d| d.home(name)));
    // A name that is none of ours is one without an account, too.
    let name = name.unwrap_or_else(|| sender.to_owned());
    let own = home.and_then(|_| office.directory(|d| d.rules().account(&name).cloned())).unwrap_or_default();
    if own.suspended.is_some() {
        tracing::warn!(target: "audit", account = name, "refused: this account may not send");
        return Some(Posted::Refused(format!("{name} may not send, ask your postmaster")));
    }
    let limits: SendLimits = own.limits.or(office.settings.send_limits);
    let count = u32::try_from(to.len()).unwrap_or(u32::MAX);
    if limits.recipients_message.is_some_and(|most| most > 0 && count > most) {
        return Some(Posted::Refused("too many recipients for one message".to_owned()));
    }
    let too_much = || Some(Posted::Later(format!("{name} has sent as much as it may for now")));
    let allowance = match home {
        Some(home) => sending::ask(office, home, limits, (1, count)).await,
        None => office.sending_of_users.ask(user, &limits, (1, count), shard::wall_ms()),
    };
    match allowance {
        Allowance::Yes { .. } => None,
        Allowance::No { .. } => too_much(),
    }
}

/// What stands behind the colon of From: words outside ASCII are encoded (RFC 2047 §5).
fn from_field(full_name: &str, address: &str) -> Result<String, Posted> {
    if full_name.len() > FULL_NAME_BYTES_MAX || full_name.chars().any(char::is_control) {
        return Err(Posted::BadData(format!(
            "a full name has at most {FULL_NAME_BYTES_MAX} octets and no control characters"
        )));
    }
    if full_name.trim().is_empty() {
        return Ok(address.to_owned());
    }
    if full_name.is_ascii() {
        return Ok(format!("\"{}\" <{address}>", full_name.replace('\\', "\\\\").replace('"', "\\\"")));
    }
    let mut words = Vec::new();
    let mut word = String::new();
    for c in full_name.chars() {
        if word.len() + c.len_utf8() > WORD_BYTES_MAX {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded: Vec<String> = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    Ok(format!("{}\r\n <{address}>", encoded.join("\r\n ")))
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
    let mut names_followed = 0;
    for text in to {
        let address = address(office, text)?;
        let path = ForwardPath::Address(address.clone());
        let (way, names) = office.directory(|d| route(&path, d, volumes, shard::wall_ms()));
        names_followed += names;
        if names_followed > limits::NAMES_FOLLOWED_MAX {
            return Err(Posted::Refused("it would go to too many mailboxes".to_owned()));
        }
        if names > limits::NAMES_AT_ONCE {
            // A list is long, and there are others on this shard.
            futures_lite::future::yield_now().await;
        }
        let targets = match way {
            Route::Mailboxes(targets) => targets,
            Route::Nowhere(why) => return Err(nowhere(&address, why)),
        };
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

fn nowhere(address: &Address, why: Nowhere) -> Posted {
    match why {
        Nowhere::Nobody => Posted::NoUser(format!("{address}: no such user here")),
        Nowhere::Elsewhere => Posted::Refused(format!("{address} is not here: mail is not sent to other hosts yet")),
        Nowhere::Denied => Posted::Refused(format!("{address}: access denied")),
        Nowhere::Loop | Nowhere::TooMany => Posted::Refused(format!("{address} leads to itself, or to too many")),
        Nowhere::AskAgain => Posted::Later("the directory is not complete yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_is_quoted_or_encoded_and_begins_no_field_of_its_own() {
        let field = |name: &str| from_field(name, "root@a.test");
        assert_eq!(field("").as_deref(), Ok("root@a.test"));
        assert_eq!(field("Cron \"Daemon\" \\").as_deref(), Ok("\"Cron \\\"Daemon\\\" \\\\\" <root@a.test>"));
        assert_eq!(field("Jürgen").as_deref(), Ok("=?utf-8?B?SsO8cmdlbg==?=\r\n <root@a.test>"));
        assert!(field("x\r\nBcc: y").is_err() && field(&"x".repeat(FULL_NAME_BYTES_MAX + 1)).is_err());
        let long = field(&"ü".repeat(100)).expect("not too long");
        assert!(long.lines().all(|line| line.trim_start().len() <= 75), "{long}");
    }
}
