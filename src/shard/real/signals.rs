//! SIGTERM, SIGINT and SIGHUP as bytes: blocked on every thread of the node, read from a signalfd by shard 0's ring.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::file;
use super::home::here;

/// Signals that ask for an orderly stop.
const STOP: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];
/// The one that asks for certificates to be read anew; where nothing reads any, it asks for a stop too. A terminal that closes
/// sends it: then a server goes on without.
const RELOAD: libc::c_int = libc::SIGHUP;

/// Blocks the signals on the calling thread, and on those it starts, until dropped.
pub struct Blocked {
    before: libc::sigset_t,
}

fn heard() -> libc::sigset_t {
    // SAFETY: a sigset is plain bits, `sigemptyset` makes all of them, and the signal numbers are valid.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in STOP.into_iter().chain([RELOAD]) {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

impl Blocked {
    /// Before the first thread starts, so that each inherits it.
    pub fn new() -> Blocked {
        let set = heard();
        // SAFETY: both sets live through the call.
        unsafe {
            let mut before = std::mem::zeroed();
            let done = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            assert!(done == 0, "it fails only for a `how` it does not know");
            Blocked { before }
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in `new`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Blocks the signals for good on the calling thread and on those it starts.
pub fn hold() {
    std::mem::forget(Blocked::new());
}

/// Which one it was: the first field of a `signalfd_siginfo`.
fn signal_of(info: &[u8]) -> Option<libc::c_int> {
    let number = u32::from_ne_bytes(info.first_chunk().copied()?);
    libc::c_int::try_from(number).ok()
}

/// Whether SIGHUP came, and who waits for it: both on shard 0's thread.
#[derive(Default)]
struct Reloads {
    /// Somebody reads them when asked.
    heard: Cell<bool>,
    asked: Cell<bool>,
    waits: Cell<Option<Waker>>,
}

thread_local! {
    static RELOADS: Reloads = Reloads::default();
}

impl Reloads {
    /// False: nobody is there to hear it.
    fn ask(&self) -> bool {
        self.asked.set(self.heard.get());
        if let Some(waker) = self.waits.take() {
            waker.wake();
        }
        self.heard.get()
    }
}

/// Resolves once for one or more SIGHUPs. On shard 0, for one task; elsewhere it waits forever.
pub async fn reload_requested() {
    poll_fn(|cx| {
        RELOADS.with(|reloads| {
            if reloads.asked.take() {
                return Poll::Ready(());
            }
            reloads.heard.set(true);
            reloads.waits.set(Some(cx.waker().clone()));
            Poll::Pending
        })
    })
    .await;
}

/// Asks the node to stop whenever a stop signal arrives. A task of shard 0.
pub async fn watch() {
    let set = heard();
    // SAFETY: the set lives through the call; -1 asks for a new descriptor, which is ours.
    let fd = unsafe {
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC);
        if fd < 0 {
            tracing::error!("signalfd: {}; stop with the admin socket", io::Error::last_os_error());
            return;
        }
        Rc::new(OwnedFd::from_raw_fd(fd))
    };
    loop {
        let info = Vec::with_capacity(size_of::<libc::signalfd_siginfo>());
        let (read, info) = file::read(fd.clone(), info, 0).await;
        match read {
            Ok(_) if signal_of(&info) == Some(RELOAD) && RELOADS.with(Reloads::ask) => {}
            Ok(_) => here().node.request_stop(),
            Err(why) => return tracing::error!("reading signals: {why}"),
        }
    }
}
