//! Many readers of one mailbox at once, each of whom believes what it is told and nothing else (A130).

use ringpost::shard;
use ringpost::shard::sim::Chance;

use crate::imap_condstore::number;
use crate::imap_door::Client;
use crate::post::{House, seconds};

/// A reader and what it believes: UIDs by number, 0 where it was told none yet.
struct Reader {
    client: Client,
    uids: Vec<u64>,
    chance: Chance,
}

impl Reader {
    async fn open(seed: u64, n: usize) -> Reader {
        let mut client = Client::login("alice").await;
        let exists = number(&client.say("SELECT INBOX").await.replace(" EXISTS", "").replace("FLAGS ", "x"), "~ ");
        let mut reader =
            Reader { client, uids: vec![0; exists as usize], chance: Chance::of(seed, &format!("reader {n}")) };
        reader.say("FETCH 1:* (UID)").await;
        reader
    }

    /// Says a command and believes the answer; the verdict.
    async fn say(&mut self, command: &str) -> String {
        let said = self.client.say(command).await;
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
                    self.uids.remove(n - 1);
                }
                (Ok(n), "EXISTS") => {
                    assert!(n > self.uids.len(), "{command}: {line} of {}", self.uids.len());
                    self.uids.resize(n, 0);
                }
                (Ok(n), "FETCH") => {
                    let known = &mut self.uids[n - 1];
                    if let Some((_, uid)) = line.split_once("(UID ") {
                        let uid = uid.split([' ', ')']).next().expect("a first part").parse().expect("a UID");
                        assert!(*known == 0 || *known == uid, "{command}: {line}, but it was {known}");
                        *known = uid;
                    }
                }
                _ if words[0] == "SEARCH" => {
                    let found = words[1..].iter().map(|n| n.parse::<usize>().expect("a number"));
                    assert!(command.starts_with("UID") || found.max().unwrap_or(0) <= self.uids.len(), "{line}");
                }
                _ => assert!(line.starts_with("OK [COPYUID "), "{command}: {line}"),
            }
        }
        verdict.to_owned()
    }

    async fn act(&mut self) {
        let n = self.chance.below(self.uids.len() as u64 + 1).max(1);
        let m = self.chance.below(self.uids.len() as u64 + 1).max(1);
        let command = match self.chance.below(14) {
            0 | 1 => "APPEND INBOX {8+}\r\na: b\r\n\r\n".to_owned(),
            2 => "APPEND INBOX {8+}\r\na: b\r\n\r\n (\\Seen) {8+}\r\na: c\r\n\r\n".to_owned(),
            3 => format!("STORE {n} +FLAGS.SILENT (\\Deleted)"),
            4 => format!("STORE {n}:{m} -FLAGS (\\Deleted)"),
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
        let gone = self.uids.is_empty() || verdict.starts_with("NO EXPUNGEISSUED");
        assert!(gone || verdict.starts_with("OK"), "{command}: {verdict}");
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
        let mut views = Vec::new();
        let mut done = Vec::new();
        for reader in all {
            done.push(reader.await);
        }
        for reader in &mut done {
            reader.say("NOOP").await;
            reader.say("FETCH 1:* (UID)").await;
            views.push(reader.uids.clone());
        }
        assert!(views.iter().all(|view| *view == views[0] && view.is_sorted_by(|a, b| a < b)), "{views:?}");
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
