//! Compaction as the stories run it: in no hurry, or as if everything were worth it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ringpost_storage::{AccountId, Compacted, MailboxId, Op, Pace, Uid};

use super::{NOW_MS, Open, block_on};

/// In no hurry, and never waits.
pub struct Calm;

impl Pace for Calm {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    async fn rest(&self, _: u64) {}
}

/// Whatever can be done is worth it; never waits.
pub struct Keen;

impl Pace for Keen {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn is_eager(&self) -> bool {
        true
    }

    async fn rest(&self, _: u64) {}
}

/// One round.
pub fn compact(v: &mut Open, pace: impl Pace + 'static) -> Compacted {
    let told = Rc::new(RefCell::new(None));
    let (tell, volume) = (told.clone(), v.volume.clone());
    v.tasks.spawn(async move {
        let done = volume.compact(&pace).await;
        *tell.borrow_mut() = Some(done);
    });
    v.tasks.settle();
    told.take().expect("it comes to an end")
}

/// Rounds in no hurry until nothing is worth it; which segments went.
pub fn compact_all(v: &mut Open) -> Vec<u32> {
    let mut gone = Vec::new();
    for _ in 0..1_000 {
        match compact(v, Calm) {
            Compacted::Segment { segment, .. } => gone.push(segment),
            Compacted::Nothing => return gone,
            stuck => panic!("{stuck:?}"),
        }
    }
    panic!("it never ends");
}

pub fn expunge(v: &mut Open, account: AccountId, mailbox: MailboxId, uids: Vec<Uid>) {
    let _held = block_on(v.volume.load(account)).unwrap();
    v.done(Op::Expunge { account, mailbox, uids });
}

/// What a volume shows: each mailbox's messages, as their readers see them.
pub type Shown = BTreeMap<(AccountId, MailboxId, Uid), Vec<u8>>;

pub fn shown(v: &Open) -> Shown {
    let mut all = Shown::new();
    for id in v.volume.account_ids() {
        let loaded = block_on(v.volume.load(id)).unwrap().unwrap();
        for info in loaded.mailboxes() {
            let messages = loaded.mailbox(info.id, |m| m.messages().to_vec()).unwrap();
            for message in messages {
                all.insert((id, info.id, message.uid), block_on(v.volume.read(&message)).unwrap());
            }
        }
    }
    all
}
