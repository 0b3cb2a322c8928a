//! hyper's timer on the shard's clock.
//!
//! hyper wants its sleeps `Send + Sync`, which nothing that waits in the shard's ring is. So a sleep here is a value that waits for
//! nothing: it knows its moment and notes it, and whoever polls the connection polls it again then ([`Clock::alarm`]).
//! Without a timer hyper's bound on the time a header may take is silently off.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use crate::shard::{self, Moment};

const NEVER: u64 = u64::MAX;

/// The clock of one connection.
#[derive(Clone)]
pub struct Clock {
    /// hyper speaks in instants; this one stands for `moment`.
    instant: Instant,
    moment: Moment,
    /// The earliest moment that a sleep has noted.
    noted: Arc<AtomicU64>,
}

impl Clock {
    /// Begins now.
    pub fn new() -> Self {
        Clock { instant: Instant::now(), moment: shard::now(), noted: Arc::new(AtomicU64::new(NEVER)) }
    }

    /// To be called before the connection is polled: sleeps still waiting will note themselves again.
    pub fn forget(&self) {
        self.noted.store(NEVER, Ordering::Relaxed);
    }

    /// When the connection must be polled again at the latest.
    pub fn alarm(&self) -> Option<Moment> {
        let noted = self.noted.load(Ordering::Relaxed);
        (noted != NEVER).then_some(Moment(noted))
    }
}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap { until: shard::now().after(duration), noted: self.noted.clone() })
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let until = self.moment.after(deadline.saturating_duration_since(self.instant));
        Box::pin(Nap { until, noted: self.noted.clone() })
    }

    fn now(&self) -> Instant {
        self.instant + shard::now().since(self.moment)
    }
}

struct Nap {
    until: Moment,
    noted: Arc<AtomicU64>,
}

impl Future for Nap {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if shard::now() >= self.until {
            return Poll::Ready(());
        }
        self.noted.fetch_min(self.until.0, Ordering::Relaxed);
        Poll::Pending
    }
}

impl Sleep for Nap {}
