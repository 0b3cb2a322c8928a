//! Sessions that change the names of one account at the same time: what each is told, and what is there in the end, is what
//! some order of their commands would have given.

use std::collections::BTreeMap;
use std::time::Duration;

use ringpost::shard;
use ringpost::shard::sim::Chance;

use crate::imap_door::Client;
use crate::post::House;

const OK: &str = "OK";
const EXISTS: &str = "NO ALREADYEXISTS";
const NONE: &str = "NO NONEXISTENT";
/// Rounds of one seed.
const ROUNDS: u64 = 40;

/// Mailboxes by name; `None`: one that came in this round, else its UIDVALIDITY.
type Boxes = BTreeMap<String, Option<u32>>;

#[derive(Clone, Debug)]
enum Command {
    Create(String),
    Delete(String),
    Rename(String, String),
}

impl Command {
    fn words(&self) -> String {
        match self {
            Command::Create(name) => format!("CREATE {name}"),
            Command::Delete(name) => format!("DELETE {name}"),
            Command::Rename(from, to) => format!("RENAME {from} {to}"),
        }
    }

    /// Does it to the boxes, and returns what is to be said.
    fn carry_out(&self, boxes: &mut Boxes) -> &'static str {
        match self {
            Command::Create(name) if boxes.contains_key(name) => EXISTS,
            Command::Create(name) => {
                boxes.insert(name.clone(), None);
                OK
            }
            Command::Delete(name) => boxes.remove(name).map_or(NONE, |_| OK),
            Command::Rename(from, to) => {
                let (going, staying): (Boxes, Boxes) =
                    boxes.clone().into_iter().partition(|(name, _)| name == from || below(name, from));
                let renamed: Boxes =
                    going.into_iter().map(|(name, id)| (format!("{to}{}", &name[from.len()..]), id)).collect();
                if renamed.is_empty() {
                    return NONE;
                }
                if renamed.keys().any(|name| staying.contains_key(name)) {
                    return EXISTS;
                }
                *boxes = staying;
                boxes.extend(renamed);
                OK
            }
        }
    }
}

fn below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn random(chance: &Chance, under: &str) -> Command {
    let name = || format!("{under}/{}", ["k", "x", "p", "p/k", "p/l", "q"][chance.index(6)]);
    match chance.below(4) {
        0 => Command::Create(name()),
        1 => Command::Delete(name()),
        _ => loop {
            let (from, to) = (name(), name());
            if from != to && !below(&to, &from) {
                return Command::Rename(from, to);
            }
        },
    }
}

/// The mailboxes below a name.
async fn found(client: &mut Client, under: &str) -> Boxes {
    let said = client.say(&format!("LIST \"\" {under}/* RETURN (STATUS (UIDVALIDITY))")).await;
    let counted = said.split(" ~ ").filter_map(|line| line.strip_prefix("STATUS ")?.split_once(" (UIDVALIDITY "));
    counted.map(|(name, number)| (name.to_owned(), number.trim_end_matches(')').parse().ok())).collect()
}

/// True if this order gives what was said and what is there.
fn explains(order: [usize; 3], commands: &[Command], said: &[String], before: &Boxes, after: &Boxes) -> bool {
    let mut boxes = before.clone();
    order.iter().all(|&n| commands[n].carry_out(&mut boxes) == said[n])
        && boxes.keys().eq(after.keys())
        && boxes.iter().all(|(name, id)| match id {
            Some(_) => after[name] == *id,
            None => !before.values().any(|known| *known == after[name]),
        })
}

#[test]
fn names_changed_at_once_are_as_if_changed_one_after_the_other() {
    let mut in_the_way = 0;
    for seed in 0..8 {
        let house = House::new(seed, 2, |_| {});
        house.tell(async |_| {
            let chance = Chance::of(seed, "races");
            let mut clients = [Client::login("bob").await, Client::login("bob").await, Client::login("bob").await];
            for round in 0..ROUNDS {
                let under = format!("r{round}");
                for name in ["k", "p", "p/k", "p/l"].into_iter().filter(|_| !chance.one_in(4)) {
                    assert_eq!(clients[0].say(&format!("CREATE {under}/{name}")).await, OK);
                }
                let before = found(&mut clients[0], &under).await;
                let commands = [(); 3].map(|()| random(&chance, &under));
                for (client, command) in clients.iter_mut().zip(&commands) {
                    client.lines.say(format!("x {}\r\n", command.words())).await.expect("connected");
                    if chance.one_in(4) {
                        shard::sleep(Duration::from_micros(chance.below(500))).await;
                    }
                }
                let mut said = Vec::new();
                for client in &mut clients {
                    said.push(client.hear().await);
                }
                let after = found(&mut clients[1], &under).await;
                let mut orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter();
                assert!(
                    orders.any(|order| explains(order, &commands, &said, &before, &after)),
                    "seed {seed}: no order explains\n{commands:?}\n{said:?}\n{before:?}\n{after:?}"
                );
                let alone = |command: &Command| command.carry_out(&mut before.clone());
                in_the_way += commands.iter().zip(&said).filter(|(command, said)| alone(command) != *said).count();
            }
        });
    }
    assert!(in_the_way > 20, "they have met {in_the_way} times only");
}

#[test]
fn a_mailbox_that_is_renamed_is_not_removed_under_its_old_name() {
    House::over_seeds(async |_| {
        let mut clients = [Client::login("alice").await, Client::login("alice").await];
        for turn in [[0, 1], [1, 0]] {
            assert_eq!(clients[0].say("CREATE keep").await, OK);
            assert_eq!(clients[0].say("APPEND keep {9+}\r\na: b\r\n\r\nx").await, OK);
            let commands = ["RENAME keep safe", "DELETE keep"];
            for n in turn {
                clients[n].lines.say(format!("x {}\r\n", commands[n])).await.expect("connected");
            }
            let said = [clients[0].hear().await, clients[1].hear().await];
            let left = clients[1].say("STATUS safe (MESSAGES)").await;
            if said == [OK, NONE] {
                assert_eq!(left, "STATUS safe (MESSAGES 1) ~ OK");
                assert_eq!(clients[0].say("DELETE safe").await, OK);
            } else {
                assert_eq!((said, &*left), ([NONE.to_owned(), OK.to_owned()], NONE));
            }
        }
    });
}
