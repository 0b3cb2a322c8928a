//! Seeds on several threads, until enough was seen or one of them found something.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::tally::Tally;

/// A seed that found a fault.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which.
    pub seed: u64,
    /// What is wrong.
    pub why: String,
}

/// How much is to be seen.
#[derive(Clone, Copy, Debug)]
pub enum Enough {
    /// So many distinct images.
    Images(u64),
    /// So many seeds.
    Seeds(u64),
    /// So many traces looked at whole.
    Whole(u64),
    /// So many runs.
    Runs(u64),
}

/// What was seen, and how long it took.
#[derive(Debug)]
pub struct Outcome {
    /// All together.
    pub tally: Tally,
    /// What was found.
    pub found: Vec<Finding>,
    /// How long it took.
    pub took: Duration,
}

/// Runs `trial` for the seeds from `first` on, `jobs` at a time; `progress` is called about once a second. A seed is done
/// wholly or not at all, so a little more than enough is seen.
pub fn run(
    first: u64,
    jobs: usize,
    enough: Enough,
    trial: impl Fn(u64) -> Tally + Sync,
    mut progress: impl FnMut(&Tally, Duration),
) -> Outcome {
    let (began, mut told) = (Instant::now(), Instant::now());
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let mut tally = Tally::default();
    let mut found = Vec::new();
    std::thread::scope(|scope| {
        let (tell, heard) = channel();
        for _ in 0..jobs.max(1) {
            let (tell, next, stop, trial) = (tell.clone(), &next, &stop, &trial);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if matches!(enough, Enough::Seeds(n) if seed - first >= n) {
                        return;
                    }
                    let done = one(seed, trial);
                    if tell.send(done).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        loop {
            match heard.recv_timeout(Duration::from_secs(1)) {
                Ok(Ok(more)) => tally.add(&more),
                Ok(Err(finding)) => found.push(finding),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let seen = match enough {
                Enough::Images(n) => tally.images >= n,
                Enough::Whole(n) => tally.whole >= n,
                Enough::Runs(n) => tally.runs >= n,
                Enough::Seeds(_) => false,
            };
            if seen || !found.is_empty() {
                stop.store(true, Ordering::Relaxed);
            }
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                progress(&tally, began.elapsed());
            }
        }
    });
    found.sort_by_key(|f| f.seed);
    Outcome { tally, found, took: began.elapsed() }
}

/// One seed.
///
/// # Errors
/// What it found: the words of the panic that ended it.
pub fn one(seed: u64, trial: impl Fn(u64) -> Tally) -> Result<Tally, Finding> {
    catch_unwind(AssertUnwindSafe(|| trial(seed))).map_err(|why| Finding { seed, why: words(&*why) })
}

/// The words of a panic.
pub(super) fn words(why: &(dyn Any + Send)) -> String {
    let words = why.downcast_ref::<String>().cloned();
    words
        .or_else(|| why.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "a panic without words".to_owned())
}
