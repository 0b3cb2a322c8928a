//! Side threads: work that would block a shard, or keep it from its connections for long.
//!
//! Two lanes. The common one has a bounded queue (`limits::SIDE_QUEUE_MAX`, then `Full`): a flood of logins fills it and
//! is told to come back. The file lane is for the store's own rare work (making, removing and listing files), which
//! must not wait behind the flood; it is bounded by its callers, a few a volume.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};

use super::home::{here, panicked};
use super::panics;
use crate::limits::SIDE_QUEUE_MAX;
use crate::observe::{self, Counter};
use crate::shard::SideError;

type Job = Box<dyn FnOnce() + Send>;

/// The side threads of a node. They end when it is dropped and their queues are empty.
pub struct Pool {
    jobs: Sender<Job>,
    files: Sender<Job>,
}

impl Pool {
    /// Starts `threads` threads for jobs and one for files.
    ///
    /// # Errors
    /// As thread creation.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let (jobs, job_queue) = bounded(SIDE_QUEUE_MAX);
        let (files, file_queue) = unbounded();
        for number in 0..threads.max(1) {
            start(format!("side-{number}"), job_queue.clone())?;
        }
        start("files".into(), file_queue)?;
        Ok(Pool { jobs, files })
    }
}

fn start(name: String, queue: Receiver<Job>) -> std::io::Result<()> {
    let work = move || {
        panics::expect_here();
        queue.into_iter().for_each(|job| job());
    };
    thread::Builder::new().name(name).spawn(work).map(drop)
}

struct Answer<T> {
    result: Option<Result<T, SideError>>,
    waker: Option<Waker>,
}

/// Answers `Panicked` should the job be dropped or unwind.
struct Post<T>(Arc<Mutex<Answer<T>>>);

impl<T> Post<T> {
    fn put(&self, result: Result<T, SideError>) {
        let mut answer = self.0.lock().expect("no holder of this lock can panic");
        answer.result.get_or_insert(result);
        let waker = answer.waker.take();
        drop(answer);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Post<T> {
    fn drop(&mut self) {
        self.put(Err(SideError::Panicked));
    }
}

/// Runs `job` on the common lane.
pub async fn side<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, SideError> {
    observe::count(Counter::SideJobs);
    let (job, answer) = package("side", job);
    if here().node.side.jobs.try_send(job).is_err() {
        observe::count(Counter::SideFull);
        return Err(SideError::Full);
    }
    wait(answer).await
}

/// Jobs that wait on the common lane, of all shards.
pub fn waiting() -> usize {
    here().node.side.jobs.len()
}

/// Runs `job` on the file lane; a panic in it is an error.
pub async fn file<T: Send + 'static>(job: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    let (job, answer) = package("files", job);
    // The lane lives as long as the node, and the node as long as its shards.
    here().node.side.files.send(job).map_err(|_| std::io::Error::other("the file lane has ended"))?;
    wait(answer).await.unwrap_or_else(|_| Err(std::io::Error::other("a job of the file lane panicked")))
}

fn package<T: Send + 'static>(
    name: &'static str,
    job: impl FnOnce() -> T + Send + 'static,
) -> (Job, Arc<Mutex<Answer<T>>>) {
    let answer = Arc::new(Mutex::new(Answer { result: None, waker: None }));
    let post = Post(answer.clone());
    let job = Box::new(move || match catch_unwind(AssertUnwindSafe(job)) {
        Ok(value) => post.put(Ok(value)),
        Err(panic) => {
            panicked(name, panic.as_ref());
            post.put(Err(SideError::Panicked));
        }
    });
    (job, answer)
}

async fn wait<T>(answer: Arc<Mutex<Answer<T>>>) -> Result<T, SideError> {
    poll_fn(|cx| {
        let mut answer = answer.lock().expect("no holder of this lock can panic");
        if let Some(result) = answer.result.take() {
            return Poll::Ready(result);
        }
        answer.waker = Some(cx.waker().clone());
        Poll::Pending
    })
    .await
}
