//! COPY and MOVE between volumes: two offices without doors, each with a volume, and power cuts at any moment.

use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpost::courier;
use ringpost::courier::copy::{Arrived, Away, copy_away};
use ringpost::directory::Change;
use ringpost::office::durable::make_durable;
use ringpost::office::words::Deed;
use ringpost::office::{Office, Reply, Request, Resident, Settings};
use ringpost::serve;
use ringpost::shard;
use ringpost::shard::sim::{NodeId, World};
use ringpost_storage::{
    AccountId, Body, Create, Flags, Limits, MailboxId, NewMailbox, Op, OpenError, Refused, Settings as VolumeSettings,
    Transaction, Volume,
};

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(1 << 48 | 1);
const ARCHIVE: MailboxId = MailboxId(2);
const LETTERS: u32 = 3;

type Disk = shard::Disk;

/// What shard 0 does when the volumes are open.
type Work = Arc<dyn Fn(Rc<Office>) -> std::pin::Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// Two shards with a volume each; on shard 0 `work` is done.
fn start(world: &World, work: Work) -> NodeId {
    world.start(2, move |mesh| {
        let work = work.clone();
        async move {
            let id = shard::id();
            let office = Office::new(Settings::offline(), mesh, 2, 2);
            for volume in 0..2 {
                let (catalogue, accounts) = (Vec::new(), Vec::new());
                office.hear(Change::Volume {
                    volume,
                    catalogue,
                    accounts,
                    limited: vec![],
                    keyless: vec![],
                    whole: true,
                });
            }
            let volume = open(id).await;
            let committer = volume.clone();
            shard::spawn("commit", async move { committer.commit_loop(shard::run_dry).await });
            office.adopt(id, volume.clone());
            let answering = office.clone();
            office.mesh.serve(move |_from, request| serve::mesh::answer(answering.clone(), request));
            if volume.account_named("x").is_none() {
                settle(&volume).await;
            }
            shard::spawn("courier", courier::keep(office.clone(), id, volume.clone()));
            if id == 0 {
                shard::spawn("work", work(office));
            }
            shard::stop_requested().await;
            volume.close().await;
            Ok(())
        }
    })
}

async fn open(id: u16) -> Volume<Disk> {
    let disk = shard::disk(Path::new(&format!("/data/volume-{id:03}"))).expect("a folder");
    let settings = || VolumeSettings { free_bytes_min: 0, ..VolumeSettings::DEFAULT };
    let store = uuid::Uuid::from_u128(7);
    match Volume::open(disk.clone(), Some((store, id)), settings()).await {
        Ok((volume, _)) => volume,
        Err(OpenError::Absent) => {
            let facts = Create { store, volume: id, volumes: 2, segment_bytes: 256 << 10, seed: 9 };
            Volume::create(&disk, &facts).await.expect("making a volume");
            Volume::open(disk, Some((store, id)), settings()).await.expect("it was made").0
        }
        Err(why) => panic!("{why}"),
    }
}

/// An account with an archive; what is in its INBOX.
async fn settle(volume: &Volume<Disk>) {
    let archive = NewMailbox { name: "Archive".to_owned(), special_use: 0 };
    let put = Op::PutAccount {
        name: "x".to_owned(),
        secrets: Vec::new(),
        mailboxes: vec![archive],
        limits: ringpost_storage::Limits::NONE,
    };
    make_durable(volume, Transaction { bodies: Vec::new(), ops: vec![put] }).await.expect("an account");
    let account = volume.account_named("x").expect("just made");
    for n in 0..LETTERS {
        let op = Op::Append {
            account,
            mailbox: MailboxId::INBOX,
            body: 0,
            prefix: b"X-Copy: alone\r\n".to_vec(),
            flags: Flags { bits: Flags::SEEN, keywords: Flags::none().keywords },
            internal_ms: 1_000 * i64::from(n),
        };
        let bodies = vec![Body::from(format!("letter {n} of {account:?}\r\n").into_bytes())];
        make_durable(volume, Transaction { bodies, ops: vec![op] }).await.expect("a letter");
    }
}

fn to(mailbox: MailboxId) -> Away {
    Away { volume: 1, account: BOB, name: "x@there".to_owned(), mailbox }
}

async fn shift(office: &Rc<Office>, uids: &[u32], to: &Away, hide: bool) -> Result<Arrived, String> {
    let volume = office.volume(0).expect("it is here");
    let alice = Resident { volume, account: ALICE, name: "x".into(), began: ringpost::shard::now() };
    let done = copy_away(office, (&alice, 0), MailboxId::INBOX, uids, to, hide).await;
    done.map_err(|why| why.to_string())
}

/// Texts of all messages of a mailbox, from a volume that nobody runs.
async fn texts(id: u16, account: AccountId, mailbox: MailboxId) -> Vec<String> {
    let volume = open(id).await;
    let Some(loaded) = volume.load(account).await.expect("it reads") else { return Vec::new() };
    let messages = loaded.mailbox(mailbox, |m| m.messages().to_vec()).unwrap_or_default();
    let mut all = Vec::new();
    for message in messages {
        assert!(message.flags().has(Flags::SEEN));
        all.push(String::from_utf8(volume.read(&message).await.expect("it reads")).expect("text"));
    }
    all
}

fn doing<F: Future<Output = ()> + 'static>(work: impl Fn(Rc<Office>) -> F + Send + Sync + 'static) -> Work {
    Arc::new(move |office| Box::pin(work(office)))
}

/// What is in alice's INBOX and in bob's archive, when nothing runs.
fn look(world: &World) -> (Vec<String>, Vec<String>) {
    let seen = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let put = seen.clone();
    let node: NodeId = world.start(1, move |_mesh: shard::Mesh<(), ()>| {
        let put = put.clone();
        async move {
            let both = (texts(0, ALICE, MailboxId::INBOX).await, texts(1, BOB, ARCHIVE).await);
            *put.lock().expect("one thread") = both;
            Ok(())
        }
    });
    world.run_until(async { world.ended(node).await.expect("it looks") });
    seen.lock().expect("one thread").clone()
}

fn letters() -> Vec<String> {
    (0..LETTERS).map(|n| format!("X-Copy: alone\r\nletter {n} of {ALICE:?}\r\n")).collect()
}

#[test]
fn messages_are_copied_and_moved_to_another_volume_with_what_they_are() {
    let world = World::new(1);
    let said = Arc::new(Mutex::new(Vec::new()));
    let put = said.clone();
    let node = start(
        &world,
        doing(move |office| {
            let put = put.clone();
            async move {
                for (uids, mailbox, hide) in [
                    (&[1, 3, 9][..], ARCHIVE, false),
                    (&[2], MailboxId(7), true),
                    (&[2, 3], ARCHIVE, true),
                    (&[2, 3], ARCHIVE, true),
                ] {
                    let arrived = shift(&office, uids, &to(mailbox), hide).await.expect("it is done");
                    put.lock().expect("one thread").push(arrived);
                }
            }
        }),
    );
    world.run_until(async {
        shard::sleep(Duration::from_secs(5)).await;
        world.stop(node).await.expect("an orderly stop");
    });
    let said = said.lock().expect("one thread").clone();
    let uids = |n: usize| {
        said[n].pairs.iter().map(|(uid, there)| (*uid, there.expect("no crash came between").1)).collect::<Vec<_>>()
    };
    assert_eq!((uids(0), &said[0].bounced), (vec![(1, 1), (3, 2)], &vec![]), "what does not exist is passed over");
    assert_eq!((uids(1), &said[1].bounced), (vec![], &vec![2]), "there is no such mailbox");
    assert_eq!((uids(2), uids(3)), (vec![(2, 3), (3, 4)], vec![]));
    let [one, two, three] = letters().try_into().expect("three");
    let (here, there) = look(&world);
    assert_eq!(here, std::slice::from_ref(&one), "what bounced stayed until it was moved");
    assert_eq!(there, [one, three.clone(), two, three]);
    assert_eq!(world.panics(), [""; 0]);
}

#[test]
fn what_has_no_room_in_another_volume_is_not_sent_and_what_has_uses_it_up() {
    let world = World::new(2);
    let said = Arc::new(Mutex::new(Vec::new()));
    let put = said.clone();
    let node = start(
        &world,
        doing(move |office| {
            let put = put.clone();
            async move {
                // The other shard has its account and letters by then.
                shard::sleep(Duration::from_secs(1)).await;
                office.hear(Change::Limited { accounts: vec![BOB], limited: true });
                // Bob has three letters.
                let limits = Limits { bytes: 0, messages: 5 };
                let deeds = vec![Deed::SetLimits(BOB, limits)];
                let done = office.mesh.call(1, Request::Do { volume: 1, deeds }, 0).await;
                assert!(matches!(done, Ok(Reply::Did(Ok(_)))), "{done:?}");
                for uids in [&[1, 2, 3][..], &[1, 9], &[1, 2], &[3]] {
                    let arrived = shift(&office, uids, &to(ARCHIVE), true).await;
                    put.lock().expect("one thread").push(arrived.map(|a| a.pairs.len()));
                }
            }
        }),
    );
    world.run_until(async {
        shard::sleep(Duration::from_secs(5)).await;
        world.stop(node).await.expect("an orderly stop");
    });
    let full = || Err(format!("refused: {}", Refused::OverQuota));
    // The one that is not there any more takes no room.
    assert_eq!(*said.lock().expect("one thread"), [full(), Ok(1), Ok(1), full()]);
    let (here, there) = look(&world);
    assert_eq!((here.len(), there.len()), (1, 2));
    assert_eq!(world.panics(), [""; 0]);
}

#[test]
fn a_power_cut_at_any_moment_of_a_move_leaves_each_message_here_or_there_and_never_both() {
    let (mut moved, mut stayed) = (0, 0);
    for step in 0..80 {
        let world = World::new(step % 9);
        let began = Arc::new(Mutex::new(false));
        let begin = began.clone();
        let node = start(
            &world,
            doing(move |office| {
                let begin = begin.clone();
                async move {
                    *begin.lock().expect("one thread") = true;
                    shift(&office, &[1, 2, 3], &to(ARCHIVE), true).await.ok();
                }
            }),
        );
        world.run_until(async {
            while !*began.lock().expect("one thread") {
                shard::sleep(Duration::from_micros(10)).await;
            }
            shard::sleep(Duration::from_micros(20 * step)).await;
            world.crash(node);
            let carrying = start(&world, doing(|_| async {}));
            shard::sleep(Duration::from_secs(2)).await;
            world.stop(carrying).await.expect("an orderly stop");
        });
        let (here, there) = look(&world);
        assert!(
            (here.is_empty() && there == letters()) || (there.is_empty() && here == letters()),
            "step {step}: here {here:?}, there {there:?}"
        );
        *if here.is_empty() { &mut moved } else { &mut stayed } += 1;
        assert_eq!(world.panics(), [""; 0]);
    }
    println!("{moved} moved, {stayed} stayed");
    assert!(moved > 10 && stayed > 0, "{moved} moved, {stayed} stayed");
}
