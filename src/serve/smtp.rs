//! The receiving door: who may send what to whom, and the letter on its way to intake.
//!
//! ```text
//!   AUTH ─► the office knows the name and the password; submission asks nothing else before (A013)
//!   MAIL ─► whose sender is it? room on the disk?      RCPT ─► route: mailboxes here | nobody | relaying
//!           both, from other hosts: filters (`filters`)
//!   DATA ─► room in its volume?  a letter, signed with our trace fields      pieces ─► letter      end ─► intake ─► 250 | 4xx | 5xx | silence
//! ```

mod each;
mod filters;
mod policy;

use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use each::{Each, WhyNot};
use ringpost_storage::{AccountId, MailboxId};
use uuid::Uuid;

use crate::filter::Watch;
use crate::filter::ration::Ration;
use crate::intake::judge::Fault;
use crate::intake::mend::Mender;
use crate::intake::strip::Stripper;
use crate::intake::{self, Letter, Recipient, Verdict, Why};
use crate::limits;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::header::HeaderFault;
use crate::mail::{date, trace};
use crate::net::census::listed;
use crate::net::{Admission, Door, First, Guest, Next, Wire, pump};
use crate::observe::{self, Counter, Ledger, Measure};
use crate::office::quota::{self, OverQuota};
use crate::office::sessions::Presence;
use crate::office::{self, Expecting, Office, folder};
use crate::proto::contract::Out;
use crate::proto::sasl::{Login, Speaker};
use crate::proto::smtp::{Answer, Ask, BareNewline, Config, Helo, Reply, Role, Session, Word};
use crate::route::{Nowhere, Route, Target, route};
use crate::serve::{Doorway, Service, TlsMode};
use crate::shard::{self, Peer};

/// Talks SMTP with one client until it leaves.
pub(super) fn serve(office: Rc<Office>, door: &Doorway, mut wire: Box<Wire>) -> impl Future<Output = ()> + use<> {
    let config = Arc::new(Config {
        hostname: office.settings.hostname.clone(),
        message_bytes_max: office.settings.message_bytes_max,
        bare_newline: if office.settings.reject_bare_newlines { BareNewline::Reject } else { BareNewline::Normalise },
        privacy: wire.privacy(),
        role: match door.service {
            Service::Submission | Service::Submissions => Role::Submission,
            Service::Lmtp => Role::Lmtp,
            _ => Role::Mx,
        },
        tls_required: door.rules.tls == TlsMode::Required,
        xclient: listed(&door.rules.xclient_from, wire.peer()),
        plaintext_auth_allowed: door.plaintext_auth_allowed(&office, wire.peer()),
        keys: office.offers_keys(),
        allowed: door.mechanisms(&office),
        binds: wire.binding().is_some(),
        ..Config::default()
    });
    let is_filtered = config.role == Role::Mx;
    // A neighbour who will say whose connection it is is nobody to have an opinion of.
    let id = intake::new_id();
    let watch = if is_filtered && !config.xclient { filters::watch(&office, wire.peer(), id) } else { None };
    let strips = config.role != Role::Lmtp;
    let mut out = Out::default();
    let session = Box::new(Session::open(config, &mut out));
    let lmtp = door.service == Service::Lmtp;
    let mut door = SmtpDoor {
        each: lmtp.then(Box::default),
        told: None,
        peer: wire.peer(),
        office,
        account: None,
        presence: None,
        sender: None,
        utf8: false,
        announced: None,
        recipients: Vec::new(),
        accounts: HashSet::new(),
        known: HashSet::new(),
        paths: 0,
        only: None,
        names_followed: 0,
        id,
        ration: peer_ip(wire.peer()).map(Ration::of),
        letter: None,
        strips,
        stripper: None,
        mender: None,
        may: None,
        expecting: None,
        is_filtered,
        watch,
    };
    async move {
        if Box::pin(door.greets(&mut wire)).await {
            pump(wire, session, &mut door, First::Greeting(out.reply)).await;
        } else {
            Box::pin(wire.hang_up()).await;
        }
    }
}

struct SmtpDoor {
    office: Rc<Office>,
    peer: Peer,
    /// Who logged in: `user@domain`.
    account: Option<Box<str>>,
    /// While they are logged in.
    presence: Option<Box<Presence>>,
    sender: Option<ReversePath>,
    /// SMTPUTF8 was declared.
    utf8: bool,
    announced: Option<u64>,
    recipients: Vec<Recipient>,
    /// Their accounts.
    accounts: HashSet<AccountId>,
    /// Recipients that were accepted, as the client wrote them.
    known: HashSet<ForwardPath>,
    /// Those of them that led to somebody new.
    paths: usize,
    /// If it is one alone: this.
    only: Option<ForwardPath>,
    /// Names that this transaction's recipients led through.
    names_followed: usize,
    /// What the log and its trace fields call the letter that is coming, or comes next.
    id: Uuid,
    /// Lines of the log for what is refused.
    ration: Option<Ration>,
    letter: Option<Box<Letter>>,
    /// A neighbour may speak in our name.
    strips: bool,
    /// What takes out of a letter what is ours alone to say.
    stripper: Option<Stripper>,
    /// What makes a letter of a login whole.
    mender: Option<Mender>,
    /// How much the login may send with this transaction.
    may: Option<policy::May>,
    /// What was announced, while it comes.
    expecting: Option<Expecting>,
    /// The place of the client that a neighbour spoke of.
    told: Option<Guest>,
    /// By LMTP: who is to hear what.
    each: Option<Box<Each>>,
    /// Other hosts bring mail here.
    is_filtered: bool,
    /// What filters think of the client; `None`: they are not asked.
    watch: Option<Box<Watch>>,
}

impl Door for SmtpDoor {
    type Session = Session;
    const LEDGER: Ledger = Ledger::SMTP;

    /// All lines of a reply have its code (RFC 5321 §4.2.1).
    fn class(reply: &[u8]) -> Option<Counter> {
        Some(match reply.first()? {
            b'2' => Counter::Smtp2xx,
            b'3' => Counter::Smtp3xx,
            b'4' => Counter::Smtp4xx,
            b'5' => Counter::Smtp5xx,
            _ => return None,
        })
    }

    fn body(&mut self, bytes: &[u8]) {
        let (Some(letter), Some(stripper)) = (&mut self.letter, &mut self.stripper) else { return };
        match &mut self.mender {
            Some(mender) => stripper.take(bytes, &mut |kept| mender.take(kept, &mut |octets| letter.push(octets))),
            None => stripper.take(bytes, &mut |octets| letter.push(octets)),
        }
    }

    fn is_full(&self) -> bool {
        self.letter.as_ref().is_some_and(|letter| letter.is_full())
    }

    async fn put_away(&mut self) {
        if let Some(letter) = &mut self.letter {
            letter.put_away(&self.office).await;
            if let Some(expecting) = &mut self.expecting {
                expecting.is_there(letter.body.len() - letter.body.in_memory());
            }
        }
    }

    fn handshake_place(&self, peer: Peer) -> Option<Guest> {
        self.office.handshake_place(peer)
    }

    fn is_over(&self) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.is_over())
    }

    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.presence.as_ref().map_or(Poll::Pending, |presence| presence.poll_over(cx))
    }

    async fn answer(&mut self, ask: Ask, wire: &mut Wire) -> Next<Answer> {
        Next::Answer(match ask {
            Ask::Login(login) => self.login(login, wire).await,
            Ask::Keys(name) => match self.office.keys(wire, &name).await {
                office::Keys::Known(known) => Answer::Keys(known),
                office::Keys::TooMany => Answer::No(Word::TooManyLogins.reply()),
                office::Keys::Unavailable => Answer::No(Word::LoginLater.reply()),
            },
            Ask::Client { address, port } => self.client(address, port, wire),
            Ask::Mail { helo, sender, size, utf8, .. } => self.mail(&helo, sender, size, utf8).await,
            Ask::Rcpt { recipient } => self.rcpt(recipient).await,
            Ask::Data { helo, authenticated, .. } => self.data(&helo, authenticated, wire).await,
            Ask::Done { .. } => self.done().await,
            Ask::Reset => {
                if let Some(letter) = self.letter.as_ref().filter(|_| self.may_say()) {
                    let id = letter.id.simple().to_string();
                    tracing::info!(id, peer = %self.peer, "dropped: refused for what it is, or taken back");
                }
                self.forget();
                Answer::Yes
            }
        })
    }
}

impl SmtpDoor {
    fn forget(&mut self) {
        self.sender = None;
        self.recipients.clear();
        (self.accounts, self.known) = (HashSet::new(), HashSet::new());
        (self.paths, self.only) = (0, None);
        self.names_followed = 0;
        if self.letter.take().is_some() {
            self.next_letter();
        }
        self.mender = None;
        self.may = None;
        self.expecting = None;
        if let Some(each) = &mut self.each {
            **each = Each::default();
        }
    }

    /// The name of the letter that was begun is not given again.
    fn next_letter(&mut self) {
        self.id = intake::new_id();
        if let Some(watch) = &mut self.watch {
            watch.next_is(self.id);
        }
    }

    /// True if the log has a line left for what this connection is refused.
    fn may_say(&self) -> bool {
        self.ration.as_ref().is_none_or(Ration::may_say)
    }

    /// The letters of an account that lives on another shard are taken here all the same.
    async fn login(&mut self, login: Login, wire: &Wire) -> Answer {
        let (name, began): (Box<str>, _) = match self.office.login(wire, Speaker::Smtp, login).await {
            office::Login::Here(resident) => ((*resident.name).into(), resident.began),
            office::Login::There(_, arrival) => (arrival.name.into(), arrival.began),
            office::Login::TooMany => return Answer::No(Word::TooManyLogins.reply()),
            office::Login::Wrong => return Answer::No(Word::BadLogin.reply()),
            office::Login::Busy | office::Login::Unavailable => return Answer::No(Word::LoginLater.reply()),
        };
        self.presence = Some(self.office.sessions.enter(wire, Speaker::Smtp, &name, began).into());
        self.account = Some(name);
        Answer::Yes
    }

    /// The connection is somebody else's: he counts for all bounds as if he had come himself.
    fn client(&mut self, address: Option<IpAddr>, port: Option<u16>, wire: &mut Wire) -> Answer {
        self.account = None;
        let Some(address) = address else { return Answer::Yes };
        let client = Peer::Net((address, port.unwrap_or(0)).into());
        if super::is_banned(&self.office, client) {
            return no(421, (4, 7, 0), "Access denied, closing");
        }
        self.told = None;
        match self.office.census.admit(client, &self.office.settings.exempt_networks) {
            Admission::Welcome(guest) => self.told = Some(guest),
            Admission::TooManyFromAddress => {
                return no(421, (4, 7, 0), "Too many connections from your address, try again later");
            }
            Admission::TooMany => return no(421, (4, 3, 2), "Too many connections, try again later"),
        }
        tracing::debug!(neighbour = %self.peer, peer = %client, "XCLIENT");
        self.peer = client;
        wire.set_peer(client);
        super::enlist(&self.office, wire);
        if self.is_filtered {
            self.watch = filters::watch(&self.office, client, self.id);
        }
        Answer::Yes
    }

    async fn mail(&mut self, helo: &Helo, sender: ReversePath, size: Option<u64>, utf8: bool) -> Answer {
        self.forget();
        if let Some(refused) = self.may_begin(helo, &sender) {
            return refused;
        }
        if let Some(refused) = self.may_send_now().await {
            return refused;
        }
        if let Some(refused) = self.judge_sender(helo, &sender).await {
            return refused;
        }
        if self.office.all_failed() {
            return no(421, (4, 3, 2), "No mailbox can be written now, closing");
        }
        if !self.office.has_memory() {
            return later(Why::TooMuch);
        }
        if !self.office.has_room(self.peer, size) {
            return later(Why::DiskFull);
        }
        self.sender = Some(sender);
        self.utf8 = utf8;
        self.announced = size;
        Answer::Yes
    }

    async fn rcpt(&mut self, recipient: ForwardPath) -> Answer {
        // By LMTP each has a verdict of its own.
        if self.each.is_none() && self.known.contains(&recipient) {
            return Answer::Yes;
        }
        if let Some(refused) = self.may_have_another() {
            return refused;
        }
        if self.names_followed > limits::NAMES_FOLLOWED_MAX {
            return no(452, (4, 5, 3), "Too many mailboxes for one message, send it again to the rest");
        }
        let volumes = usize::from(self.office.volume_count());
        let (way, names) = self.office.directory(|d| route(&recipient, d, volumes, shard::wall_ms()));
        self.names_followed += names;
        if names > limits::NAMES_AT_ONCE {
            // A list is long, and there are others on this shard.
            futures_lite::future::yield_now().await;
        }
        let mut targets = match way {
            Route::Mailboxes(targets) => targets,
            Route::Nowhere(Nowhere::Elsewhere) if is_literal(&recipient) => {
                return no(550, (5, 1, 2), "Address literals are not served here");
            }
            Route::Nowhere(why) => return nowhere(why),
        };
        if let Some(refused) = self.judge_recipient(&recipient) {
            return refused;
        }
        if let Some(refused) = self.greylist(&recipient).await {
            return refused;
        }
        let asked = targets.iter().map(|target| target.home.account).collect();
        if self.recipients.is_empty() {
            targets.extend(self.journals_of_sender());
        }
        match self.add(targets).await {
            Ok(fresh) => {
                if fresh > 0 {
                    self.paths += 1;
                    self.only = (self.paths == 1).then(|| recipient.clone());
                }
                self.known.insert(recipient);
                if let Some(each) = &mut self.each {
                    each.accept(asked);
                }
                Answer::Yes
            }
            Err(refused) => refused,
        }
    }

    /// Takes all of these as recipients, or none. How many are new; or why not.
    async fn add(&mut self, targets: Vec<Target>) -> Result<usize, Answer> {
        let mut fresh: Vec<Recipient> = Vec::new();
        let added = self.gather(targets, &mut fresh).await;
        if let Err(refused) = added {
            fresh.iter().for_each(|r| _ = self.accounts.remove(&r.home.account));
            return Err(refused);
        }
        let count = fresh.len();
        self.recipients.append(&mut fresh);
        Ok(count)
    }

    async fn gather(&mut self, targets: Vec<Target>, fresh: &mut Vec<Recipient>) -> Result<(), Answer> {
        for Target { name, home, folder } in targets {
            if self.accounts.contains(&home.account) {
                continue;
            }
            if self.recipients.len() + fresh.len() >= limits::MAILBOXES_MAX {
                return Err(no(452, (4, 5, 3), "Too many mailboxes for one message, send it again to the rest"));
            }
            if self.office.has_failed(home.volume) {
                return Err(later(Why::VolumeFailed));
            }
            if !quota::has_room(&self.office, home, self.announced.unwrap_or(0)).await {
                return Err(Answer::No(self.over_quota()));
            }
            let mailbox = match folder {
                Some(wanted) => folder::folder(&self.office, home, wanted).await,
                None => MailboxId::INBOX,
            };
            self.accounts.insert(home.account);
            fresh.push(Recipient { name, home, mailbox });
        }
        Ok(())
    }

    fn over_quota(&self) -> Reply {
        match self.office.settings.over_quota {
            OverQuota::Defer => not_now(Why::OverQuota),
            OverQuota::Reject => Reply::new(552, (5, 2, 2), "The mailbox is full"),
        }
    }

    async fn data(&mut self, helo: &Helo, authenticated: bool, wire: &Wire) -> Answer {
        if self.sender.is_none() || self.recipients.is_empty() {
            return no(503, (5, 5, 1), "Valid RCPT command must precede DATA");
        };
        if let Some(refused) = self.is_suspended() {
            return refused;
        }
        let volume = intake::deciding_volume(&self.office, &self.recipients);
        self.expecting = self.office.expect(volume, self.peer, self.announced);
        if self.expecting.is_none() {
            return later(Why::DiskFull);
        }
        if let Some(refused) = self.counts().await {
            self.expecting = None;
            return refused;
        }
        let Some(sender) = self.sender.as_ref() else { unreachable!("it was there a moment ago") };
        let recipients = std::mem::take(&mut self.recipients);
        let mut letter = Letter::with_id(self.id, &self.office, self.peer, recipients, self.announced.unwrap_or(0));
        let mut fields = Vec::with_capacity(512);
        trace::return_path(&mut fields, sender);
        let id = letter.id.simple().to_string();
        trace::Received {
            helo: &helo.name,
            extended: helo.extended,
            lmtp: self.each.is_some(),
            utf8: self.utf8,
            tls: wire.agreed().map(|agreed| trace::Secured { version: agreed.version, cipher: agreed.cipher }),
            authenticated,
            peer: peer_ip(self.peer),
            host: &self.office.settings.hostname,
            id: &id,
            recipient: self.only.as_ref(),
            now_ms: letter.received_ms,
        }
        .write(&mut fields);
        if let Some(watch) = &self.watch {
            watch.tag(&mut fields);
        }
        letter.sign(&fields);
        self.stripper = Some(Stripper::new(self.strips.then_some(&*self.office.settings.hostname)));
        self.mender = self.account.is_some().then(|| {
            let message_id = format!("{id}@{}", self.office.settings.hostname);
            Mender::new(&date::rfc5322(letter.received_ms), &message_id).with_authors()
        });
        self.letter = Some(Box::new(letter));
        Answer::Yes
    }

    async fn done(&mut self) -> Answer {
        let Some(mut letter) = self.letter.take() else {
            return no(503, (5, 5, 1), "No message was begun");
        };
        self.next_letter();
        match (self.stripper.take(), self.mender.take()) {
            (Some(mut stripper), Some(mut mender)) => {
                stripper.end(&mut |kept| mender.take(kept, &mut |octets| letter.push(octets)));
                mender.end(&mut |octets| letter.push(octets));
                if let Some(refused) = self.wrote_as_another(&mender) {
                    self.forget();
                    return refused;
                }
            }
            (Some(mut stripper), None) => stripper.end(&mut |octets| letter.push(octets)),
            (None, _) => {}
        }
        let mut whys = Vec::new();
        if let Some(each) = &self.each {
            whys = each.sift(&self.office, &mut letter).await;
            if whys.iter().all(Option::is_some) {
                let refused = self.each_hears(&whys, &not_now(Why::AccountGone));
                self.forget();
                return refused;
            }
        }
        let id = letter.id.simple().to_string();
        let (octets, copies) = (letter.body.len(), letter.recipients.len());
        let to = letter.recipients[0].name.clone();
        let began = shard::now();
        let verdict = intake::accept(&self.office, *letter).await;
        let took = shard::now().since(began);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let from = self.sender.as_ref().map_or("", ReversePath::as_str);
        let account = self.account.as_deref().unwrap_or("");
        match &verdict {
            Verdict::Stored => {
                if let Some(watch) = &mut self.watch {
                    watch.accepted();
                }
                self.ration.iter().for_each(Ration::refill);
                observe::took(Measure::MessageAccept, took);
                tracing::info!(id, peer = %self.peer, account, from, to, copies, octets, took_us, "stored");
            }
            other if self.may_say() => {
                tracing::warn!(id, peer = %self.peer, account, from, to, copies, octets, took_us, verdict = ?other, "not stored")
            }
            _ => {}
        }
        let heard = match verdict {
            Verdict::Stored if whys.iter().all(Option::is_none) => Answer::Queued { id },
            Verdict::Stored => self.each_hears(&whys, &Reply::new(250, (2, 0, 0), format!("Ok: queued as {id}"))),
            Verdict::Unacceptable(fault) => unacceptable(fault),
            Verdict::Later(why) => later(why),
            Verdict::Unknown => Answer::Close,
        };
        self.forget();
        heard
    }

    /// By LMTP: who cannot have the letter hears why, and the others hear this.
    fn each_hears(&self, whys: &[Option<WhyNot>], others: &Reply) -> Answer {
        let refusal = |why| match why {
            WhyNot::Later(Why::OverQuota) => self.over_quota(),
            WhyNot::Later(why) => not_now(why),
            WhyNot::Loop => looping(),
        };
        Answer::Each(each::replies(whys, others, refusal))
    }
}

fn no(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Answer {
    Answer::No(Reply::new(code, enhanced, text))
}

/// A host by its number (A030), and nothing in front of it that names another one.
fn is_literal(recipient: &ForwardPath) -> bool {
    matches!(recipient, ForwardPath::Address(at) if at.literal().is_some() && !at.has_relay_trick())
}

fn nowhere(why: Nowhere) -> Answer {
    match why {
        Nowhere::Nobody => no(550, (5, 1, 1), "No such user here"),
        Nowhere::Elsewhere => no(550, (5, 7, 1), "Relaying denied"),
        Nowhere::Denied => no(550, (5, 7, 1), "Access denied"),
        Nowhere::Loop => no(550, (5, 4, 6), "That address leads to itself"),
        Nowhere::TooMany => no(550, (5, 5, 3), "That address leads to too many mailboxes"),
        Nowhere::AskAgain => no(451, (4, 3, 0), "The directory is not complete yet, try again later"),
    }
}

fn unacceptable(fault: Fault) -> Answer {
    match fault {
        Fault::TooLarge => no(552, (5, 3, 4), "Message too large"),
        Fault::Header(HeaderFault::FieldTooLong | HeaderFault::HeaderTooLong) => {
            no(552, (5, 3, 4), "Message header too large")
        }
        Fault::Header(HeaderFault::TooManyFields) => no(550, (5, 6, 0), "Too many header fields"),
        Fault::Header(HeaderFault::Loop) | Fault::SeenBefore => Answer::No(looping()),
    }
}

fn looping() -> Reply {
    Reply::new(554, (5, 4, 6), "Mail is looping")
}

fn later(why: Why) -> Answer {
    Answer::No(not_now(why))
}

fn not_now(why: Why) -> Reply {
    let no = |code, enhanced, text: &'static str| Reply::new(code, enhanced, text);
    match why {
        Why::DiskFull => no(452, (4, 3, 1), "Insufficient system storage, try again later"),
        Why::VolumeFailed => no(451, (4, 3, 0), "The mailbox cannot be written now, try again later"),
        Why::TooMuch => no(452, (4, 3, 1), "Too much mail is on its way in, try again later"),
        Why::Busy => no(451, (4, 3, 2), "Too busy, try again later"),
        Why::OverQuota => no(452, (4, 2, 2), "A mailbox is full, try again later"),
        Why::MailboxFull => no(452, (4, 2, 2), "A mailbox is full, try again later"),
        Why::AccountGone => no(450, (4, 2, 1), "A mailbox went away meanwhile, try again later"),
    }
}

fn peer_ip(peer: Peer) -> Option<std::net::IpAddr> {
    match peer {
        Peer::Net(a) => Some(a.ip()),
        Peer::Local => None,
    }
}
