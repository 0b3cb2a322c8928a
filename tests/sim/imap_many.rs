//! Many readers of one mailbox at once, each of whom believes what it is told and nothing else (A130).

use std::collections::BTreeSet;

use ringpost::shard;
use ringpost::shard::sim::Chance;

use crate::imap_condstore::number;
use crate::imap_door::Client;
use crate::post::{House, seconds};

/// What a reader believes of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Believed {
    /// 0 where it was told none yet.
    uid: u64,
    /// Where it was told of any.
    flags: Option<BTreeSet<String>>,
}

/// A reader and what it believes, by number.
struct Reader {
    client: Client,
    all: Vec<Believed>,
    chance: Chance,
}

impl Reader {
    async fn open(seed: u64, n: usize) -> Reader {
        let mut client = Client::login("alice").await;
        let exists = number(&client.say("SELECT INBOX").await.replace(" EXISTS", "").replace("FLAGS ", "x"), "~ ");
        let mut reader = Reader {
            client,
            all: vec![Believed::default(); exists as usize],
            chance: Chance::of(seed, &format!("reader {n}")),
        };
        reader.say("FETCH 1:* (UID)").await;
        reader
    }

    /// Says a command and believes the answer; the verdict.
    async fn say(&mut self, command: &str) -> String {
        let said = self.client.say(command).await;
        if let Some((set, flag)) = command.strip_prefix("STORE ").and_then(|rest| rest.split_once(" +FLAGS.SILENT ")) {
            // It was silent: the flag is there, and if anything else is new the answer has it.
            let n: usize = set.parse().expect("a number");
            if let Some(flags) = self.all.get_mut(n - 1).and_then(|m| m.flags.as_mut()) {
                flags.insert(flag.trim_matches(['(', ')']).to_owned());
            }
        }
        let counts = ["FETCH", "STORE", "SEARCH"].iter().any(|word| command.starts_with(word));
        self.believe(command, &said, counts)
    }

    fn believe(&mut self, command: &str, said: &str, counts: bool) -> String {
        let (told, verdict) = said.rsplit_once(" ~ ").unwrap_or(("", said));
        for line in told.split(" ~ ").filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let at = words[0].parse::<usize>();
            match (at, words.get(1).copied().unwrap_or_default()) {
                (Ok(n), "EXPUNGE") => {
                    assert!(!counts, "{command}: {line} while the client counts");
                    self.all.remove(n - 1);
                }
                (Ok(n), "EXISTS") => {
                    assert!(n > self.all.len(), "{command}: {line} of {}", self.all.len());
                    self.all.resize(n, Believed::default());
                }
                (Ok(n), "FETCH") => {
                    let known = &mut self.all[n - 1];
                    if let Some((_, uid)) = line.split_once("(UID ") {
                        let uid = uid.split([' ', ')']).next().expect("a first part").parse().expect("a UID");
                        assert!(known.uid == 0 || known.uid == uid, "{command}: {line}, but it was {}", known.uid);
                        known.uid = uid;
                    }
                    if let Some((_, flags)) = line.split_once("FLAGS (") {
                        let flags = flags.split(')').next().expect("a first part");
                        known.flags = Some(flags.split_whitespace().map(str::to_owned).collect());
                    }
                }
                _ if words[0] == "SEARCH" => {
                    let found = words[1..].iter().map(|n| n.parse::<usize>().expect("a number"));
                    assert!(command.starts_with("UID") || found.max().unwrap_or(0) <= self.all.len(), "{line}");
                }
                _ => assert!(line.starts_with("OK [COPYUID "), "{command}: {line}"),
            }
        }
        verdict.to_owned()
    }

    async fn act(&mut self) {
        let n = self.chance.below(self.all.len() as u64 + 1).max(1);
        let m = self.chance.below(self.all.len() as u64 + 1).max(1);
        let flag = ["\\Deleted", "\\Flagged", "\\Seen", "x"][self.chance.below(4) as usize];
        let command = match self.chance.below(16) {
            0 | 1 => "APPEND INBOX {8+}\r\na: b\r\n\r\n".to_owned(),
            2 => "APPEND INBOX {8+}\r\na: b\r\n\r\n (\\Seen) {8+}\r\na: c\r\n\r\n".to_owned(),
            3 | 14 => format!("STORE {n} +FLAGS.SILENT ({flag})"),
            4 => format!("STORE {n}:{m} -FLAGS ({flag} \\Deleted)"),
            15 => format!("FETCH {n} (BODY[TEXT])"),
            5 => "EXPUNGE".to_owned(),
            6 => format!("COPY {n} INBOX"),
            7 => format!("MOVE {n} other"),
            8 => format!("UID MOVE {}:{} INBOX", n * 3, n * 3 + 2),
            9 => format!("FETCH {n}:* (UID FLAGS)"),
            10 => "FETCH 1:* (UID)".to_owned(),
            11 => "SEARCH NOT SEEN".to_owned(),
            12 => "NOOP".to_owned(),
            _ => {
                self.client.idle().await;
                shard::sleep(seconds(self.chance.below(3))).await;
                let said = self.client.done().await;
                self.believe("IDLE", &said, false);
                return;
            }
        };
        let verdict = self.say(&command).await;
        let gone = self.all.is_empty() || verdict.starts_with("NO EXPUNGEISSUED");
        assert!(gone || verdict.starts_with("OK"), "{command}: {verdict}");
    }
}

/// All believe the same, and what is there.
async fn agree(readers: &mut [Reader]) {
    let mut views = Vec::new();
    for reader in readers {
        reader.say("NOOP").await;
        // It has them all by now; of flags it was told, or not.
        reader.say("FETCH 1:* (UID)").await;
        views.push(reader.all.clone());
    }
    let mut last = Reader::open(0, 0).await;
    last.say("FETCH 1:* (FLAGS)").await;
    assert!(last.all.is_sorted_by(|a, b| a.uid < b.uid), "{:?}", last.all);
    for view in views {
        assert_eq!(view.len(), last.all.len(), "{view:?}");
        for (believed, there) in view.iter().zip(&last.all) {
            assert_eq!(believed.uid, there.uid);
            assert!(believed.flags.is_none() || believed.flags == there.flags, "{believed:?}, but {there:?}");
        }
    }
}

fn together(seed: u64, readers: usize, deeds: usize) {
    let house = House::new(seed, 2, |_| {});
    house.tell(async |house| {
        let mut first = Client::in_inbox("alice").await;
        first.say("CREATE other").await;
        let all: Vec<_> = (0..readers)
            .map(|n| {
                house.world.spawn("reader", async move {
                    let mut reader = Reader::open(seed, n).await;
                    for _ in 0..deeds {
                        reader.act().await;
                    }
                    reader
                })
            })
            .collect();
        let mut done = Vec::new();
        for reader in all {
            done.push(reader.await);
        }
        agree(&mut done).await;
        // And once more with all flags known: each changes silently what the one before it has just changed.
        for reader in &mut done {
            reader.say("FETCH 1:* (FLAGS)").await;
        }
        for (n, reader) in done.iter_mut().enumerate() {
            reader.say(&format!("STORE 1 +FLAGS.SILENT (k{n})")).await;
        }
        agree(&mut done).await;
    });
}

#[test]
fn a130_readers_who_change_one_mailbox_all_end_with_what_is_there() {
    for seed in 0..5 {
        together(seed, 8, 40);
    }
}

#[test]
fn a130_fifty_readers_at_once() {
    together(50, 50, 12);
}
