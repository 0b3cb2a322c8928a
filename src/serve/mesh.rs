//! What this office answers to the others. No answer here asks another office anything (DESIGN §7).

use std::rc::Rc;

use crate::admin;
use crate::intake::commit;
use crate::office::words::Talk;
use crate::office::{Office, Reply, Request};
use crate::serve::{imap, pop3};
use crate::shard;

/// Answers one request of another shard.
pub async fn answer(office: Rc<Office>, request: Request) -> Reply {
    match request {
        Request::Deliver(letter) => {
            let (fate, buffers) = commit::store_and_return(&office, *letter).await;
            Reply::Delivered { fate, buffers }
        }
        Request::Secrets { volume, account } => Reply::Secrets(office.secrets(volume, account)),
        Request::Hear(change) => {
            office.hear(change);
            Reply::Done
        }
        Request::OpenDoors => {
            office.let_doors_open();
            Reply::Done
        }
        Request::DoorsOpened => {
            office.doors_opened();
            Reply::Done
        }
        Request::Stats => Reply::Stats(office.volumes().into_iter().map(|(_, volume)| volume.stats()).collect()),
        Request::Do { volume, deeds } => admin::do_deeds(&office, volume, deeds).await,
        Request::Visit(visitor) => {
            let visitor = *visitor;
            let office = office.clone();
            match visitor.talk {
                Talk::Pop3(_) => shard::spawn("pop3", pop3::visit(office, visitor)),
                Talk::Imap(_) => shard::spawn("imap", imap::visit(office, visitor)),
            }
            Reply::Done
        }
    }
}
