//! A connection with its reply bytes.
//!
//! Replies gather in one buffer and leave in one send when the input has run dry or when
//! [`OUT_BYTES_MAX`](limits::OUT_BYTES_MAX) is reached: whoever produces faster than the peer reads waits here, and
//! a peer that reads nothing for [`WRITE_STALL_S`](limits::WRITE_STALL_S) is reset (A061, A114).

use std::io;
use std::time::Duration;

use crate::limits;
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

    /// Queues bytes for the peer and waits when too many are queued: the back-pressure of streamed answers.
    ///
    /// # Errors
    /// When the connection is gone or the peer reads nothing.
    pub async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        if self.out.len() >= limits::OUT_BYTES_MAX { self.flush().await } else { Ok(()) }
    }

    /// The queue itself, for encoders that append. Follow with [`Wire::relieve`].
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
        self.stream.set_deadline(Some(shard::now().after(Duration::from_secs(limits::WRITE_STALL_S))));
        let (sent, buffer) = self.stream.send(std::mem::take(&mut self.out)).await;
        self.out = buffer;
        self.out.clear();
        if self.out.capacity() > limits::OUT_BYTES_MAX * 2 {
            self.out = Vec::new();
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
