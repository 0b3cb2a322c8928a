//! What one slot of the ring is doing, and what it must keep alive meanwhile.
//!
//! A slot owns every byte the kernel may touch for it: the buffer, the list of parts, the time, the open file. It is
//! reused only after its last completion, whoever has lost interest by then. That is the whole of cancel safety.

use std::collections::VecDeque;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::task::Waker;

use io_uring::types::Timespec;
use ringpost_storage::disk::Bytes;
use socket2::SockAddr;

use super::buffers::Chunk;
use super::stage::Stage;

/// Names a slot for as long as its owner holds it. The generation catches a name that outlived its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub index: u32,
    pub generation: u32,
}

/// Which of a slot's entries a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The only one, or the write of a write → sync chain.
    Main = 0,
    /// The sync of a write → sync chain.
    Sync = 1,
}

/// `user_data` of cancels and closes: nobody waits for them, they are only counted.
pub const FORGET: u64 = u64::MAX;
/// Slots a ring may have: what fits `user_data` beside generation and tag.
pub const SLOTS_MAX: u32 = 1 << 24;

impl Key {
    /// generation (32 bits) · tag (8) · index (24).
    pub fn user_data(self, tag: Tag) -> u64 {
        u64::from(self.generation) << 32 | (tag as u64) << 24 | u64::from(self.index)
    }

    pub fn parse(user_data: u64) -> (Key, Tag) {
        let tag = if user_data >> 24 & 0xff == 0 { Tag::Main } else { Tag::Sync };
        let index = (user_data & u64::from(SLOTS_MAX - 1)) as u32;
        (Key { index, generation: (user_data >> 32) as u32 }, tag)
    }
}

/// A slot of the slab.
pub struct Slot {
    pub generation: u32,
    /// Completions still to come.
    pub alive: u8,
    /// Nobody waits for it any more: it is freed at its last completion.
    pub orphan: bool,
    /// The deadline passed while somebody waited.
    pub timed_out: bool,
    /// A cancel is on its way.
    pub cancelling: bool,
    /// Nanoseconds of monotonic time, 0 for never. Kept by the sweeper.
    pub deadline: u64,
    pub waker: Option<Waker>,
    pub work: Work,
}

/// What a slot does.
pub enum Work {
    Free,
    Recv(Recv),
    Accept(Accept),
    Connect(Box<Connect>),
    Send(Send),
    Read(Read),
    Fill(Fill),
    Write(Box<Write>),
    /// The time is read by the kernel when the entry is submitted.
    Sleep(#[expect(dead_code)] Box<Timespec>),
}

pub struct Recv {
    pub fd: RawFd,
    /// Received and not yet read. Nothing more is asked for before it is.
    pub chunk: Option<Chunk>,
    /// 0: the peer has finished sending; negative: the error that ended it.
    pub end: Option<i32>,
    /// Waits in the ring's list for a buffer to come back.
    pub starved: bool,
    /// Its owner waits for the last completion: it must not be armed again.
    pub finishing: bool,
}

pub struct Accept {
    pub fd: RawFd,
    pub queue: VecDeque<OwnedFd>,
    /// Why one of them failed, if it has.
    pub end: Option<i32>,
}

pub struct Connect {
    /// Read by the kernel when the entry is submitted.
    pub to: SockAddr,
    pub result: Option<i32>,
    /// Open until the kernel is done with it.
    pub _socket: Rc<OwnedFd>,
}

pub struct Send {
    pub fd: RawFd,
    pub bytes: Vec<u8>,
    pub sent: usize,
    pub result: Option<i32>,
}

pub struct Read {
    pub bytes: Vec<u8>,
    pub result: Option<i32>,
    /// Open until the kernel is done with it.
    pub _file: Rc<OwnedFd>,
}

/// A read into aligned memory.
pub struct Fill {
    pub stage: Stage,
    pub result: Option<i32>,
    /// Open until the kernel is done with it.
    pub _file: Rc<OwnedFd>,
}

pub struct Write {
    pub source: Source,
    /// Point into `source`.
    pub vectors: Vec<libc::iovec>,
    pub bytes: usize,
    /// A sync is linked behind it.
    pub syncs: bool,
    pub written: Option<i32>,
    pub synced: Option<i32>,
    /// Open until the kernel is done with it.
    pub _file: Rc<OwnedFd>,
}

/// What is written.
pub enum Source {
    /// For the page cache.
    Parts(#[expect(dead_code)] Vec<Bytes>),
    /// For the device itself.
    Stage(Stage),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_the_kernel() {
        for (index, generation) in [(0, 0), (1, u32::MAX - 1), (SLOTS_MAX - 1, 77)] {
            for tag in [Tag::Main, Tag::Sync] {
                let key = Key { index, generation };
                assert_eq!(Key::parse(key.user_data(tag)), (key, tag));
                assert_ne!(key.user_data(tag), FORGET);
            }
        }
    }
}
