//! What hyper reads from and writes to: two buffers. The door moves the bytes between them and the connection, so that to hyper
//! HTTP is bytes in and bytes out, as every protocol of this house is.
//!
//! A wait here needs no waker: the door polls hyper again whenever it has put bytes in or taken some out.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::limits;

/// Both buffers. Clones share them.
#[derive(Clone, Default)]
pub struct Pipe(Rc<RefCell<Buffers>>);

#[derive(Default)]
struct Buffers {
    received: Vec<u8>,
    read: usize,
    end: Option<io::Result<()>>,
    /// At most [`limits::OUT_BYTES_MAX`]; at the bound hyper waits.
    written: Vec<u8>,
}

impl Pipe {
    /// Gives hyper bytes.
    pub fn feed(&self, bytes: &[u8]) {
        let mut buffers = self.0.borrow_mut();
        let read = std::mem::take(&mut buffers.read);
        buffers.received.drain(..read);
        buffers.received.extend_from_slice(bytes);
    }

    /// No more will come: `Ok` when the peer has finished sending. An error stays an error.
    pub fn end(&self, how: io::Result<()>) {
        self.0.borrow_mut().end = Some(how);
    }

    /// Moves what hyper has written since it was asked last.
    pub fn take(&self, into: &mut Vec<u8>) {
        into.append(&mut self.0.borrow_mut().written);
    }

    /// True when hyper has written something.
    pub fn has_some(&self) -> bool {
        !self.0.borrow().written.is_empty()
    }
}

impl Read for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut buffers = self.0.borrow_mut();
        let left = &buffers.received[buffers.read..];
        if !left.is_empty() {
            let count = left.len().min(into.remaining());
            into.put_slice(&left[..count]);
            buffers.read += count;
            return Poll::Ready(Ok(()));
        }
        match buffers.end.take() {
            None => Poll::Pending,
            Some(Err(why)) => Poll::Ready(Err(why)),
            Some(Ok(())) => {
                buffers.end = Some(Ok(()));
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Write for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = &mut self.0.borrow_mut().written;
        let room = limits::OUT_BYTES_MAX.saturating_sub(written.len());
        if room == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    /// The door sends before it polls hyper again.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
