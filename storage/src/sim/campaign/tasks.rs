//! An executor on one thread: tasks are polled when woken, in turns that the caller counts.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Tasks on one thread, polled when woken.
#[derive(Default)]
pub struct Tasks {
    tasks: Vec<(Arc<Flag>, Task)>,
}

impl Tasks {
    /// Adds a task; the next turn polls it first.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.tasks.push((Arc::new(Flag(AtomicBool::new(true))), Box::pin(task)));
    }

    /// Polls every woken task once. True if any was.
    pub fn turn(&mut self) -> bool {
        let mut any = false;
        self.tasks.retain_mut(|(flag, task)| {
            if !flag.0.swap(false, Ordering::Relaxed) {
                return true;
            }
            any = true;
            let waker = Waker::from(flag.clone());
            task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        any
    }

    /// Runs until nothing moves.
    pub fn settle(&mut self) {
        while self.turn() {}
    }
}

/// Runs one future to its end.
///
/// # Panics
/// When it waits for something that will not come.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    let mut future = pin!(future);
    loop {
        assert!(flag.0.swap(false, Ordering::Relaxed), "nothing will ever wake this");
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
    }
}

/// A future that is pending `n` times.
pub async fn turns(n: u32) {
    let mut left = n;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
