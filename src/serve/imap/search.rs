//! SEARCH and UID SEARCH.
//!
//! A message that cannot be read is left out of what is found, and the client is warned by an untagged NO, which does not end the
//! command (RFC 9051 §7.1.2). The command itself ends in OK: clients show nothing of what was found before a tagged NO, and one
//! damaged message would take the search of its whole mailbox away, for as long as it is there.

use std::time::Duration;

use ringpost_storage::Message;

use super::{Done, Door, WINDOW, look};
use crate::mailbox::search::{LimitReached, Plan};
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, No, Search, response};
use crate::shard;

/// A long search says that it lives this often, and so learns whether the client does (A116).
const STILL_EVERY: Duration = Duration::from_secs(10);
/// Said when not all messages could be read (RFC 5530 §3).
const LACKS_SOME: &[u8] = b"* NO [CORRUPTION] Some messages could not be read and were left out\r\n";

impl Door {
    pub(super) async fn search(&mut self, search: &Search, wire: &mut Wire) -> Done {
        let (who, view) = self.selected()?;
        let mut plan = Plan::new(&search.keys);
        let mut found: Vec<u32> = Vec::new();
        let mut modseq = None;
        let mut said_at = shard::now();
        let mut next = 1;
        while next <= view.len() {
            let sequences = next..=view.len().min(next.saturating_add(WINDOW as u32 - 1));
            next = sequences.end() + 1;
            let messages: Vec<(u32, Message)> = look(who, view.mailbox, |mailbox| {
                let message = |s| Some((s, mailbox.by_uid(view.uid(s)?)?.clone()));
                sequences.filter_map(message).collect()
            })?;
            for (sequence, message) in messages {
                match plan.matches(&who.volume, who.account, view, sequence, &message).await {
                    Ok(true) => {
                        found.push(if search.uid { message.uid } else { sequence });
                        modseq = modseq.max(Some(message.modseq).filter(|_| search.modseq));
                    }
                    Ok(false) => {}
                    Err(LimitReached) => return Err(No::Limit.into()),
                }
                if shard::now().since(said_at) >= STILL_EVERY {
                    wire.say(b"* OK Still searching\r\n").await?;
                    wire.flush().await?;
                    said_at = shard::now();
                }
            }
        }
        response::search_begin(wire.queue());
        for number in found {
            response::search_hit(wire.queue(), number);
            wire.relieve().await?;
        }
        response::search_end(wire.queue(), modseq);
        if plan.lacks_some() {
            wire.queue().extend_from_slice(LACKS_SOME);
        }
        wire.relieve().await?;
        Ok(Answer::Done)
    }
}
