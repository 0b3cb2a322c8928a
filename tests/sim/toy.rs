//! A toy mail server, right or wrong on purpose: the story must let the right one pass and catch each wrong one.
//!
//! One shard, one log: a record is length, checksum, accounts (a bit each), letter, padded to a sector.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;

use ringpost::shard::sim::{NodeId, World};
use ringpost::shard::{self, DiskFile, Mesh, Stream};
use ringpost_storage::disk::{Disk, File};
use xxhash_rust::xxh3::xxh3_64;

use crate::story::{Account, Doors, Story, Told};

const LOG_BYTES: u64 = 6 << 20;
const SECTOR: usize = 512;
const HEAD: usize = 16;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// `250` before the sync.
    AcknowledgesEarly,
    /// `250` and nothing written.
    Forgets,
    /// UIDs are dealt anew at each start, last letter first.
    ReusesUids,
    /// A letter to several is kept twice.
    Doubles,
    /// Checksums are not looked at.
    BelievesTheDisk,
    /// Dots stay stuffed.
    KeepsDots,
    /// Hangs up in the middle of an answer once there is mail.
    Panics,
}

struct Toy {
    fault: Fault,
    file: DiskFile,
    end: Cell<u64>,
    busy: Cell<bool>,
    letters: RefCell<Vec<(u32, Vec<u8>)>>,
}

fn accounts() -> Vec<Account> {
    ["a", "b", "c"].iter().map(|n| Account { name: format!("{n}@toy"), password: "secret".to_owned() }).collect()
}

fn doors() -> Doors {
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    Doors { smtp: at(25), pop3: at(110), imap: at(143) }
}

fn start(world: &World, fault: Fault) -> NodeId {
    world.start(1, move |_mesh: Mesh<(), ()>| async move {
        let toy = Rc::new(Toy::open(fault).await);
        let doors = doors();
        for (which, at) in [doors.smtp, doors.pop3, doors.imap].into_iter().enumerate() {
            let (toy, mut door) = (toy.clone(), shard::listen(at).expect("the door opens"));
            shard::spawn("door", async move {
                while let Ok(stream) = door.accept().await {
                    let (toy, talk) = (toy.clone(), Talk { stream, held: Vec::new() });
                    shard::spawn("talk", async move {
                        // `None`: the peer is gone.
                        let _ = match which {
                            0 => toy.smtp(talk).await,
                            1 => toy.pop3(talk).await,
                            _ => toy.imap(talk).await,
                        };
                    });
                }
            });
        }
        shard::stop_requested().await;
        while toy.busy.get() {
            shard::sleep(std::time::Duration::from_millis(1)).await;
        }
        Ok(())
    })
}

struct Talk {
    stream: Stream,
    held: Vec<u8>,
}

impl Talk {
    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let mut seen = 0;
        loop {
            if let Some(at) = memchr::memmem::find(&self.held[seen..], end) {
                return Some(self.held.drain(..seen + at + end.len()).collect());
            }
            seen = self.held.len().saturating_sub(end.len());
            let chunk = self.stream.recv().await.ok().filter(|chunk| !chunk.is_empty())?;
            self.held.extend_from_slice(&chunk);
        }
    }

    async fn line(&mut self) -> Option<String> {
        let line = self.until(b"\r\n").await?;
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    async fn say(&mut self, bytes: impl AsRef<[u8]>) -> Option<()> {
        self.stream.send(bytes.as_ref().to_vec()).await.0.ok()
    }
}

impl Toy {
    async fn open(fault: Fault) -> Toy {
        let disk = shard::disk(Path::new("/toy")).expect("a folder");
        let file = match disk.open("log").await {
            Ok(file) => file,
            Err(_) => disk.create("log", LOG_BYTES).await.expect("a log"),
        };
        let log = file.read_at(0, LOG_BYTES as usize).await.expect("readable");
        let (mut letters, mut end) = (Vec::new(), 0usize);
        while let Some((mask, letter)) = record(&log[end..], fault) {
            end += (HEAD + letter.len()).next_multiple_of(SECTOR);
            letters.push((mask, letter));
        }
        if fault == Fault::ReusesUids {
            letters.reverse();
        }
        Toy { fault, file, end: Cell::new(end as u64), busy: Cell::new(false), letters: RefCell::new(letters) }
    }

    /// Writes a letter and waits for its sync.
    async fn keep(self: &Rc<Self>, mask: u32, letter: Vec<u8>) -> bool {
        while self.busy.get() {
            shard::sleep(std::time::Duration::from_micros(100)).await;
        }
        let mut bytes = u32::try_from(letter.len()).expect("short").to_le_bytes().to_vec();
        bytes.extend_from_slice(&mask.to_le_bytes());
        bytes.extend_from_slice(&xxh3_64(&letter).to_le_bytes());
        bytes.extend_from_slice(&letter);
        bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        if self.fault == Fault::Doubles && mask.count_ones() > 1 {
            bytes = bytes.repeat(2);
        }
        let (at, len) = (self.end.get(), bytes.len() as u64);
        if at + len > LOG_BYTES || self.fault == Fault::Forgets {
            return self.fault == Fault::Forgets;
        }
        self.busy.set(true);
        self.end.set(at + len);
        let me = self.clone();
        let written = async move {
            let kept = me.file.write_sync(at, vec![Rc::new(bytes)]).await.is_ok();
            me.letters.borrow_mut().push((mask, letter));
            me.busy.set(false);
            kept
        };
        if self.fault == Fault::AcknowledgesEarly {
            shard::spawn("late", async move { assert!(written.await) });
            return true;
        }
        written.await
    }

    async fn smtp(self: Rc<Self>, mut talk: Talk) -> Option<()> {
        talk.say("220 toy\r\n").await?;
        let mut mask = 0;
        loop {
            let line = talk.line().await?;
            match line.get(..4)? {
                "RCPT" => {
                    let at = accounts().iter().position(|a| line.contains(&a.name))?;
                    mask |= 1 << at;
                    talk.say("250 ok\r\n").await?;
                }
                "DATA" => {
                    talk.say("354 go\r\n").await?;
                    let mut letter = talk.until(b"\r\n.\r\n").await?;
                    letter.truncate(letter.len() - 3);
                    if self.fault != Fault::KeepsDots {
                        letter = letter
                            .split_inclusive(|b| *b == b'\n')
                            .flat_map(|l| l.strip_prefix(b".").unwrap_or(l))
                            .copied()
                            .collect();
                    }
                    let kept = self.keep(std::mem::take(&mut mask), letter).await;
                    talk.say(if kept { "250 kept\r\n" } else { "452 4.3.1 full\r\n" }).await?;
                }
                "QUIT" => return talk.say("221 bye\r\n").await,
                _ => {
                    mask = 0;
                    talk.say("250 ok\r\n").await?;
                }
            }
        }
    }

    fn mailbox(&self, name: &str) -> Vec<Vec<u8>> {
        let at = accounts().iter().position(|a| a.name == name).expect("an account");
        self.letters.borrow().iter().filter(|(mask, _)| mask & (1 << at) != 0).map(|(_, l)| l.clone()).collect()
    }

    async fn pop3(self: Rc<Self>, mut talk: Talk) -> Option<()> {
        talk.say("+OK toy\r\n").await?;
        let user = talk.line().await?;
        let mail = self.mailbox(user.strip_prefix("USER ")?);
        talk.say("+OK\r\n").await?;
        loop {
            let line = talk.line().await?;
            let listing = |word: &dyn Fn(usize) -> String| {
                let lines: String = (0..mail.len()).map(|i| format!("{} {}\r\n", i + 1, word(i))).collect();
                format!("+OK\r\n{lines}.\r\n").into_bytes()
            };
            let said = match line.get(..4)? {
                "STAT" => format!("+OK {} {}\r\n", mail.len(), mail.iter().map(Vec::len).sum::<usize>()).into_bytes(),
                "LIST" => listing(&|i| mail[i].len().to_string()),
                "UIDL" => listing(&|i| format!("u{i}")),
                "RETR" => {
                    assert!(self.fault != Fault::Panics, "the toy breaks");
                    let letter = &mail[line[5..].parse::<usize>().ok()? - 1];
                    let stuffed = letter
                        .split_inclusive(|b| *b == b'\n')
                        .flat_map(|line| [if line.starts_with(b".") { &b"."[..] } else { b"" }, line]);
                    [b"+OK\r\n", stuffed.collect::<Vec<_>>().concat().as_slice(), b".\r\n"].concat()
                }
                "QUIT" => return talk.say("+OK bye\r\n").await,
                _ => b"+OK\r\n".to_vec(),
            };
            talk.say(said).await?;
        }
    }

    async fn imap(self: Rc<Self>, mut talk: Talk) -> Option<()> {
        talk.say("* OK toy\r\n").await?;
        let login = talk.line().await?;
        let mail = self.mailbox(login.split(' ').nth(2)?);
        talk.say("t1 OK in\r\n").await?;
        loop {
            let line = talk.line().await?;
            let mut said = Vec::new();
            if line.contains("EXAMINE") {
                let (count, next) = (mail.len(), mail.len() + 1);
                said =
                    format!("* {count} EXISTS\r\n* OK [UIDVALIDITY 1] v\r\n* OK [UIDNEXT {next}] n\r\n").into_bytes();
            } else if line.contains("FETCH") {
                for (i, letter) in mail.iter().enumerate() {
                    let (n, len) = (i + 1, letter.len());
                    said.extend(format!("* {n} FETCH (UID {n} RFC822.SIZE {len} BODY[] {{{len}}}\r\n").bytes());
                    said.extend_from_slice(letter);
                    said.extend_from_slice(b")\r\n");
                }
            } else {
                return talk.say("* BYE\r\nt1 OK out\r\n").await;
            }
            said.extend_from_slice(b"t1 OK done\r\n");
            talk.say(said).await?;
        }
    }
}

fn record(log: &[u8], fault: Fault) -> Option<(u32, Vec<u8>)> {
    let word = |at: usize| Some(u32::from_le_bytes(log.get(at..at + 4)?.try_into().ok()?));
    let len = word(0).filter(|len| *len > 0)? as usize;
    let letter = log.get(HEAD..HEAD + len)?;
    let check = u64::from_le_bytes(log[8..16].try_into().ok()?);
    (check == xxh3_64(letter) || fault == Fault::BelievesTheDisk).then(|| (word(4).expect("there"), letter.to_vec()))
}

fn tell(seed: u64, fault: Fault) -> Told {
    let world = World::new(seed);
    Story { world: &world, doors: doors(), accounts: accounts(), removes: false, start: &|world| start(world, fault) }
        .tell()
}

#[test]
fn a_right_server_passes_and_its_story_is_the_same_each_time() {
    let mut promised = 0;
    for seed in 0..15 {
        let told = tell(seed, Fault::Nothing);
        assert_eq!(told, tell(seed, Fault::Nothing), "seed {seed}");
        promised += told.promised;
    }
    assert!(promised > 100, "senders got {promised} letters in");
}

#[test]
fn each_wrong_server_is_caught() {
    use Fault::*;
    for fault in [AcknowledgesEarly, Forgets, ReusesUids, Doubles, BelievesTheDisk, KeepsDots, Panics] {
        let caught = (0..200).find(|seed| catch_unwind(AssertUnwindSafe(|| tell(*seed, fault))).is_err());
        assert!(caught.is_some(), "{fault:?} passes as right");
    }
}
