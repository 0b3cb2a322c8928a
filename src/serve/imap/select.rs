//! SELECT, EXAMINE and CLOSE: entering a mailbox and leaving it.

use ringpost_storage::{Flags, Mailbox, MailboxId, Modseq};

use super::keywords::Keywords;
use super::{Done, Door, End, look};
use crate::mailbox::view::View;
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, FlagList, No, Select, response};

/// Flags that clients may set.
const SETTABLE: u32 = FlagList::SEEN | FlagList::ANSWERED | FlagList::FLAGGED | FlagList::DELETED | FlagList::DRAFT;

struct Entered {
    view: View,
    keywords: Vec<Box<str>>,
    unseen: Option<u32>,
    uidnext: u32,
    uidvalidity: u32,
    modseq: Modseq,
}

impl Door {
    pub(super) async fn select(&mut self, select: &Select, wire: &mut Wire) -> Done {
        // The one that was selected is left, also when the new one cannot be entered (RFC 9051 §6.3.2).
        self.view = None;
        let id = self.named(&select.mailbox).ok_or(No::NonExistent)?;
        let entered = look(self.who(), id, |mailbox| enter(mailbox, id, select.read_only))?;
        let out = wire.queue();
        response::flags(out, SETTABLE, &entered.keywords);
        response::exists(out, entered.view.len());
        response::recent(out, 0);
        if let Some(sequence) = entered.unseen {
            response::unseen(out, sequence);
        }
        if select.read_only {
            response::permanent_flags(out, 0, &[], false);
        } else {
            response::permanent_flags(out, SETTABLE, &entered.keywords, true);
        }
        response::uid_next(out, entered.uidnext);
        response::uid_validity(out, entered.uidvalidity);
        response::highest_modseq(out, entered.modseq);
        wire.relieve().await?;
        self.view = Some(entered.view);
        Ok(Answer::Selected { read_only: select.read_only })
    }

    pub(super) async fn close(&mut self, expunge: bool) -> Done {
        if expunge && self.view.is_some() {
            match self.expunge(None).await {
                // A mailbox that went away under its session has nothing to expunge.
                Ok(_) | Err(End::Answer(Answer::No(No::NonExistent))) => {}
                // *Liberty*: RFC 9051 §6.4.1 knows no NO to CLOSE. An OK would say that what was marked is gone; so nothing is
                // left here, and who wants to go without the expunge says UNSELECT or selects another.
                not_done => return not_done,
            }
        }
        self.view = None;
        Ok(Answer::Done)
    }
}

fn enter(mailbox: &Mailbox, id: MailboxId, read_only: bool) -> Entered {
    let messages = mailbox.messages();
    let unseen = messages.iter().position(|m| !m.has(Flags::SEEN));
    Entered {
        view: View::open(id, read_only, messages, mailbox.highest_modseq(), mailbox.version()),
        keywords: Keywords::of(messages).into_all(),
        unseen: unseen.and_then(|at| u32::try_from(at + 1).ok()),
        uidnext: mailbox.uidnext(),
        uidvalidity: mailbox.info().uidvalidity,
        modseq: mailbox.highest_modseq(),
    }
}
