//! One account for the operator's tools: what is in it, and what is put into it.
//!
//! The question goes to the shard of the account's volume and is answered there. A change is durable before it is answered.

use std::rc::Rc;

use ringpost_storage::{
    AccountId, Body, Flags, Loaded, Mailbox, MailboxId, Op, Outcome, Refused, Transaction, Uid, Uidvalidity, Volume,
    VolumeId,
};

use super::look::{look, look_into, told_of};
use super::undelete::{self, Wanted};
use super::{Response, Trouble, accounts};
use crate::mailbox::uidls;
use crate::office::durable::{Undone, make_durable};
use crate::office::tools::{APPEND_MESSAGES_MAX, Ask, Coming, Told};
use crate::office::{Office, Reply, Request};
use crate::proto::imap::Name;
use crate::shard::{self, Disk, MeshError};

/// Asks the shard of the account's volume. Octets come beside the answer where it says so.
pub(super) async fn ask(office: &Rc<Office>, address: &str, ask: Ask, bodies: Vec<Body>) -> (Response, Vec<u8>) {
    match try_ask(office, address, ask, bodies).await {
        Ok((told, octets)) => (Response::Store { told }, octets),
        Err(trouble) => (trouble.into(), Vec::new()),
    }
}

async fn try_ask(office: &Rc<Office>, address: &str, ask: Ask, bodies: Vec<Body>) -> Result<(Told, Vec<u8>), Trouble> {
    let (_, home) = accounts::existing(office, address)?;
    let octets = ask.octets();
    let request = Request::Tool { volume: home.volume, account: home.account, ask, bodies };
    match office.mesh.call(office.shard_of(home.volume), request, octets).await {
        Ok(Reply::Told(Ok(told))) => Ok(*told),
        Ok(Reply::Told(Err(why))) => Err(Trouble::Failed(why)),
        Err(MeshError::Full) => Err(Trouble::Failed("the account's shard is too busy; try again".to_owned())),
        Ok(_) | Err(MeshError::Down) => {
            Err(Trouble::Failed("it is not known whether the change was kept; look, and try again".to_owned()))
        }
    }
}

/// Answers a question about an account of a volume of this shard: the answer to [`Request::Tool`]. Asks no other shard anything.
pub async fn answer_tool(office: &Office, volume: VolumeId, account: AccountId, ask: Ask, bodies: Vec<Body>) -> Reply {
    let Some(volume) = office.volume(volume) else {
        return Reply::Told(Err("its volume is not open; see the log of the start".to_owned()));
    };
    match volume.load(account).await {
        Ok(Some(loaded)) => Reply::Told(Desk { volume, account, loaded }.answer(ask, bodies).await.map(Box::new)),
        Ok(None) => Reply::Told(Err("the account is gone".to_owned())),
        Err(why) => Reply::Told(Err(format!("the account cannot be read: {why}"))),
    }
}

/// Holds the account in memory for one question.
struct Desk {
    volume: Volume<Disk>,
    account: AccountId,
    loaded: Loaded<Disk>,
}

impl Desk {
    async fn answer(&self, ask: Ask, bodies: Vec<Body>) -> Result<(Told, Vec<u8>), String> {
        if let Some(looked) = look(&self.volume, &self.loaded, &ask).await {
            return looked;
        }
        let told = match ask {
            Ask::Mailboxes {} | Ask::Messages { .. } | Ask::Read { .. } => unreachable!("answered by looking"),
            Ask::PutMailbox { name, uidvalidity, subscribe } => self.put_mailbox(&name, uidvalidity, subscribe).await?,
            Ask::RaiseUidnext { mailbox, uidnext } => {
                self.renumber(MailboxId(mailbox), Uidvalidity::Keep, uidnext).await.map_err(|why| why.to_string())?;
                Told::Done
            }
            Ask::Subscribe { name } => {
                let name = checked(&name)?.as_str().to_owned();
                self.change(Op::Subscribe { account: self.account, name, on: true }).await?;
                Told::Done
            }
            Ask::PutUidls { uidls } => self.put_uidls(uidls).await?,
            Ask::Undelete { since_ms, mailbox, to, dry_run } => {
                let wanted = Wanted { since_ms, mailbox, to };
                undelete::undelete(&self.volume, &self.loaded, wanted, dry_run).await?
            }
            Ask::Append { mailbox, messages } => self.append(MailboxId(mailbox), messages, bodies).await?,
        };
        Ok((told, Vec::new()))
    }

    fn look<T>(&self, mailbox: MailboxId, look: impl FnOnce(&Mailbox) -> T) -> Result<T, String> {
        look_into(&self.loaded, mailbox, look)
    }

    async fn put_mailbox(&self, name: &str, uidvalidity: Option<u32>, subscribe: bool) -> Result<Told, String> {
        let name = checked(name)?.as_str().to_owned();
        let mailbox = match self.loaded.mailbox_named(&name) {
            Some(mailbox) => mailbox,
            None => {
                let made = Op::CreateMailbox { account: self.account, name, special_use: 0, subscribed: subscribe };
                match self.change(made).await? {
                    Outcome::Mailbox(mailbox, _) => mailbox,
                    other => unreachable!("a mailbox is made, not {other:?}"),
                }
            }
        };
        if let Some(uidvalidity) = uidvalidity {
            let adopted = |m: &Mailbox| m.info().uidvalidity == uidvalidity || m.uidnext() > 1;
            if !self.look(mailbox, adopted)? {
                match self.renumber(mailbox, Uidvalidity::Adopt(uidvalidity), 1).await {
                    // It keeps its own, as the answer shows.
                    Ok(()) | Err(Undone::Refused(Refused::UidsGiven | Refused::TooLarge)) => {}
                    Err(why) => return Err(why.to_string()),
                }
            }
        }
        Ok(Told::Mailbox { mailbox: self.look(mailbox, told_of)? })
    }

    async fn renumber(&self, mailbox: MailboxId, uidvalidity: Uidvalidity, uidnext: Uid) -> Result<(), Undone> {
        let op = Op::Renumber { account: self.account, mailbox, uidvalidity, uidnext };
        make_durable(&self.volume, Transaction { bodies: Vec::new(), ops: vec![op] }).await.map(drop)
    }

    async fn change(&self, op: Op) -> Result<Outcome, String> {
        let done = make_durable(&self.volume, Transaction { bodies: Vec::new(), ops: vec![op] }).await;
        let mut outcomes = done.map_err(|why| why.to_string())?;
        Ok(outcomes.pop().expect("one for each op"))
    }

    /// One message with all of them takes the place of the one before.
    async fn put_uidls(&self, more: Vec<(Uid, Box<str>)>) -> Result<Told, String> {
        let account = self.account;
        let mut uidls = uidls::read(&self.volume, &self.loaded).await.map_err(|why| why.to_string())?;
        uidls.add(more);
        if uidls::kept(&self.loaded).is_none() {
            let name = uidls::NAME.to_owned();
            self.change(Op::CreateMailbox { account, name, special_use: 0, subscribed: false }).await?;
        }
        let (mailbox, old) = uidls::kept(&self.loaded).ok_or("the mailbox that was made is gone")?;
        let append = Op::Append {
            account,
            mailbox,
            body: 0,
            prefix: Vec::new(),
            flags: Flags::none(),
            internal_ms: i64::try_from(shard::wall_ms()).unwrap_or(i64::MAX),
        };
        let expunge = Op::Expunge { account, mailbox, uids: old.iter().map(|message| message.uid).collect() };
        let transaction =
            Transaction { bodies: vec![Body::from(uidls.text().into_bytes())], ops: vec![append, expunge] };
        make_durable(&self.volume, transaction).await.map_err(|why| why.to_string())?;
        Ok(Told::Done)
    }

    async fn append(&self, mailbox: MailboxId, messages: Vec<Coming>, bodies: Vec<Body>) -> Result<Told, String> {
        if messages.len() != bodies.len() || messages.len() > APPEND_MESSAGES_MAX {
            return Err(format!("{} messages and {} bodies", messages.len(), bodies.len()));
        }
        if !bodies.iter().all(is_canonical) {
            return Err("a message has a bare CR or LF, or a NUL".to_owned());
        }
        let account = self.account;
        let mut next = self.look(mailbox, Mailbox::uidnext)?;
        let mut transaction = Transaction { bodies, ops: Vec::with_capacity(messages.len()) };
        for (body, coming) in messages.into_iter().enumerate() {
            let Coming { uid, flags, keywords, internal_ms, .. } = coming;
            if let Some(uid) = uid.filter(|uid| *uid > next) {
                next = uid;
                transaction.ops.push(Op::Renumber { account, mailbox, uidvalidity: Uidvalidity::Keep, uidnext: uid });
            }
            next = next.saturating_add(1);
            let flags = Flags { bits: flags & FLAGS_KNOWN, keywords: sorted(keywords) };
            transaction.ops.push(Op::Append { account, mailbox, body, prefix: Vec::new(), flags, internal_ms });
        }
        let outcomes = match make_durable(&self.volume, transaction).await {
            Err(Undone::Refused(Refused::TooLarge)) => return Ok(Told::TooLarge),
            done => done.map_err(|why| why.to_string())?,
        };
        let uid = |outcome| match outcome {
            Outcome::Appended { uid, .. } => Some(uid),
            _ => None,
        };
        Ok(Told::Appended { uids: outcomes.into_iter().filter_map(uid).collect() })
    }
}

/// All system flags there are.
const FLAGS_KNOWN: u32 = Flags::SEEN | Flags::ANSWERED | Flags::FLAGGED | Flags::DELETED | Flags::DRAFT;

fn sorted(mut keywords: Vec<Box<str>>) -> Option<Rc<Vec<Box<str>>>> {
    keywords.sort_unstable();
    keywords.dedup();
    (!keywords.is_empty()).then(|| keywords.into())
}

/// True if every line end is CRLF and there is no NUL: what is stored is sent as it is.
fn is_canonical(body: &Body) -> bool {
    let mut after_cr = false;
    for part in body.parts() {
        let mut rest = part;
        while !rest.is_empty() {
            if after_cr && rest[0] != b'\n' {
                return false;
            }
            let from = usize::from(std::mem::take(&mut after_cr));
            let Some(at) = memchr::memchr3(b'\r', b'\n', 0, &rest[from..]) else { break };
            if rest[from + at] != b'\r' {
                return false;
            }
            after_cr = true;
            rest = &rest[from + at + 1..];
        }
    }
    !after_cr
}

fn checked(name: &str) -> Result<Name, String> {
    Name::of(name).map_err(|why| format!("`{}` is no mailbox name: {why}", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(parts: &[&[u8]]) -> bool {
        let mut body = Body::default();
        // Parts of a body are as long as they are pushed here only when each fills one.
        parts.iter().for_each(|part| body.push(part));
        is_canonical(&body)
    }

    #[test]
    fn only_canonical_octets_are_stored() {
        for good in [&b""[..], b"a", b"\r\n", b"a\r\n\r\nb\r\n"] {
            assert!(canonical(&[good]), "{good:?}");
        }
        for bad in [&b"\n"[..], b"\r", b"a\r\n\n", b"a\rb", b"a\0b", b"\r\r\n"] {
            assert!(!canonical(&[bad]), "{bad:?}");
        }
        // A CRLF on the edge of two parts.
        let edge = [&[b'x'; (8 << 10) - 1][..], b"\r"].concat();
        assert!(canonical(&[&edge, b"\nmore\r\n"]));
        assert!(!canonical(&[&edge, b"more"]));
    }
}
