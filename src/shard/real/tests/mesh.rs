//! Requests between shards.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::on_many;
use crate::limits::{MESH_BODY_BYTES_MAX, MESH_REQUESTS_MAX};
use crate::observe::{self, Counter};
use crate::shard::{self, Mesh, MeshError};

#[test]
fn thousands_of_calls_cross_both_ways() {
    let before = observe::total(Counter::MeshRequests);
    on_many(3, |mesh: Mesh<u64, u64>| async move {
        let me = u64::from(shard::id());
        mesh.serve(move |from, n| async move { n * 10 + me + u64::from(from) * 1_000_000 });
        for n in 0..2_000 {
            for to in 0..shard::count() {
                let reply = mesh.call(to, n, 0).await.expect("answered");
                assert_eq!(reply, n * 10 + u64::from(to) + me * 1_000_000);
            }
        }
        // Others may still ask.
        if me == 0 {
            shard::sleep(Duration::from_millis(300)).await;
            shard::request_stop();
        }
        shard::stop_requested().await;
    });
    assert!(observe::total(Counter::MeshRequests) - before >= 12_000);
}

/// Shard 0 runs `main`; the others serve until it is done.
fn asking<Fut: Future<Output = ()> + 'static>(main: impl Fn(Mesh<u64, u64>) -> Fut + Clone + Send + 'static) {
    on_many(2, move |mesh: Mesh<u64, u64>| {
        let main = main.clone();
        async move {
            mesh.serve(|_, n| async move {
                match n {
                    0 => panic!("asked for it"),
                    1 => pending().await,
                    _ => shard::sleep(Duration::from_millis(n)).await,
                }
                n
            });
            if shard::id() == 0 {
                main(mesh).await;
                shard::request_stop();
            }
            shard::stop_requested().await;
        }
    });
}

#[test]
fn a_panicking_handler_is_down_for_its_caller_and_nobody_else() {
    asking(|mesh| async move {
        for to in [0, 1] {
            assert_eq!(mesh.call(to, 0, 0).await, Err(MeshError::Down));
            assert_eq!(mesh.call(to, 2, 0).await, Ok(2));
        }
    });
}

#[test]
fn slots_are_held_until_the_reply_even_when_nobody_waits() {
    asking(|mesh| async move {
        let full = observe::here(Counter::MeshFull);
        assert!(mesh.has_room(1, 0));
        for _ in 0..MESH_REQUESTS_MAX {
            let mut call = Box::pin(mesh.call(1, 150, 0));
            poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        }
        assert_eq!(mesh.call(1, 2, 0).await, Err(MeshError::Full));
        assert!(!mesh.has_room(1, 0) && mesh.has_room(0, 0));
        assert_eq!(observe::here(Counter::MeshFull) - full, 2);
        let start = shard::now();
        while mesh.call(1, 2, 0).await == Err(MeshError::Full) {
            shard::sleep(Duration::from_millis(5)).await;
        }
        assert!(shard::now().since(start) >= Duration::from_millis(50), "replies came first");
    });
}

#[test]
fn byte_credits_run_out_but_one_body_always_goes() {
    asking(|mesh| async move {
        assert_eq!(mesh.call(1, 2, MESH_BODY_BYTES_MAX * 2).await, Ok(2));
        let mut first = Box::pin(mesh.call(1, 60, MESH_BODY_BYTES_MAX - 10));
        poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_ready())).await;
        assert_eq!(mesh.call(1, 2, 11).await, Err(MeshError::Full));
        assert_eq!(mesh.call(1, 2, 10).await, Ok(2));
        assert_eq!(first.await, Ok(60));
        assert_eq!(mesh.call(1, 2, 11).await, Ok(2));
    });
}

#[test]
fn a_shard_that_leaves_answers_nothing_more_and_nobody_hangs() {
    on_many(2, |mesh: Mesh<u64, u64>| async move {
        mesh.serve(|_, _| pending());
        if shard::id() == 1 {
            return shard::sleep(Duration::from_millis(50)).await;
        }
        let down = Rc::new(Cell::new(0));
        for _ in 0..100 {
            let (mesh, down) = (mesh.clone(), down.clone());
            shard::spawn("caller", async move {
                assert_eq!(mesh.call(1, 1, 0).await, Err(MeshError::Down));
                down.set(down.get() + 1);
            });
        }
        while down.get() < 100 {
            shard::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(mesh.call(1, 1, 0).await, Err(MeshError::Down));
    });
}
