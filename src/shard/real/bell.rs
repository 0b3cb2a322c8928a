//! How other threads reach a shard: they post, and ring the bell if the shard sleeps.
//!
//! The promise: a wake is never lost. The ringer raises the flag and then looks whether the shard is parked; the shard
//! parks and then looks at the flag. Both in one total order (SeqCst), so at least one of them sees the other.
//! The shard sleeps in its own ring, where a read of the bell's eventfd is always waiting.
//!
//! The executor's own wakers stay on their thread: what tasks are given is a [`TaskWaker`], which may be cloned,
//! woken and dropped anywhere, any number of times.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};

thread_local! {
    static HOME: Cell<*const Bell> = const { Cell::new(std::ptr::null()) };
}

/// A shard's bell.
pub struct Bell {
    eventfd: OwnedFd,
    mail: AtomicBool,
    parked: AtomicBool,
    /// Bounded by the tasks of the shard and the jobs on side threads: each posts once before it runs again.
    posted: Mutex<Vec<Post>>,
}

enum Post {
    Wake(Arc<TaskWaker>),
    /// The last clone was dropped on another thread: the executor's waker goes home to be dropped.
    Bury(Waker),
}

impl Bell {
    /// # Errors
    /// As `eventfd`.
    pub fn new() -> io::Result<Arc<Bell>> {
        Ok(Arc::new(Bell {
            eventfd: eventfd(0, EventfdFlags::CLOEXEC)?,
            mail: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            posted: Mutex::new(Vec::new()),
        }))
    }

    /// What the shard's ring reads while it sleeps.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.eventfd.try_clone()
    }

    /// The calling thread is this bell's shard from now on.
    pub fn move_in(&self) {
        HOME.set(self);
    }

    /// The calling thread is nobody's shard any more.
    pub fn move_out() {
        HOME.set(std::ptr::null());
    }

    /// Makes the shard look at its mail.
    pub fn ring(&self) {
        self.mail.store(true, Ordering::SeqCst);
        if self.parked.swap(false, Ordering::SeqCst) {
            // It cannot fail short of 2^64 rings that nobody read.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }

    /// Sleeps in `sleep(true)` unless there is mail, in which case it does not wait.
    pub fn park<T>(&self, sleep: impl FnOnce(bool) -> T) -> T {
        self.parked.store(true, Ordering::SeqCst);
        let done = sleep(!self.mail.load(Ordering::SeqCst));
        self.parked.store(false, Ordering::SeqCst);
        done
    }

    /// Runs what was posted. True when the bell was rung since the last look.
    pub fn look(&self) -> bool {
        if !self.mail.load(Ordering::Relaxed) || !self.mail.swap(false, Ordering::SeqCst) {
            return false;
        }
        let posted = std::mem::take(&mut *self.posted.lock().expect("no holder of this lock can panic"));
        for post in posted {
            match post {
                Post::Wake(task) => task.inner.as_ref().expect("taken only in drop").wake_by_ref(),
                Post::Bury(waker) => drop(waker),
            }
        }
        true
    }

    fn post(&self, post: Post) {
        self.posted.lock().expect("no holder of this lock can panic").push(post);
        self.ring();
    }

    fn is_home(&self) -> bool {
        std::ptr::eq(HOME.get(), self)
    }
}

/// Wakes one task from any thread.
pub struct TaskWaker {
    inner: Option<Waker>,
    bell: Arc<Bell>,
}

impl TaskWaker {
    /// Wraps the executor's waker; to be called on its own thread.
    pub fn wrap(inner: &Waker, bell: &Arc<Bell>) -> Waker {
        debug_assert!(bell.is_home());
        Waker::from(Arc::new(TaskWaker { inner: Some(inner.clone()), bell: bell.clone() }))
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.bell.is_home() {
            self.inner.as_ref().expect("taken only in drop").wake_by_ref();
        } else {
            self.bell.post(Post::Wake(self.clone()));
        }
    }
}

impl Drop for TaskWaker {
    fn drop(&mut self) {
        let inner = self.inner.take().expect("dropped once");
        if !self.bell.is_home() {
            self.bell.post(Post::Bury(inner));
        }
    }
}
