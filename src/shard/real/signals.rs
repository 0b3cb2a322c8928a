//! SIGTERM and SIGINT as bytes: blocked on every thread of the node, read from a signalfd by shard 0's ring.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;

use super::file;
use super::home::here;

/// Signals that ask for an orderly stop.
const STOP: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

/// Blocks the signals on the calling thread, and on those it starts, until dropped.
pub struct Blocked {
    before: libc::sigset_t,
}

fn stop_set() -> libc::sigset_t {
    // SAFETY: a sigset is plain bits, `sigemptyset` makes all of them, and the signal numbers are valid.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in STOP {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

impl Blocked {
    /// Before the first thread starts, so that each inherits it.
    pub fn new() -> Blocked {
        let set = stop_set();
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

/// Asks the node to stop whenever a stop signal arrives. A task of shard 0.
pub async fn watch() {
    let set = stop_set();
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
        match file::read(fd.clone(), info, 0).await.0 {
            Ok(_) => here().node.request_stop(),
            Err(why) => return tracing::error!("reading signals: {why}"),
        }
    }
}
