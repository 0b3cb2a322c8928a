//! What may be told when: EXPUNGE never while sequence numbers of an answer are on their way (RFC 9051 §7.5.1), MODSEQs
//! from the first command on that shows that the client knows them (RFC 7162 §3.1).

use super::ask::Ask;
use super::command::{FetchItem, StatusItem};
use super::enabled::Enabled;

/// True if the door may write EXPUNGE lines before it answers this ask. FETCH, STORE and SEARCH by sequence number
/// forbid it: the client is counting. EXISTS and FETCH of changed flags may always be told.
#[must_use]
pub fn may_tell_expunge(ask: &Ask) -> bool {
    match ask {
        Ask::Fetch(fetch) => fetch.uid,
        Ask::Store(store) => store.uid,
        Ask::Search(search) => search.uid,
        // Nothing is selected, or what was is being left.
        Ask::Login(_) | Ask::Keys(_) | Ask::Id(_) | Ask::Select(_) | Ask::Close { .. } => false,
        // More of this command is to come; its end tells.
        Ask::AppendBegin(_) | Ask::AppendMore(_) => false,
        Ask::Enable(_)
        | Ask::List(_)
        | Ask::Create(_)
        | Ask::Delete(_)
        | Ask::Rename(_)
        | Ask::Subscribe { .. }
        | Ask::Status(_)
        | Ask::Expunge(_)
        | Ask::Copy(_)
        | Ask::AppendDone
        | Ask::AppendDrop
        | Ask::Poll => true,
    }
}

/// True if this ask tells that the client knows CONDSTORE: from its answer on every FETCH line has a MODSEQ.
#[must_use]
pub fn enables_condstore(ask: &Ask) -> bool {
    match ask {
        Ask::Enable(new) => new.has(Enabled::CONDSTORE),
        Ask::Select(select) => select.condstore,
        Ask::List(list) => list.tell.status.as_ref().is_some_and(|items| items.contains(&StatusItem::HighestModSeq)),
        Ask::Status(status) => status.items.contains(&StatusItem::HighestModSeq),
        Ask::Fetch(fetch) => fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq),
        Ask::Store(store) => store.unchanged_since.is_some(),
        Ask::Search(search) => search.modseq,
        _ => false,
    }
}
