//! A connection with its reply bytes.
//!
//! Replies gather in one buffer and leave when the input has run dry or when
//! [`OUT_BYTES_MAX`](limits::OUT_BYTES_MAX) is reached: whoever produces faster than the peer reads waits here (A114).
//!
//! They leave in slices of at most `OUT_BYTES_MAX` octets, and each slice has [`WRITE_STALL_S`](limits::WRITE_STALL_S)
//! to be taken whole. A peer that reads steadily, at `OUT_BYTES_MAX / WRITE_STALL_S` (about 1 KiB/s) or more, is never
//! cut, however long the answer; one that reads nothing, or less than that, is reset (A061).

use std::io;
use std::time::Duration;

use crate::limits;
use crate::observe::{self, Peak};
use crate::shard::{self, Peer, Stream};

/// A connection and what waits to be sent on it.
pub struct Wire {
    pub(super) stream: Stream,
    /// Reply bytes not yet handed to the kernel.
    pub(super) out: Vec<u8>,
}

impl Wire {
    /// Wraps a connected stream.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Wire { stream, out: Vec::new() }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.stream.peer()
    }

    /// Queues bytes for the peer and waits when too many are queued: the back-pressure of streamed answers. However
    /// many they are, the queue stays within its bound.
    ///
    /// # Errors
    /// When the connection is gone or the peer does not read.
    pub async fn say(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = limits::OUT_BYTES_MAX.saturating_sub(self.out.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.out.extend_from_slice(now);
            bytes = later;
            self.relieve().await?;
        }
        Ok(())
    }

    /// The queue itself, for encoders that append a line. Follow with [`Wire::relieve`].
    pub fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends the queue if it has reached its bound.
    ///
    /// # Errors
    /// As [`Wire::say`].
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.out.len() >= limits::OUT_BYTES_MAX { self.flush().await } else { Ok(()) }
    }

    /// Sends everything queued.
    ///
    /// # Errors
    /// As [`Wire::say`].
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        observe::reached(Peak::OutBufferBytes, self.out.capacity() as u64);
        let queued = std::mem::take(&mut self.out);
        if queued.len() <= limits::OUT_BYTES_MAX {
            return self.send(queued).await;
        }
        // An encoder's last line went beyond the bound.
        for slice in queued.chunks(limits::OUT_BYTES_MAX) {
            self.send(slice.to_vec()).await?;
        }
        Ok(())
    }

    /// Sends a slice and keeps its buffer for the next replies.
    async fn send(&mut self, slice: Vec<u8>) -> io::Result<()> {
        self.stream.set_deadline(Some(shard::now().after(Duration::from_secs(limits::WRITE_STALL_S))));
        let (sent, mut buffer) = self.stream.send(slice).await;
        buffer.clear();
        if buffer.capacity() <= limits::OUT_BYTES_MAX * 2 {
            self.out = buffer;
        }
        sent
    }

    /// Sends what is queued and closes in order; a peer that does not take it is reset.
    pub async fn hang_up(mut self) {
        if self.flush().await.is_ok() {
            self.stream.close().await;
        } else {
            self.stream.reset();
        }
    }
}
