//! Where filters are asked in a conversation, and what is said for them. Only where other hosts bring mail.

use uuid::Uuid;

use super::SmtpDoor;
use super::policy::spelt;
use crate::directory::Directory;
use crate::directory::catalogue::Table;
use crate::filter::Watch;
use crate::filter::greylist::Asked;
use crate::filter::watch::Mail;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::net::Wire;
use crate::office::{self, Office, Request};
use crate::proto::smtp::{Answer, Helo};
use crate::shard::{self, Peer};

/// What is thought of this client from now on, where the letter that he may bring is called `id`; `None`: nobody asks, or the operator lets him in by the table of clients.
pub(super) fn watch(office: &Office, peer: Peer, id: Uuid) -> Option<Box<Watch>> {
    let Peer::Net(at) = peer else { return None };
    let watch = office.filters.watch(peer, id)?;
    let access = |d: &Directory| d.rules().client(at.ip(), shard::wall_ms()).is_some_and(|access| !access.deny);
    if office.directory(access) { None } else { Some(watch) }
}

/// True if the operator lets this sender in, or who introduces himself so.
fn is_let_in(office: &Office, helo: &Helo, sender: &ReversePath) -> bool {
    let now_ms = shard::wall_ms();
    let from = sender.address().map(spelt);
    office.directory(|d| {
        let by_helo = d.rules().host(Table::Helo, &helo.name, now_ms);
        let by_sender = from.and_then(|from| d.rules().address(Table::Sender, &from, now_ms));
        [by_helo, by_sender].into_iter().flatten().any(|access| !access.deny)
    })
}

impl SmtpDoor {
    /// Puts the greeting off, if there is a filter that wants it. False: who spoke meanwhile was told so, and is to be let go.
    pub(super) async fn greets(&mut self, wire: &mut Wire) -> bool {
        let Some(watch) = &mut self.watch else { return true };
        let filters = &self.office.filters;
        if !watch.is_to_wait(filters) {
            return true;
        }
        let settings = filters.settings.pregreet;
        if settings.teaser {
            let line = format!("220-{} A moment, please\r\n", self.office.settings.hostname);
            wire.queue().extend_from_slice(line.as_bytes());
            if wire.flush().await.is_err() {
                return false;
            }
        }
        if !settings.wait.is_zero() {
            shard::sleep(settings.wait).await;
        }
        let Some(reply) = watch.greet(filters, wire.has_unread()) else { return true };
        reply.write(wire.queue());
        false
    }

    /// At MAIL. `Some`: what is said instead of yes.
    pub(super) async fn judge_sender(&mut self, helo: &Helo, sender: &ReversePath) -> Option<Answer> {
        let watch = self.watch.as_mut()?;
        watch.begin(is_let_in(&self.office, helo, sender));
        let is_ours = match sender {
            ReversePath::Address(address) => self.office.directory(|d| d.has_domain(address.domain())),
            ReversePath::Null => false,
        };
        let Office { filters, resolver, settings, .. } = &*self.office;
        let mail = Mail { helo: &helo.name, sender, is_ours, host: &settings.hostname };
        // Boxed: who waits for DNS takes its room for so long, and the others none.
        Box::pin(watch.mail(filters, resolver, mail)).await.map(Answer::No)
    }

    /// At RCPT, of a recipient who is here: what was found before.
    pub(super) fn judge_recipient(&self, recipient: &ForwardPath) -> Option<Answer> {
        self.watch.as_ref()?.rcpt(recipient).map(Answer::No)
    }

    /// Of a recipient who is here and hears of nothing that was found before: has this letter waited?
    pub(super) async fn greylist(&mut self, recipient: &ForwardPath) -> Option<Answer> {
        let sender = self.sender.as_ref()?;
        let asked: Asked = self.watch.as_ref()?.greylist(&self.office.filters, sender, recipient)?;
        let home = asked.network.home(self.office.shard_count());
        let said = match self.office.mesh.call(home, Request::Greylist(asked), 0).await {
            Ok(office::Reply::Greylisted(said)) => Some(said),
            Ok(_) | Err(_) => None,
        };
        let from = sender.as_str();
        self.watch.as_mut()?.greylisted(&self.office.filters, said, from).map(Answer::No)
    }
}
