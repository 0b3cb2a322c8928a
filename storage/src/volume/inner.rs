//! What the clones of a volume share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use super::{Commit, Create, Settings};
use crate::checkpoint::Pages;
use crate::commit::{Bell, Log};
use crate::compact::{Renaming, Stuck};
use crate::disk::Disk;
use crate::fold::House;
use crate::index::Index;
use crate::index::ahead::Ahead;
use crate::scrub::Scrub;
use crate::types::AccountId;
use crate::upload::Pins;
use crate::watch::Watches;

/// What the clones share.
pub(crate) struct Inner<D: Disk> {
    pub disk: D,
    pub facts: Create,
    pub settings: Settings,
    pub superblock_file: D::File,
    /// Its copies are being written.
    pub superblock_busy: Cell<bool>,
    pub index: RefCell<Index>,
    pub ahead: RefCell<Ahead>,
    pub log: RefCell<Log<D::File>>,
    /// Whoever takes a checkpoint has them meanwhile.
    pub pages: RefCell<Option<Pages<D::File>>>,
    /// Something gathers, or is full, or the volume closes.
    pub commit_bell: Bell,
    /// A segment is wanted, or a superblock is due.
    pub keep_bell: Bell,
    /// A segment is there, or will not be.
    pub segment_bell: Bell,
    pub closed_bell: Bell,
    /// An account has been read, or could not be.
    pub load_bell: Bell,
    /// A batch is durable, or none will be; or somebody has done with folding an account.
    pub settled_bell: Bell,
    /// Accounts that somebody folds.
    pub turns: RefCell<HashSet<AccountId>>,
    pub house: House,
    /// An account is due to be folded, or the volume closes.
    pub house_bell: Bell,
    pub watches: Rc<Watches>,
    pub on_commit: RefCell<Option<OnCommit>>,
    pub keep_on: Cell<bool>,
    /// Segments that have to stay as they are.
    pub pins: Pins,
    /// Segments that somebody reads just now.
    pub reading: Pins,
    /// Segments that compaction leaves where they are, and why.
    pub stuck: RefCell<BTreeMap<u32, Stuck>>,
    /// A segment is being compacted.
    pub compacting: Cell<bool>,
    /// The segment that is about to go: a checkpoint that would go on in it is not named. 0: none.
    pub retiring: Cell<u32>,
    pub renaming: Cell<Renaming>,
    pub scrub: Scrub,
    /// Nothing is compacted before the log has written so many octets: the last round brought too little.
    pub rests_until: Cell<u64>,
}

type OnCommit = Box<dyn Fn(Commit)>;

impl<D: Disk> Inner<D> {
    /// Holds an account in memory, or no more.
    pub fn hold(&self, account: AccountId, by: i32) {
        self.index.borrow_mut().hold(account, by);
        if by < 0 {
            self.trim();
        }
    }

    /// Drops accounts from memory that nobody needs there, if they are too many.
    pub fn trim(&self) {
        let mut index = self.index.borrow_mut();
        if index.memory.bytes > self.settings.index_bytes_max {
            let ahead = self.ahead.borrow();
            index.evict(self.settings.index_bytes_max, |id| ahead.peek(id).is_some());
        }
    }
}
