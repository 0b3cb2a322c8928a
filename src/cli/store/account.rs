//! One account through a conversation with the desk: questions and changes with their answers taken apart.

use std::collections::VecDeque;
use std::rc::Rc;

use super::super::desk::{Session, strange};
use super::stopped::Stopped;
use crate::admin::{Request, Response};
use crate::office::tools::{Ask, Coming, Mailbox, Message, READ_BYTES_MAX, Told};

pub(super) struct Account<'a> {
    way: Way<'a>,
    address: String,
}

/// Where it is asked for.
pub(super) enum Way<'a> {
    Session(&'a mut Session),
    /// Only looked at.
    Stopped(Rc<Stopped>),
}

/// A message as it could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Octets(Vec<u8>),
    Gone,
    /// Why it cannot be read.
    Damaged(String),
}

/// What became of messages that were to be added.
pub(super) enum Added {
    /// Their UIDs.
    Uids(Vec<u32>),
    TooLarge,
}

impl<'a> Account<'a> {
    pub(super) fn of(way: Way<'a>, address: &str) -> Account<'a> {
        Account { way, address: address.to_owned() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The mailboxes, and what is subscribed to.
    pub(super) fn mailboxes(&mut self) -> Result<(Vec<Mailbox>, Vec<String>), String> {
        match self.ask(Ask::Mailboxes {}, &[])? {
            (Told::Mailboxes { mailboxes, subscriptions }, _) => Ok((mailboxes, subscriptions)),
            (other, _) => Err(odd(other)),
        }
    }

    /// A mailbox that is made if need be, as it is then. It has the UIDVALIDITY asked for if it could take it.
    pub(super) fn put_mailbox(
        &mut self,
        name: &str,
        uidvalidity: Option<u32>,
        subscribe: bool,
    ) -> Result<Mailbox, String> {
        match self.ask(Ask::PutMailbox { name: name.to_owned(), uidvalidity, subscribe }, &[])? {
            (Told::Mailbox { mailbox }, _) => Ok(mailbox),
            (other, _) => Err(odd(other)),
        }
    }

    pub(super) fn raise_uidnext(&mut self, mailbox: u32, uidnext: u32) -> Result<(), String> {
        self.ask(Ask::RaiseUidnext { mailbox, uidnext }, &[]).map(drop)
    }

    pub(super) fn subscribe(&mut self, name: &str) -> Result<(), String> {
        self.ask(Ask::Subscribe { name: name.to_owned() }, &[]).map(drop)
    }

    /// What POP3 was told of messages in INBOX.
    pub(super) fn put_uidls(&mut self, uidls: Vec<(u32, Box<str>)>) -> Result<(), String> {
        self.ask(Ask::PutUidls { uidls }, &[]).map(drop)
    }

    /// The messages of a mailbox above a UID, as many as one answer has, and whether there are more.
    pub(super) fn messages_above(&mut self, mailbox: u32, after: u32) -> Result<(VecDeque<Message>, bool), String> {
        match self.ask(Ask::Messages { mailbox, after }, &[])? {
            (Told::Messages { messages, more }, _) => Ok((messages.into(), more)),
            (other, _) => Err(odd(other)),
        }
    }

    /// A message whole.
    pub(super) fn read(&mut self, mailbox: u32, uid: u32, size: u64) -> Result<Content, String> {
        self.read_how(mailbox, uid, size, false)
    }

    /// A message as it lies on the disk, though it is damaged.
    pub(super) fn read_as_is(&mut self, mailbox: u32, uid: u32, size: u64) -> Result<Content, String> {
        self.read_how(mailbox, uid, size, true)
    }

    fn read_how(&mut self, mailbox: u32, uid: u32, size: u64, as_is: bool) -> Result<Content, String> {
        let mut all = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        loop {
            let offset = all.len() as u64;
            match self.ask(Ask::Read { mailbox, uid, offset, len: READ_BYTES_MAX, as_is }, &[])? {
                (Told::Octets { .. }, mut octets) => {
                    all.append(&mut octets);
                    if all.len() as u64 >= size {
                        return Ok(Content::Octets(all));
                    }
                    if all.len() as u64 == offset && as_is {
                        return Ok(Content::Octets(all));
                    }
                    if all.len() as u64 == offset {
                        return Ok(Content::Damaged(format!("it ends after {offset} of {size} octets")));
                    }
                }
                (Told::Gone, _) => return Ok(Content::Gone),
                (Told::Damaged { why }, _) => return Ok(Content::Damaged(why)),
                (other, _) => return Err(odd(other)),
            }
        }
    }

    pub(super) fn append(&mut self, mailbox: u32, messages: Vec<Coming>, octets: &[&[u8]]) -> Result<Added, String> {
        match self.ask(Ask::Append { mailbox, messages }, octets)? {
            (Told::Appended { uids }, _) => Ok(Added::Uids(uids)),
            (Told::TooLarge, _) => Ok(Added::TooLarge),
            (other, _) => Err(odd(other)),
        }
    }

    fn ask(&mut self, ask: Ask, messages: &[&[u8]]) -> Result<(Told, Vec<u8>), String> {
        let session = match &mut self.way {
            Way::Session(session) => session,
            Way::Stopped(stopped) => return stopped.ask(&self.address, &ask),
        };
        match session.ask(&Request::Store { account: self.address.clone(), ask }, messages)? {
            (Response::Store { told }, octets) => Ok((told, octets)),
            (other, _) => Err(strange(&other)),
        }
    }
}

fn odd(told: Told) -> String {
    strange(&Response::Store { told })
}
