//! What one session's client is thought of: filters asked at their stage, once, and their opinions kept until they are said.
//!
//! Of the connection are the opinions of `pregreet` and `dnsbl`, of a name in EHLO that of `helo`, of a transaction that of
//! `sender_domain`; `greylist` has one for each recipient, which is said at once and not kept.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_lite::future::zip;
use uuid::Uuid;

use super::dnsbl::{self, Weighed};
use super::greylist::{Asked, Said};
use super::helo::{Form, Look, look};
use super::mode::{Finding, Mode, Verdict};
use super::ration::Ration;
use super::sender_domain::Domain;
use super::{Filter, Filters, Network, RefuseAt, pregreet, questions};
use crate::dns::{Name, Resolver};
use crate::limits::FILTER_QUESTIONS_MAX;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::observe::{self, Counter};
use crate::proto::smtp::Reply;
use crate::shard;

/// One session's client.
pub struct Watch {
    ip: IpAddr,
    /// What the log and its trace fields call the letter that he brings, or may bring next.
    id: Uuid,
    ration: Ration,
    opinions: BTreeMap<Filter, Opinion>,
    /// The name that `helo` has an opinion of.
    helo: Box<str>,
    /// What the lists say together.
    score: i32,
    /// Asked of DNS since the last letter that was accepted.
    questions: u32,
    /// The operator lets this sender in, or who introduces himself so: nothing is asked in this transaction.
    waived: bool,
}

struct Opinion {
    verdict: Verdict,
    reply: Option<Reply>,
    /// What was found.
    why: String,
}

/// What is known at MAIL.
pub struct Mail<'a> {
    /// The name in EHLO.
    pub helo: &'a str,
    /// Where bounces go.
    pub sender: &'a ReversePath,
    /// The sender's domain is one of ours.
    pub is_ours: bool,
    /// Our own name.
    pub host: &'a str,
}

impl Watch {
    pub(super) fn new(ip: IpAddr, id: Uuid) -> Watch {
        let ip = ip.to_canonical();
        Watch {
            ip,
            id,
            ration: Ration::of(ip),
            opinions: BTreeMap::new(),
            helo: "".into(),
            score: 0,
            questions: 0,
            waived: false,
        }
    }

    /// The letter that was meant is done; the next is called so.
    pub fn next_is(&mut self, id: Uuid) {
        self.id = id;
    }

    /// A transaction begins; `waived`: the operator lets it in whatever filters find.
    pub fn begin(&mut self, waived: bool) {
        self.waived = waived;
    }

    /// True if the greeting is to be put off for this client.
    #[must_use]
    pub fn is_to_wait(&self, filters: &Filters) -> bool {
        let waited = || filters.waited.borrow().knows(Network::of(self.ip), now_s());
        filters.settings.pregreet.mode.is_on() && !waited()
    }

    /// The greeting is due: who spoke before it is told this, and then the connection closes; `None`: he is greeted.
    pub fn greet(&mut self, filters: &Filters, spoke: bool) -> Option<Reply> {
        let finding = pregreet::judge(spoke);
        if finding.is_none() {
            filters.waited.borrow_mut().note(Network::of(self.ip), now_s());
        }
        let mode = filters.settings.pregreet.mode;
        let reply = self.conclude(Filter::Pregreet, mode, finding, "");
        // 450 would be an answer to a command; there was none yet.
        reply.map(|reply| if reply.is_permanent() { reply } else { Reply { code: 421, ..reply } })
    }

    /// Asks what there is to ask at MAIL. `Some`: what is said instead of yes.
    pub async fn mail(&mut self, filters: &Filters, resolver: &Resolver, mail: Mail<'_>) -> Option<Reply> {
        if self.waived {
            return None;
        }
        if self.questions >= FILTER_QUESTIONS_MAX {
            return Some(Reply::new(421, (4, 7, 0), "Too many names to look up, closing"));
        }
        self.opinions.remove(&Filter::SenderDomain);
        let settings = &filters.settings;
        let lists = settings.dnsbl.mode.is_on() && !self.opinions.contains_key(&Filter::Dnsbl);
        let helo = settings.helo.any_on() && !(self.opinions.contains_key(&Filter::Helo) && *self.helo == *mail.helo);
        let from = mail.sender.as_str();
        let (weighed, (name, domain)) = zip(
            self.lists(lists, filters, resolver),
            zip(self.name(helo, filters, resolver, &mail), self.domain(filters, resolver, &mail)),
        )
        .await;
        if let Some((weighed, finding)) = weighed {
            let asked = u32::try_from(settings.dnsbl.sites.len()).unwrap_or(u32::MAX);
            self.questions = self.questions.saturating_add(asked);
            observe::add(Counter::FilterListsFailed, weighed.failed as u64);
            self.score = weighed.score;
            if finding.is_none() && weighed.failed > 0 {
                self.could_not_tell(Filter::Dnsbl, None, &format!("{} lists did not answer", weighed.failed));
            } else {
                self.conclude(Filter::Dnsbl, settings.dnsbl.mode, finding, from);
            }
        }
        if helo {
            self.helo = mail.helo.into();
            self.questions += u32::from(settings.helo.of(Form::Unknown).is_on());
            match name {
                Some(Some(form)) => {
                    observe::count(form.counter());
                    self.conclude(Filter::Helo, settings.helo.of(form), Some(form.finding(mail.helo)), from);
                }
                Some(None) => _ = self.conclude(Filter::Helo, Mode::DryRun, None, from),
                None => self.could_not_tell(Filter::Helo, None, &format!("no answer about {}", mail.helo)),
            }
        }
        if let Some((name, domain)) = domain {
            self.questions += 1;
            self.know(settings.sender_domain, domain, &name, from);
        }
        (settings.refuse_at == RefuseAt::Mail).then(|| self.refusal()).flatten()
    }

    /// What is said to a recipient for what was found before.
    #[must_use]
    pub fn rcpt(&self, recipient: &ForwardPath) -> Option<Reply> {
        if self.waived || is_reserved(recipient) { None } else { self.refusal() }
    }

    /// What greylisting is to be asked about this recipient; `None`: nothing.
    #[must_use]
    pub fn greylist(&self, filters: &Filters, sender: &ReversePath, recipient: &ForwardPath) -> Option<Asked> {
        // Lists that are for him vouch that he would come again.
        if self.waived || !filters.settings.greylist.mode.is_on() || self.score < 0 || is_reserved(recipient) {
            return None;
        }
        Some(Asked::about(Network::of(self.ip), sender.as_str(), recipient.as_str()))
    }

    /// What it says. `None`: the shard that knows cannot be asked.
    pub fn greylisted(&mut self, filters: &Filters, said: Option<Said>, from: &str) -> Option<Reply> {
        let Some(said) = said else {
            self.could_not_tell(Filter::Greylist, None, "its shard does not answer");
            return None;
        };
        let reply = self.conclude(Filter::Greylist, filters.settings.greylist.mode, said.finding(), from);
        self.opinions.remove(&Filter::Greylist);
        reply
    }

    /// A letter was accepted: the budget begins anew.
    pub fn accepted(&mut self) {
        self.questions = 0;
        self.ration.refill();
    }

    /// Writes a header field for each filter that tags the letter.
    pub fn tag(&self, fields: &mut Vec<u8>) {
        let tags = |opinion: &Opinion| opinion.verdict == Verdict::Tag && !self.waived;
        for (filter, opinion) in self.opinions.iter().filter(|(_, opinion)| tags(opinion)) {
            let field = format!("X-Ringpost-Filter: {}; {}\r\n", filter.row().name, opinion.why);
            fields.extend_from_slice(field.as_bytes());
        }
    }

    /// What the lists say together, and what is found from it. `None`: they are not asked.
    async fn lists(&self, wanted: bool, filters: &Filters, resolver: &Resolver) -> Option<(Weighed, Option<Finding>)> {
        let settings = &filters.settings.dnsbl;
        if !wanted || !(settings.ask_local || dnsbl::is_public(self.ip)) {
            return None;
        }
        let (began, wait) = (shard::now(), filters.settings.wait);
        let answers = questions::lists(resolver, &settings.sites, self.ip, wait).await;
        let said = settings.sites.iter().zip(&answers).map(|(site, (answer, _))| dnsbl::said(site, answer.as_ref()));
        let said: Vec<dnsbl::Said> = said.collect();
        filters.told(said.iter().zip(&answers).map(|(said, (_, took))| (*said, *took)));
        let weighed = dnsbl::weigh(&settings.sites, said);
        let finding = weighed.finding(settings, self.ip, None);
        let heaviest = weighed.heaviest(&settings.sites).filter(|_| finding.is_some());
        let text = match (heaviest, settings.mode) {
            (Some(n), Mode::Defer | Mode::Reject) => {
                let left = wait.saturating_sub(shard::now().since(began));
                let name = settings.sites[n].name_of(self.ip);
                let text = questions::in_time(left, resolver.lookup_txt(&name)).await;
                text.and_then(|text| text.found().and_then(|found| found.records.first().cloned()))
            }
            _ => None,
        };
        let finding = if text.is_some() { weighed.finding(settings, self.ip, text.as_deref()) } else { finding };
        Some((weighed, finding))
    }

    /// What is wrong with the name in EHLO: `Some(None)`: nothing; `None`: DNS does not say.
    async fn name(
        &self,
        wanted: bool,
        filters: &Filters,
        resolver: &Resolver,
        mail: &Mail<'_>,
    ) -> Option<Option<Form>> {
        if !wanted {
            return Some(None);
        }
        let settings = filters.settings.helo;
        match look(mail.helo, self.ip, mail.host) {
            Look::Wrong(form) if settings.of(form).is_on() => Some(Some(form)),
            Look::Ask(name) if settings.of(Form::Unknown).is_on() => {
                let asked = questions::is_unknown(resolver, &name);
                let unknown = questions::in_time(filters.settings.wait, asked).await.flatten()?;
                Some(unknown.then_some(Form::Unknown))
            }
            Look::Fine | Look::Wrong(_) | Look::Ask(_) => Some(None),
        }
    }

    /// How the sender's domain is to be reached; `None`: nobody asks.
    async fn domain(&self, filters: &Filters, resolver: &Resolver, mail: &Mail<'_>) -> Option<(String, Domain)> {
        let ReversePath::Address(address) = mail.sender else { return None };
        if !filters.settings.sender_domain.mode.is_on() || mail.is_ours || address.literal().is_some() {
            return None;
        }
        let said = address.domain().to_owned();
        let Ok(name) = Name::parse(&said) else { return Some((said, Domain::None)) };
        let domain = questions::in_time(filters.settings.wait, questions::domain(resolver, &name)).await;
        Some((said, domain.unwrap_or(Domain::Failed)))
    }

    fn know(&mut self, settings: super::sender_domain::Settings, domain: Domain, name: &str, from: &str) {
        let finding = domain.finding(name);
        match (domain, finding) {
            (Domain::Failed, Some(finding)) => {
                let refuses = matches!(settings.mode, Mode::Defer | Mode::Reject) && !settings.accept_on_failure;
                let reply = refuses.then_some(finding.reply);
                self.could_not_tell(Filter::SenderDomain, reply, &finding.why);
            }
            (_, finding) => _ = self.conclude(Filter::SenderDomain, settings.mode, finding, from),
        }
    }

    /// Counts, logs and keeps what a filter thinks.
    fn conclude(&mut self, filter: Filter, mode: Mode, finding: Option<Finding>, from: &str) -> Option<Reply> {
        let (verdict, reply) = finding.as_ref().map_or((Verdict::Pass, None), |finding| finding.under(mode));
        let row = filter.row();
        observe::count(row.counter(verdict));
        let why = finding.map(|finding| finding.why).unwrap_or_default();
        if verdict != Verdict::Pass && self.ration.may_say() {
            let (id, verdict) = (self.id.simple(), verdict.word());
            tracing::info!(target: "filter", %id, peer = %self.ip, filter = row.name, verdict, from, why, "found");
        }
        self.opinions.insert(filter, Opinion { verdict, reply: reply.clone(), why });
        reply
    }

    fn could_not_tell(&mut self, filter: Filter, reply: Option<Reply>, why: &str) {
        let row = filter.row();
        observe::count(row.counter(Verdict::Error));
        if self.ration.may_say() {
            let id = self.id.simple();
            tracing::info!(target: "filter", %id, peer = %self.ip, filter = row.name, verdict = "error", why, "could not tell");
        }
        self.opinions.insert(filter, Opinion { verdict: Verdict::Error, reply, why: String::new() });
    }

    /// The worst that was found.
    fn refusal(&self) -> Option<Reply> {
        let replies = || self.opinions.values().filter_map(|opinion| opinion.reply.as_ref());
        replies().find(|reply| reply.is_permanent()).or_else(|| replies().next()).cloned()
    }
}

/// True for those who hear from everybody, in any domain of ours (RFC 5321 §4.5.1, RFC 2142 §4).
fn is_reserved(recipient: &ForwardPath) -> bool {
    match recipient {
        ForwardPath::Postmaster => true,
        ForwardPath::Address(address) => {
            ["postmaster", "abuse"].iter().any(|name| address.local().eq_ignore_ascii_case(name))
        }
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now_s() -> u32 {
    u32::try_from(shard::wall_ms() / 1_000).unwrap_or(u32::MAX)
}
