//! Each kind of entry: how it is started, what its completion means, how its owner waits for it.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};
use ringpost_storage::disk::{Bytes, PARTS_MAX};
use socket2::SockAddr;

use super::buffers::{Chunk, GROUP};
use super::ring::Ring;
use super::stage::Stage;
use super::work::{Accept, Connect, Fill, Key, Read, Recv, Send, Source, Tag, Work, Write};
use crate::limits::NEWCOMERS_AT_ONCE;
use crate::observe::{self, Counter};

/// With fewer free buffers than this part of all, what nobody waits for is copied out, so that connections that do not read
/// cannot hold the buffers of those that do.
const PRESSURE_PART: u16 = 4;
/// The kernel's bound on one transfer (MAX_RW_COUNT), rounded down.
const TRANSFER_BYTES_MAX: usize = 0x7fff_f000;

fn failed(result: i32) -> io::Error {
    io::Error::from_raw_os_error(-result)
}

impl Ring {
    /// What a completion means for its slot.
    pub(super) fn record(&mut self, key: Key, tag: Tag, result: i32, flags: u32) {
        match &mut self.slot(key).work {
            Work::Free => unreachable!("a free slot has nothing in the kernel's hands"),
            Work::Recv(_) => self.recv_done(key, result, flags),
            Work::Accept(_) => self.accept_done(key, result),
            Work::Connect(connect) => {
                connect.result = Some(result);
                self.rouse(key);
            }
            Work::Send(_) => self.send_done(key, result),
            Work::Read(read) => {
                read.result = Some(result);
                self.rouse(key);
            }
            Work::Fill(fill) => {
                fill.result = Some(result);
                self.rouse(key);
            }
            Work::Sleep(_) => self.rouse(key),
            Work::Write(write) => {
                match tag {
                    Tag::Main => write.written = Some(result),
                    Tag::Sync => write.synced = Some(result),
                }
                if tag == Tag::Sync && result == 0 {
                    observe::count(Counter::RingSyncs);
                }
                if self.slot(key).alive == 0 {
                    self.rouse(key);
                }
            }
        }
    }

    // ── receive ─────────────────────────────────────────────────────────────────────────────────────────────

    /// A slot that receives from `fd`; the kernel is asked at each wait.
    pub fn recv_open(&mut self, fd: RawFd) -> Key {
        self.open(Work::Recv(Recv { fd, chunk: None, end: None, starved: false, finishing: false }), 0)
    }

    /// The next chunk; empty when the peer has finished. `deadline` is checked by the sweeper.
    pub fn recv_poll(&mut self, key: Key, deadline: u64, cx: &mut Context<'_>) -> Poll<io::Result<Chunk>> {
        let slot = self.slot(key);
        slot.deadline = deadline;
        let Work::Recv(recv) = &mut slot.work else { unreachable!("the stream's own slot") };
        if let Some(chunk) = recv.chunk.take() {
            slot.timed_out = false;
            return Poll::Ready(Ok(chunk));
        }
        match recv.end {
            Some(0) => return Poll::Ready(Ok(Chunk::own(Vec::new()))),
            Some(error) => return Poll::Ready(Err(failed(error))),
            None => {}
        }
        // The flag may be left from a wait that was given up; only a deadline that has passed counts.
        if std::mem::take(&mut slot.timed_out) && deadline != 0 && deadline <= super::now().0 {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if slot.alive == 0 && !recv.starved {
            self.recv_arm(key);
        }
        self.wait_on(key, cx)
    }

    fn recv_arm(&mut self, key: Key) {
        let slot = self.slot(key);
        // Two receives on one socket would take its bytes in any order.
        assert!(slot.alive == 0, "armed once");
        let Work::Recv(recv) = &slot.work else { unreachable!("armed by its own kind") };
        // One buffer, and not multishot: that hands over all that the socket has, megabytes of it from a fast sender, before a
        // cancel reaches the kernel.
        let entry = opcode::Recv::new(types::Fd(recv.fd), std::ptr::null_mut(), 0).buf_group(GROUP).build();
        let entry = entry.flags(Flags::BUFFER_SELECT);
        // SAFETY: the entry points at no memory of its own: bytes go to the pool, which outlives the ring.
        unsafe { self.start(key, Tag::Main, entry) };
    }

    fn recv_done(&mut self, key: Key, result: i32, flags: u32) {
        let chunk =
            cqueue::buffer_select(flags).map(|bid| self.pool.clone().taken(bid, u32::try_from(result).unwrap_or(0)));
        let pressed = self.pool.free() < self.pool.count() / PRESSURE_PART;
        let buffer_free = self.pool.free() > 0;
        let slot = self.slot(key);
        let (orphan, waited) = (slot.orphan, slot.waker.is_some());
        let Work::Recv(recv) = &mut slot.work else { unreachable!("checked by the caller") };
        if orphan {
            return;
        }
        let mut starve = false;
        match result {
            1.. => {
                observe::add(Counter::ReceivedBytes, u64::from(result.unsigned_abs()));
                let chunk = chunk.expect("received bytes lie in a buffer");
                let keeps = waited || !pressed;
                recv.chunk = Some(if keeps { chunk } else { Chunk::own(chunk.into_own()) });
            }
            0 => recv.end = Some(0),
            // Ended by us.
            code if code == -libc::ECANCELED => {}
            // RUNTIME: armed again only when a buffer has come back, or it storms.
            code if code == -libc::ENOBUFS => {
                observe::count(Counter::RingNoBuffers);
                recv.starved = !recv.finishing;
                starve = recv.starved;
            }
            code => recv.end = Some(code),
        }
        if starve {
            self.starved.push_back(key);
            if buffer_free {
                self.feed_starved();
            }
        }
        let slot = self.slot(key);
        let Work::Recv(recv) = &slot.work else { unreachable!("checked by the caller") };
        let idle = recv.chunk.is_none() && recv.end.is_none();
        if !idle || recv.finishing {
            self.rouse(key);
        } else if slot.alive == 0 && !recv.starved && slot.waker.is_some() {
            self.recv_arm(key);
        }
    }

    /// Arms as many of the starved as there are free buffers.
    pub(super) fn feed_starved(&mut self) {
        for _ in 0..usize::from(self.pool.free()).min(self.starved.len()) {
            let key = self.starved.pop_front().expect("counted");
            let slot = &mut self.slots[key.index as usize];
            // It may have been closed meanwhile.
            let Work::Recv(recv) = &mut slot.work else { continue };
            if slot.generation != key.generation || slot.orphan || !std::mem::take(&mut recv.starved) {
                continue;
            }
            if slot.alive == 0 {
                self.recv_arm(key);
            }
        }
    }

    /// Ends the receive, waits for its last completion, and returns what was not read. The slot is free then.
    pub fn recv_finish(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let slot = self.slot(key);
        let Work::Recv(recv) = &mut slot.work else { unreachable!("the stream's own slot") };
        recv.finishing = true;
        recv.starved = false;
        if slot.alive > 0 {
            self.cancel(key);
            return self.wait_on(key, cx);
        }
        let Work::Recv(recv) = self.close(key) else { unreachable!("the stream's own slot") };
        match recv.end {
            Some(error) if error < 0 => Poll::Ready(Err(failed(error))),
            _ => Poll::Ready(Ok(recv.chunk)),
        }
    }

    /// Something is received and not taken.
    pub fn recv_has(&mut self, key: Key) -> bool {
        matches!(&self.slot(key).work, Work::Recv(recv) if recv.chunk.is_some())
    }

    /// The peer has finished or the connection has failed.
    pub fn recv_ended(&mut self, key: Key) -> bool {
        matches!(&self.slot(key).work, Work::Recv(recv) if recv.end.is_some())
    }

    // ── send ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts sending all of `bytes`, which must not be empty.
    pub fn send_open(&mut self, fd: RawFd, bytes: Vec<u8>) -> Key {
        let key = self.open(Work::Send(Send { fd, bytes, sent: 0, result: None }), 0);
        self.send_more(key);
        key
    }

    fn send_more(&mut self, key: Key) {
        let Work::Send(send) = &self.slot(key).work else { unreachable!("checked by the caller") };
        let rest = &send.bytes[send.sent..];
        let len = rest.len().min(TRANSFER_BYTES_MAX) as u32;
        let entry = opcode::Send::new(types::Fd(send.fd), rest.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        // SAFETY: the bytes are the slot's, and a Vec that nobody grows keeps its address.
        unsafe { self.start(key, Tag::Main, entry) };
    }

    fn send_done(&mut self, key: Key, result: i32) {
        let slot = self.slot(key);
        let stopped = slot.timed_out || slot.orphan;
        let Work::Send(send) = &mut slot.work else { unreachable!("checked by the caller") };
        if result > 0 {
            observe::add(Counter::SentBytes, u64::from(result.unsigned_abs()));
            send.sent += result.unsigned_abs() as usize;
            if send.sent < send.bytes.len() && !stopped {
                return self.send_more(key);
            }
        }
        send.result = Some(result);
        self.rouse(key);
    }

    /// Waits until all is sent; gives the buffer back, emptied. The slot is free then.
    pub fn send_poll(&mut self, key: Key, deadline: u64, cx: &mut Context<'_>) -> Poll<(io::Result<()>, Vec<u8>)> {
        let slot = self.slot(key);
        slot.deadline = deadline;
        if slot.alive > 0 {
            return self.wait_on(key, cx);
        }
        let timed_out = slot.timed_out;
        let Work::Send(mut send) = self.close(key) else { unreachable!("the stream's own slot") };
        let result = match send.result {
            _ if send.sent == send.bytes.len() => Ok(()),
            _ if timed_out => Err(io::ErrorKind::TimedOut.into()),
            Some(code) if code < 0 => Err(failed(code)),
            _ => Err(io::ErrorKind::WriteZero.into()),
        };
        send.bytes.clear();
        Poll::Ready((result, send.bytes))
    }

    // ── accept ──────────────────────────────────────────────────────────────────────────────────────────────

    /// A slot that accepts from `fd`; the kernel is asked at the first wait.
    pub fn accept_open(&mut self, fd: RawFd) -> Key {
        self.open(Work::Accept(Accept { fd, queue: VecDeque::new(), end: None }), 0)
    }

    /// The next connection, or why there is none; a wait that finds nothing under way asks for some more.
    pub fn accept_poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let slot = self.slot(key);
        let Work::Accept(accept) = &mut slot.work else { unreachable!("the listener's own slot") };
        if let Some(fd) = accept.queue.pop_front() {
            return Poll::Ready(Ok(fd));
        }
        if let Some(code) = accept.end.take() {
            return Poll::Ready(Err(failed(code)));
        }
        if slot.alive == 0 {
            self.accept_arm(key);
        }
        self.wait_on(key, cx)
    }

    /// So many, each once. Not multishot: that takes all that wait, thousands in a flood, before a cancel reaches the kernel,
    /// and each is an open file that somebody else may need.
    fn accept_arm(&mut self, key: Key) {
        let Work::Accept(accept) = &self.slot(key).work else { unreachable!("armed by its own kind") };
        let fd = types::Fd(accept.fd);
        for _ in 0..NEWCOMERS_AT_ONCE {
            let nowhere = std::ptr::null_mut();
            let entry = opcode::Accept::new(fd, nowhere, nowhere.cast()).flags(libc::SOCK_CLOEXEC).build();
            // SAFETY: an accept that is not asked for the peer's address points at no memory.
            unsafe { self.start(key, Tag::Main, entry) };
        }
    }

    fn accept_done(&mut self, key: Key, result: i32) {
        // SAFETY: a completed accept hands us a new descriptor that nobody else knows.
        let fd = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let slot = self.slot(key);
        let (over, orphan) = (slot.alive == 0, slot.orphan);
        let Work::Accept(accept) = &mut slot.work else { unreachable!("checked by the caller") };
        if orphan {
            return;
        }
        match fd {
            Some(fd) => accept.queue.push_back(fd),
            None if result == -libc::ECANCELED => {}
            None => accept.end = Some(result),
        }
        let Work::Accept(accept) = &self.slot(key).work else { unreachable!("checked by the caller") };
        if accept.queue.is_empty() && accept.end.is_none() && over && self.slot(key).waker.is_some() {
            self.accept_arm(key);
        } else {
            self.rouse(key);
        }
    }

    // ── connect ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts connecting `socket` to `to`.
    pub fn connect_open(&mut self, socket: Rc<OwnedFd>, to: SockAddr) -> Key {
        let fd = types::Fd(socket.as_raw_fd());
        let key = self.open(Work::Connect(Box::new(Connect { to, result: None, _socket: socket })), 0);
        let Work::Connect(connect) = &self.slot(key).work else { unreachable!("just made") };
        let entry = opcode::Connect::new(fd, connect.to.as_ptr().cast(), connect.to.len()).build();
        // SAFETY: the address is boxed in the slot, and nobody changes it until the completion.
        unsafe { self.start(key, Tag::Main, entry) };
        key
    }

    /// Waits until it is connected or cannot be. The slot is free then.
    pub fn connect_poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.slot(key).alive > 0 {
            return self.wait_on(key, cx);
        }
        let Work::Connect(connect) = self.close(key) else { unreachable!("the caller's own slot") };
        let result = connect.result.expect("a completion leaves its result");
        Poll::Ready(if result < 0 { Err(failed(result)) } else { Ok(()) })
    }

    // ── files ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts reading into `bytes`, from its length up to its capacity, at `offset` of the file.
    pub fn read_open(&mut self, file: Rc<OwnedFd>, bytes: Vec<u8>, offset: u64) -> Key {
        let fd = file.as_raw_fd();
        let key = self.open(Work::Read(Read { bytes, result: None, _file: file }), 0);
        let Work::Read(read) = &mut self.slot(key).work else { unreachable!("just made") };
        let spare = read.bytes.spare_capacity_mut();
        let len = spare.len().min(TRANSFER_BYTES_MAX) as u32;
        let entry = opcode::Read::new(types::Fd(fd), spare.as_mut_ptr().cast(), len).offset(offset).build();
        // SAFETY: the spare capacity belongs to the slot's Vec, which nobody grows until the completion.
        unsafe { self.start(key, Tag::Main, entry) };
        key
    }

    /// How many bytes were read and the buffer, its length grown by them. The slot is free then.
    pub fn read_poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, Vec<u8>)> {
        if self.slot(key).alive > 0 {
            return self.wait_on(key, cx);
        }
        let Work::Read(mut read) = self.close(key) else { unreachable!("the reader's own slot") };
        let result = read.result.expect("a completion leaves its result");
        if result < 0 {
            return Poll::Ready((Err(failed(result)), read.bytes));
        }
        let len = result.unsigned_abs() as usize;
        assert!(len <= read.bytes.capacity() - read.bytes.len(), "the kernel read more than was asked for");
        // SAFETY: the kernel filled `len` bytes from the old length on.
        unsafe { read.bytes.set_len(read.bytes.len() + len) };
        Poll::Ready((Ok(len), read.bytes))
    }

    /// Starts reading `len` octets at `offset` of the file into the stage, from its start.
    pub fn fill_open(&mut self, file: Rc<OwnedFd>, mut stage: Stage, len: usize, offset: u64) -> Key {
        stage.set_len(len);
        let (fd, at) = (file.as_raw_fd(), stage.as_mut_ptr());
        let key = self.open(Work::Fill(Fill { stage, result: None, _file: file }), 0);
        let entry = opcode::Read::new(types::Fd(fd), at, len as u32).offset(offset).build();
        // SAFETY: the stage is the slot's until the completion and holds `len` octets; moving it moves no memory.
        unsafe { self.start(key, Tag::Main, entry) };
        key
    }

    /// How many bytes were read, and the stage with them. The slot is free then.
    pub fn fill_poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, Stage)> {
        if self.slot(key).alive > 0 {
            return self.wait_on(key, cx);
        }
        let Work::Fill(mut fill) = self.close(key) else { unreachable!("the reader's own slot") };
        let result = fill.result.expect("a completion leaves its result");
        if result < 0 {
            return Poll::Ready((Err(failed(result)), fill.stage));
        }
        let len = result.unsigned_abs() as usize;
        assert!(len <= fill.stage.len(), "the kernel read more than was asked for");
        fill.stage.set_len(len);
        Poll::Ready((Ok(len), fill.stage))
    }

    /// Starts write → fdatasync of `parts` at `offset` as one linked chain.
    pub fn write_open(&mut self, file: Rc<OwnedFd>, parts: Vec<Bytes>, offset: u64) -> Key {
        assert!(parts.len() <= PARTS_MAX, "the volume knows the bound");
        let vectors = parts
            .iter()
            .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
            .collect();
        let bytes = parts.iter().map(|part| part.len()).sum();
        // SAFETY: shared parts are never changed and live as long as the slot has them.
        unsafe { self.write_start(file, Source::Parts(parts), vectors, bytes, offset, true) }
    }

    /// Starts the write of a stage at `offset`; with `syncs`, fdatasync is linked behind it.
    pub fn stage_write_open(&mut self, file: Rc<OwnedFd>, mut stage: Stage, offset: u64, syncs: bool) -> Key {
        let bytes = stage.len();
        let vectors = vec![libc::iovec { iov_base: stage.as_mut_ptr().cast(), iov_len: bytes }];
        // SAFETY: the stage's memory does not move with it, and lives as long as the slot has it.
        unsafe { self.write_start(file, Source::Stage(stage), vectors, bytes, offset, syncs) }
    }

    /// No success is skipped: a skipped write that failed can take the sync's completion with it.
    ///
    /// # Safety
    /// `vectors` point at `bytes` octets that `source` keeps alive and unchanged.
    unsafe fn write_start(
        &mut self,
        file: Rc<OwnedFd>,
        source: Source,
        vectors: Vec<libc::iovec>,
        bytes: usize,
        offset: u64,
        syncs: bool,
    ) -> Key {
        let fd = types::Fd(file.as_raw_fd());
        let (at, count) = (vectors.as_ptr(), vectors.len() as u32);
        let write = Write { source, vectors, bytes, syncs, written: None, synced: None, _file: file };
        let key = self.open(Work::Write(Box::new(write)), 0);
        let write = opcode::Writev::new(fd, at, count).offset(offset).build();
        let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        // SAFETY: source and vectors are the slot's; vectors are never grown. The kernel only reads them.
        unsafe {
            if syncs {
                self.start(key, Tag::Main, write.flags(Flags::IO_LINK));
                self.start(key, Tag::Sync, sync);
            } else {
                self.start(key, Tag::Main, write);
            }
        }
        key
    }

    /// `Ok` only when every byte was written and the sync after it, if there is one, succeeded. A stage comes back. The
    /// slot is free then.
    pub fn write_poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<(io::Result<()>, Option<Stage>)> {
        if self.slot(key).alive > 0 {
            return self.wait_on(key, cx);
        }
        let Work::Write(write) = self.close(key) else { unreachable!("the writer's own slot") };
        debug_assert!(write.vectors.len() <= PARTS_MAX);
        let written = write.written.expect("completed");
        let synced = if write.syncs { write.synced.expect("both completed") } else { 0 };
        let stage = match write.source {
            Source::Stage(stage) => Some(stage),
            Source::Parts(_) => None,
        };
        Poll::Ready((verdict(write.bytes, written, synced), stage))
    }

    // ── time ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts a wait of `time`.
    pub fn sleep_open(&mut self, time: Duration) -> Key {
        let spec = Box::new(types::Timespec::from(time));
        let at: *const types::Timespec = &raw const *spec;
        let key = self.open(Work::Sleep(spec), 0);
        // SAFETY: the time is boxed in the slot.
        unsafe { self.start(key, Tag::Main, opcode::Timeout::new(at).build()) };
        key
    }

    /// Waits until it is over. The slot is free then.
    pub fn sleep_poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<()> {
        if self.slot(key).alive > 0 {
            return self.wait_on(key, cx);
        }
        drop(self.close(key));
        Poll::Ready(())
    }
}

/// What a write → sync chain has done. The write's completion is final: short is an error, and a sync that was
/// cancelled or failed means *not durable*, however much was written.
fn verdict(bytes: usize, written: i32, synced: i32) -> io::Result<()> {
    if written < 0 {
        return Err(failed(written));
    }
    if written.unsigned_abs() as usize != bytes {
        return Err(io::Error::new(io::ErrorKind::WriteZero, format!("{written} of {bytes} bytes were written")));
    }
    if synced < 0 {
        return Err(failed(synced));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_write_and_a_good_sync_are_durable() {
        assert!(verdict(8192, 8192, 0).is_ok());
        assert_eq!(verdict(8192, 4096, -libc::ECANCELED).expect_err("short").kind(), io::ErrorKind::WriteZero);
        assert_eq!(verdict(8192, 4096, 0).expect_err("short, though synced").kind(), io::ErrorKind::WriteZero);
        let full = verdict(8192, -libc::ENOSPC, -libc::ECANCELED).expect_err("full");
        assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(verdict(8192, 8192, -libc::EIO).expect_err("sync").raw_os_error(), Some(libc::EIO));
        assert!(verdict(8192, 8192, -libc::ECANCELED).is_err());
    }
}
