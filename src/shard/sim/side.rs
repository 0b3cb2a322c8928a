//! The side pool: each job runs inline after a delay from the seed, away from every shard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::answer;
use super::executor::{Core, here, within};
use super::node::NodeId;
use crate::limits::SIDE_QUEUE_MAX;
use crate::observe::{self, Counter};
use crate::shard::SideError;

/// As [`crate::shard::side`]. The job runs even when nobody waits for it any more, as on a real thread.
///
/// # Errors
/// See [`SideError`].
pub async fn side<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, SideError> {
    let at = here();
    let mut place = None;
    if let Some(home) = at.home {
        let mut nodes = at.core.nodes.borrow_mut();
        let waiting = nodes.side_waiting(home.node);
        if *waiting >= SIDE_QUEUE_MAX {
            observe::count(Counter::SideFull);
            return Err(SideError::Full);
        }
        *waiting += 1;
        place = Some(Place { core: at.core.clone(), node: home.node });
    }
    observe::count(Counter::SideJobs);
    let (teller, answer) = answer::pair();
    let (core, home) = (at.core.clone(), at.home);
    at.core.spawn(home, "side", async move {
        core.sleep_ns(core.chance.time.between(100_000, 200_000_000)).await;
        drop(place);
        match within(None, || catch_unwind(AssertUnwindSafe(job))) {
            Ok(done) => teller.tell(Ok(done)),
            Err(why) => {
                core.panicked(home, "side", why.as_ref());
                teller.tell(Err(SideError::Panicked));
            }
        }
    });
    answer.await.unwrap_or(Err(SideError::Panicked))
}

/// Jobs of this task's node that wait.
pub fn waiting() -> usize {
    let at = here();
    at.home.map_or(0, |home| *at.core.nodes.borrow_mut().side_waiting(home.node))
}

/// A place in the pool's queue.
struct Place {
    core: Rc<Core>,
    node: NodeId,
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.core.nodes.borrow_mut().side_waiting(self.node) -= 1;
    }
}
