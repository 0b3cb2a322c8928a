//! In the simulated world: datagrams get lost, come late and twice, and time passes as fast as it may.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::super::Settings;
use super::super::answer::{Lookup, Reason};
use super::super::resolver::{Family, Resolver};
use super::{A, Answer, name};
use crate::limits::{DNS_IN_FLIGHT_MAX, DNS_RESOLVER_REST_S, DNS_SLOW_MS, DNS_TCP_S};
use crate::shard::sim::{DatagramDoor, World};
use crate::shard::{self, Mesh};

fn at(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 53).into()
}

/// A resolver of the test: what `script` makes of a query is sent back. Counts what it heard.
fn stand_in(world: &World, at: SocketAddr, script: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) -> Rc<Cell<usize>> {
    let heard = Rc::new(Cell::new(0));
    let count = heard.clone();
    drop(world.spawn("stand-in", async move {
        let door = DatagramDoor::open(at).expect("a free address");
        loop {
            let (query, from) = door.recv().await;
            count.set(count.get() + 1);
            if let Some(answer) = script(&query) {
                door.send(from, &answer);
            }
        }
    }));
    heard
}

/// Runs `work` on a node of one shard, and lets what it returned be seen.
fn on_a_node<T: 'static, Fut: Future<Output = T> + 'static>(
    world: &World,
    settings: Settings,
    work: impl Fn(Resolver) -> Fut + Clone + 'static,
) -> T {
    let done = Rc::new(RefCell::new(None));
    let told = done.clone();
    let node = world.start(1, move |_: Mesh<(), ()>| {
        let (work, told, settings) = (work.clone(), told.clone(), settings.clone());
        async move {
            // By then the stand-ins have their doors open.
            shard::sleep(Duration::from_millis(1)).await;
            let made = work(Resolver::new(settings)).await;
            *told.borrow_mut() = Some(made);
            Ok(())
        }
    });
    world.run_until(world.ended(node)).expect("it ends in order");
    assert_eq!(world.panics(), Vec::<String>::new());
    done.take().expect("the work ended")
}

fn address(query: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + query[12..].iter().position(|octet| *octet == 0)?;
    let labels = String::from_utf8_lossy(&query[13..end]).replace(['\u{1}', '\u{2}', '\u{4}'], ".");
    Some(Answer::to(query, 0).with(&labels, A, 60, &[192, 0, 2, 1]).octets)
}

#[test]
fn with_a_third_of_all_datagrams_lost_nearly_every_question_is_answered() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.lose_datagrams(33);
        stand_in(&world, at(1), address);
        stand_in(&world, at(2), address);
        let settings = Settings { attempts: 4, ..Settings::ask(vec![at(1), at(2)]) };
        let found = on_a_node(&world, settings, |resolver| async move {
            let mut found = 0;
            for n in 0..50 {
                let answer = resolver.lookup_address(&name(&format!("{n:02}.test")), Family::V4).await;
                assert!(matches!(&answer, Lookup::Found(_) | Lookup::Failed(Reason::Timeout)), "{answer:?}");
                found += usize::from(answer.found().is_some());
            }
            found
        });
        // Each of eight tries fails with 5 in 9.
        assert!(found >= 40, "seed {seed}: {found} of 50");
    }
}

#[test]
fn late_and_second_answers_belong_to_nobody() {
    for seed in 0..20 {
        let world = World::new(seed);
        stand_in(&world, at(1), address);
        let settings = Settings::ask(vec![at(1)]);
        on_a_node(&world, settings, |resolver| async move {
            for n in 0..50 {
                let asked = name(&format!("{n:02}.test"));
                let answer = resolver.lookup_address(&asked, Family::V4).await;
                if let Lookup::Found(found) = answer {
                    assert_eq!(found.name, asked);
                }
            }
        });
    }
}

#[test]
fn a_silent_resolver_is_waited_for_once_and_then_asked_last() {
    let world = World::new(5);
    world.lose_datagrams(0);
    let silent = stand_in(&world, at(1), |_| None);
    let good = stand_in(&world, at(2), address);
    let settings = Settings { timeout_s: 2, ..Settings::ask(vec![at(1), at(2)]) };
    on_a_node(&world, settings, |resolver| async move {
        let mut waited = Vec::new();
        for n in 0..5 {
            let began = shard::now();
            let answer = resolver.lookup_address(&name(&format!("{n:02}.test")), Family::V4).await;
            assert!(answer.found().is_some());
            waited.push(shard::now().since(began) >= Duration::from_secs(2));
        }
        assert_eq!(waited, [true, false, false, false, false]);
        shard::sleep(Duration::from_secs(DNS_RESOLVER_REST_S)).await;
        assert!(resolver.lookup_address(&name("again.test"), Family::V4).await.found().is_some());
    });
    assert_eq!((silent.get(), good.get()), (2, 6));
}

#[test]
fn an_answer_dies_when_its_life_is_over() {
    let world = World::new(6);
    world.lose_datagrams(0);
    let heard = stand_in(&world, at(1), address);
    on_a_node(&world, Settings::ask(vec![at(1)]), |resolver| async move {
        let asked = name("aa.test");
        let mut lives = Vec::new();
        for wait_s in [0, 20, 30, 30] {
            shard::sleep(Duration::from_secs(wait_s)).await;
            let answer = resolver.lookup_address(&asked, Family::V4).await;
            lives.push(answer.found().expect("found").ttl_s);
        }
        assert!(lives[0] == 60 && (38..=40).contains(&lives[1]) && (8..=10).contains(&lives[2]), "{lives:?}");
        assert_eq!(lives[3], 60);
    });
    assert!((2..=3).contains(&heard.get()), "asked twice; a datagram may come twice: {}", heard.get());
}

#[test]
fn a_question_goes_on_for_the_others_when_its_first_asker_gives_up() {
    let world = World::new(7);
    world.lose_datagrams(0);
    stand_in(&world, at(1), |_| None);
    stand_in(&world, at(2), address);
    on_a_node(&world, Settings::ask(vec![at(1), at(2)]), |resolver| async move {
        let asked = name("aa.test");
        let first = shard::within(Duration::from_millis(1), resolver.lookup_address(&asked, Family::V4));
        let (gone, answer) = futures_lite::future::zip(first, resolver.lookup_address(&asked, Family::V4)).await;
        assert!(gone.is_none() && answer.found().is_some());
    });
}

#[test]
fn too_many_questions_at_once_fail_for_now_and_nobody_else_does() {
    let world = World::new(8);
    let heard = stand_in(&world, at(1), |_| None);
    let settings = Settings { attempts: 1, ..Settings::ask(vec![at(1)]) };
    let busy = on_a_node(&world, settings, |resolver| async move {
        let (busy, open) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for n in 0..3 * DNS_IN_FLIGHT_MAX {
            let (resolver, busy, open) = (resolver.clone(), busy.clone(), open.clone());
            open.set(open.get() + 1);
            shard::spawn("asker", async move {
                let answer = resolver.lookup_address(&name(&format!("n{n}.test")), Family::V4).await;
                if answer == Lookup::Failed(Reason::Busy) {
                    busy.set(busy.get() + 1);
                } else {
                    assert_eq!(answer, Lookup::Failed(Reason::Timeout));
                }
                open.set(open.get() - 1);
            });
        }
        while open.get() > 0 {
            shard::sleep(Duration::from_secs(1)).await;
        }
        busy.get()
    });
    assert_eq!(busy, 2 * DNS_IN_FLIGHT_MAX);
    assert!(heard.get() > 0);
}

/// Whoever makes us ask for names whose servers are silent holds no place for longer than a second, if others need it.
#[test]
fn slow_questions_give_their_places_to_new_ones() {
    let world = World::new(18);
    world.lose_datagrams(0);
    stand_in(&world, at(1), |query| if query[13] == b'n' { None } else { address(query) });
    on_a_node(&world, Settings::ask(vec![at(1)]), |resolver| async move {
        for n in 0..DNS_IN_FLIGHT_MAX {
            let resolver = resolver.clone();
            shard::spawn("asker", async move {
                resolver.lookup_address(&name(&format!("n{n}.test")), Family::V4).await;
            });
        }
        shard::sleep(Duration::from_millis(DNS_SLOW_MS / 2)).await;
        let asked = name("aa.test");
        assert_eq!(resolver.lookup_address(&asked, Family::V4).await, Lookup::Failed(Reason::Busy), "none is slow yet");
        shard::sleep(Duration::from_millis(DNS_SLOW_MS)).await;
        assert!(resolver.lookup_address(&asked, Family::V4).await.found().is_some());
        // The one that made room is answered, and may be asked again.
        let again =
            shard::within(Duration::from_millis(10), resolver.lookup_address(&name("n0.test"), Family::V4)).await;
        assert_eq!(again, None, "it is under way");
    });
}

#[test]
fn a083_forged_from_another_address_it_never_arrives() {
    let world = World::new(9);
    world.lose_datagrams(0);
    drop(world.spawn("forger", async move {
        let door = DatagramDoor::open(at(1)).expect("a free address");
        let (query, from) = door.recv().await;
        let evil = Answer::to(&query, 0).with("aa.test", A, 60, &[203, 0, 113, 66]).octets;
        (0..100).for_each(|n| door.send_as(at(100 + n % 100), from, &evil));
        shard::sleep(Duration::from_millis(500)).await;
        door.send(from, &address(&query).expect("an answer"));
    }));
    on_a_node(&world, Settings::ask(vec![at(1)]), |resolver| async move {
        let answer = resolver.lookup_address(&name("aa.test"), Family::V4).await;
        assert_eq!(answer.found().expect("found").records, [std::net::IpAddr::from([192, 0, 2, 1])]);
    });
}

#[test]
fn a084_a_drip_by_tcp_ends_at_its_deadline() {
    let world = World::new(10);
    world.lose_datagrams(0);
    stand_in(&world, at(1), |query| Some(Answer::to(query, 0).flags(2, 0).octets));
    drop(world.spawn("drip", async move {
        let mut door = shard::listen(at(1)).expect("a free address");
        let mut stream = door.accept().await.expect("a connection");
        stream.send(vec![0xff, 0xff]).await.0.expect("sent");
        while stream.send(vec![0]).await.0.is_ok() {
            shard::sleep(Duration::from_secs(1)).await;
        }
    }));
    let settings = Settings { attempts: 1, ..Settings::ask(vec![at(1)]) };
    on_a_node(&world, settings, |resolver| async move {
        let began = shard::now();
        let answer = resolver.lookup_address(&name("aa.test"), Family::V4).await;
        assert_eq!(answer, Lookup::Failed(Reason::Timeout));
        let took_s = shard::now().since(began).as_secs();
        assert!((DNS_TCP_S..=DNS_TCP_S + 2).contains(&took_s), "{took_s} s");
    });
}

#[test]
fn a085_aliases_over_many_answers_end_too() {
    let world = World::new(11);
    world.lose_datagrams(0);
    let heard = stand_in(&world, at(1), |query| {
        // n00.test is an alias of n01.test, and so on without an end; each answer tells one step.
        let step: u32 = String::from_utf8_lossy(&query[14..16]).parse().ok()?;
        Some(Answer::to(query, 0).alias(&format!("n{step:02}.test"), &format!("n{:02}.test", step + 1)).octets)
    });
    on_a_node(&world, Settings::ask(vec![at(1)]), |resolver| async move {
        let answer = resolver.lookup_address(&name("n00.test"), Family::V4).await;
        assert_eq!(answer, Lookup::Failed(Reason::Aliases));
    });
    assert!((12..=14).contains(&heard.get()), "{}", heard.get());
}

#[test]
fn a087_validated_is_believed_of_no_resolver_on_another_host() {
    let (here, elsewhere): (SocketAddr, _) = (([127, 0, 0, 1], 53).into(), at(1));
    for (resolver, believed) in [(elsewhere, false), (here, true)] {
        let world = World::new(7);
        world.lose_datagrams(0);
        stand_in(&world, resolver, |query| {
            let mut answer = address(query)?;
            answer[3] |= 0x20;
            Some(answer)
        });
        let answer = on_a_node(&world, Settings::ask(vec![resolver]), |resolver| async move {
            resolver.lookup_address(&name("d.test"), Family::V4).await
        });
        assert_eq!(answer.found().expect("an address").authentic, believed, "{resolver}");
    }
}
