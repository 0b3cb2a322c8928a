//! Several futures of one kind at once, on one thread: reads that do not wait for one another.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Futures that are polled at once. More: they wait until others are done.
const AT_ONCE: usize = 16;

/// What became of each, in their order.
pub async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting = futures.into_iter().enumerate();
    let mut going: Vec<(usize, Pin<Box<F>>)> = Vec::new();
    let mut done: Vec<Option<F::Output>> = (0..waiting.len()).map(|_| None).collect();
    poll_fn(|cx| {
        loop {
            let room = AT_ONCE - going.len();
            going.extend(waiting.by_ref().take(room).map(|(n, future)| (n, Box::pin(future))));
            let before = going.len();
            going.retain_mut(|(n, future)| match future.as_mut().poll(cx) {
                Poll::Ready(output) => {
                    done[*n] = Some(output);
                    false
                }
                Poll::Pending => true,
            });
            match going.len() {
                0 if waiting.len() == 0 => return Poll::Ready(()),
                // Some are done, and others may begin.
                now if now < before && waiting.len() > 0 => {}
                _ => return Poll::Pending,
            }
        }
    })
    .await;
    done.into_iter().map(|output| output.expect("all are done")).collect()
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::sim::campaign::tasks::{block_on, turns};

    #[test]
    fn many_are_done_in_their_order_and_not_too_many_at_once() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let one = |n: u32| {
            let (now, most) = (&now, &most);
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                turns(1 + n % 7).await;
                now.set(now.get() - 1);
                n
            }
        };
        assert_eq!(block_on(all((0..100).map(one).collect())), (0..100).collect::<Vec<_>>());
        assert_eq!((now.get(), most.get()), (0, AT_ONCE));
        assert_eq!(block_on(all((0..0).map(one).collect())), []);
    }
}
