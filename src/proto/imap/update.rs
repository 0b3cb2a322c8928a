//! When EXPUNGE may be told: never while sequence numbers of an answer are on their way (RFC 9051 §7.5.1).

use super::ask::Ask;

/// True if the door may write EXPUNGE lines before it answers this ask. FETCH, STORE and SEARCH by sequence number
/// forbid it: the client is counting. EXISTS and FETCH of changed flags may always be told.
#[must_use]
pub fn may_tell_expunge(ask: &Ask) -> bool {
    match ask {
        Ask::Fetch(fetch) => fetch.uid,
        Ask::Store(store) => store.uid,
        Ask::Search(search) => search.uid,
        // Nothing is selected, or what was is being left.
        Ask::Login(_) | Ask::Id(_) | Ask::Select(_) | Ask::Close { .. } => false,
        // More of this command is to come; its end tells.
        Ask::AppendBegin(_) => false,
        Ask::Enable(_)
        | Ask::List(_)
        | Ask::Create(_)
        | Ask::Delete(_)
        | Ask::Rename(_)
        | Ask::Subscribe { .. }
        | Ask::Status(_)
        | Ask::Expunge(_)
        | Ask::AppendDone
        | Ask::AppendDrop
        | Ask::Poll => true,
    }
}
