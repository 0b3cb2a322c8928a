//! Tasks, side threads, wakes, the start and the stop.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use super::{on_many, on_one, small};
use crate::limits::SIDE_QUEUE_MAX;
use crate::observe::{self, Counter};
use crate::shard::{self, Mesh, Plan, SideError, StartError};

#[test]
fn a_panicking_task_ends_alone() {
    let panics = on_one(small(1), || async {
        let before = observe::here(Counter::Panics);
        shard::spawn("clumsy", async { panic!("dropped a plate") });
        shard::spawn("clumsy", async {
            shard::sleep(Duration::from_millis(1)).await;
            panic!("and another");
        });
        shard::sleep(Duration::from_millis(30)).await;
        observe::here(Counter::Panics) - before
    });
    assert_eq!(panics, 2);
}

#[test]
fn a_panicking_main_is_the_error_and_stops_the_others() {
    let result = shard::run(small(3), |_: Mesh<(), ()>| async {
        assert!(shard::id() != 1, "the middle one falls");
        shard::stop_requested().await;
        Ok(())
    });
    let text = result.expect_err("one shard failed").to_string();
    assert!(text.contains("shard 1") && text.contains("the middle one falls"), "{text}");
}

#[test]
fn an_error_of_one_shard_stops_the_others() {
    let result = shard::run(small(2), |_: Mesh<(), ()>| async {
        if shard::id() == 1 {
            return Err(StartError::Setting("no".into()));
        }
        shard::stop_requested().await;
        Ok(())
    });
    assert!(matches!(result, Err(StartError::Setting(text)) if text == "no"));
}

#[test]
fn tasks_left_over_are_dropped_with_what_they_hold() {
    struct Told(Arc<AtomicUsize>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let told = drops.clone();
    on_one(small(1), move || {
        let told = told.clone();
        async move {
            for _ in 0..50 {
                let told = Told(told.clone());
                shard::spawn("sleeper", async move {
                    shard::sleep(Duration::from_secs(3_600)).await;
                    drop(told);
                });
            }
            shard::run_dry().await;
        }
    });
    assert_eq!(drops.load(Ordering::SeqCst), 50);
}

#[test]
fn dry_means_that_everybody_has_run() {
    let seen = on_one(small(1), || async {
        let count = Rc::new(Cell::new(0));
        for hops in 0..4 {
            let count = count.clone();
            shard::spawn("hopper", async move {
                for _ in 0..hops {
                    futures_lite::future::yield_now().await;
                }
                count.set(count.get() + 1);
            });
        }
        shard::run_dry().await;
        count.get()
    });
    assert_eq!(seen, 4);
}

#[test]
fn dry_comes_though_one_task_never_rests() {
    on_one(small(1), || async {
        shard::spawn("restless", async {
            loop {
                futures_lite::future::yield_now().await;
            }
        });
        for _ in 0..100 {
            shard::run_dry().await;
        }
    });
}

#[test]
fn sleeps_end_in_their_order_and_not_early() {
    on_one(small(1), || async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = shard::now();
        for ms in [30, 5, 60, 1, 15] {
            let order = order.clone();
            shard::spawn("sleeper", async move {
                shard::sleep(Duration::from_millis(ms)).await;
                assert!(shard::now().since(start) >= Duration::from_millis(ms));
                order.borrow_mut().push(ms);
            });
        }
        shard::sleep(Duration::from_millis(250)).await;
        assert_eq!(*order.borrow(), [1, 5, 15, 30, 60]);
    });
}

#[test]
fn a_side_job_answers_and_its_panic_is_told() {
    on_one(small(1), || async {
        assert_eq!(shard::side(|| 6 * 7).await, Ok(42));
        assert_eq!(shard::side(|| panic!("not my day")).await, Err::<(), _>(SideError::Panicked));
        assert_eq!(shard::side(|| "still here").await, Ok("still here"));
    });
}

#[test]
fn a_full_side_pool_says_so_and_files_can_still_be_made() {
    use ringpost_storage::disk::Disk as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    on_one(Plan { side_threads: 1, ..small(1) }, move || {
        let path = path.clone();
        async move {
            let (open, gate) = mpsc::channel::<()>();
            let answers = Rc::new(RefCell::new(Vec::new()));
            let mut gate = Some(gate);
            // One is running and holds the thread; then the queue fills; then it is full.
            for number in 0..=SIDE_QUEUE_MAX + 1 {
                let (answers, gate) = (answers.clone(), gate.take());
                let (started, running) = mpsc::channel();
                shard::spawn("login", async move {
                    let job = move || {
                        let _ = started.send(());
                        gate.map(|gate| gate.recv());
                    };
                    let answer = shard::side(job).await;
                    answers.borrow_mut().push(answer);
                });
                if number == 0 {
                    while running.try_recv().is_err() {
                        shard::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            shard::run_dry().await;
            assert_eq!(*answers.borrow(), [Err(SideError::Full)]);
            let disk = shard::disk(&path).expect("opened");
            disk.create("segment", 4096).await.expect("a login flood does not block segments");
            open.send(()).expect("it waits");
            while answers.borrow().len() < SIDE_QUEUE_MAX + 2 {
                shard::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(answers.borrow().iter().filter(|a| a.is_ok()).count(), SIDE_QUEUE_MAX + 1);
        }
    });
}

#[test]
fn a_wake_from_any_thread_is_never_lost() {
    on_many(2, |_: Mesh<(), ()>| async {
        let (send, receive) = mpsc::channel::<(Waker, Arc<AtomicUsize>)>();
        let waking = thread::spawn(move || {
            for (number, (waker, flag)) in receive.into_iter().enumerate() {
                flag.store(1, Ordering::SeqCst);
                if number % 3 == 0 {
                    // Just when the shard has gone to sleep, as often as not.
                    thread::yield_now();
                }
                waker.wake_by_ref();
                waker.wake();
            }
        });
        for _ in 0..5_000 {
            let flag = Arc::new(AtomicUsize::new(0));
            let mut sent = false;
            poll_fn(|cx| {
                if flag.load(Ordering::SeqCst) == 1 {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut sent, true) {
                    send.send((cx.waker().clone(), flag.clone())).expect("it listens");
                }
                Poll::Pending
            })
            .await;
        }
        drop(send);
        shard::side(|| waking.join().expect("it ends")).await.expect("ran");
    });
}

#[test]
fn a_waker_outlives_its_task_and_its_shard() {
    let (send, receive) = mpsc::channel();
    on_one(small(1), move || {
        let send = send.clone();
        async move {
            shard::spawn("brief", async move {
                let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                send.send(waker).expect("the test waits");
            });
            shard::run_dry().await;
        }
    });
    let waker: Waker = receive.recv().expect("sent");
    waker.wake_by_ref();
    let again = waker.clone();
    drop(waker);
    again.wake();
}

#[test]
fn chance_does_not_repeat() {
    let (mut one, mut two, mut long) = ([0; 32], [0; 32], vec![0; 4_096]);
    shard::random(&mut one);
    shard::random(&mut two);
    shard::random(&mut long);
    assert_ne!(one, two);
    assert!(long.iter().any(|b| *b != 0) && one != [0; 32]);
}

#[test]
fn a_plan_without_shards_is_refused() {
    let result = shard::run(small(0), |_: Mesh<(), ()>| async { Ok(()) });
    assert!(matches!(result, Err(StartError::Setting(_))));
}
