//! Answers that are kept for as long as they may be believed. Pure: the time is told.
//!
//! Bounded in number and octets; what was wanted least lately goes first. An answer that may no longer be believed is never
//! given out: whoever asks for it next throws it away.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::{Item, Lookup, Reason};
use super::message::Kind;
use super::name::Name;
use crate::limits::{DNS_CACHE_BYTES_MAX, DNS_CACHE_ENTRIES_MAX, DNS_CACHE_S_MIN, DNS_FAILURE_S};
use crate::shard::Moment;

/// What is asked.
pub type Question = (Kind, Name);

/// Octets that an entry takes beside its names and records, guessed.
const ENTRY_BYTES: usize = 256;

/// The answers that one shard keeps.
pub struct Cache {
    entries: BTreeMap<Question, Entry>,
    /// From the one wanted least lately.
    order: BTreeMap<u64, Question>,
    next: u64,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

struct Entry {
    answer: Lookup<Item>,
    until: Moment,
    wanted: u64,
    bytes: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Cache::bounded(DNS_CACHE_ENTRIES_MAX, DNS_CACHE_BYTES_MAX)
    }
}

impl Cache {
    /// A cache of so many entries and so many octets.
    #[must_use]
    pub fn bounded(entries_max: usize, bytes_max: usize) -> Cache {
        Cache { entries: BTreeMap::new(), order: BTreeMap::new(), next: 0, bytes: 0, entries_max, bytes_max }
    }

    /// The answer, with what is left of its life.
    pub fn get(&mut self, question: &Question, now: Moment) -> Option<Lookup<Item>> {
        let entry = self.entries.get_mut(question)?;
        if entry.until <= now {
            self.remove(question);
            return None;
        }
        self.order.remove(&entry.wanted);
        entry.wanted = self.next;
        self.order.insert(self.next, question.clone());
        self.next += 1;
        let left_s = entry.until.since(now).as_secs();
        let ttl_s = u32::try_from(left_s).unwrap_or(u32::MAX).min(life_s(&entry.answer));
        Some(entry.answer.with_ttl_s(ttl_s))
    }

    /// Keeps an answer.
    pub fn put(&mut self, question: Question, answer: &Lookup<Item>, now: Moment) {
        let keep_s = match answer {
            // It says something about this moment alone.
            Lookup::Failed(Reason::Busy | Reason::NoResolver | Reason::Stopped) => return,
            Lookup::Failed(_) => DNS_FAILURE_S,
            _ => life_s(answer).max(DNS_CACHE_S_MIN),
        };
        self.remove(&question);
        let bytes = weight(&question, answer);
        if bytes > self.bytes_max {
            return;
        }
        while self.entries.len() >= self.entries_max || self.bytes + bytes > self.bytes_max {
            let (_, oldest) = self.order.pop_first().expect("what is kept is in order");
            self.remove(&oldest);
        }
        let until = now.after(Duration::from_secs(keep_s.into()));
        self.order.insert(self.next, question.clone());
        self.entries.insert(question, Entry { answer: answer.clone(), until, wanted: self.next, bytes });
        self.next += 1;
        self.bytes += bytes;
    }

    /// Answers kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, question: &Question) {
        if let Some(entry) = self.entries.remove(question) {
            self.order.remove(&entry.wanted);
            self.bytes -= entry.bytes;
        }
    }
}

fn life_s(answer: &Lookup<Item>) -> u32 {
    match answer {
        Lookup::Found(found) => found.ttl_s,
        Lookup::NoName(absent) | Lookup::NoData(absent) => absent.ttl_s,
        Lookup::Failed(_) => 0,
    }
}

fn weight(question: &Question, answer: &Lookup<Item>) -> usize {
    let records = match answer {
        Lookup::Found(found) => found.name.as_str().len() + found.records.iter().map(record_bytes).sum::<usize>(),
        _ => 0,
    };
    // The question is kept twice.
    ENTRY_BYTES + 2 * question.1.as_str().len() + records
}

fn record_bytes(item: &Item) -> usize {
    let beside = match item {
        Item::Address(_) => 0,
        Item::Mx(mx) => mx.exchange.as_ref().map_or(0, |host| host.as_str().len()),
        Item::Txt(text) => text.len(),
        Item::Name(name) => name.as_str().len(),
    };
    size_of::<Item>() + beside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::answer::{Absent, Found};
    use crate::limits;

    fn question(name: &str) -> Question {
        (Kind::A, Name::parse(name).expect("a name"))
    }

    fn at(seconds: u64) -> Moment {
        Moment(0).after(Duration::from_secs(seconds))
    }

    fn found(ttl_s: u32) -> Lookup<Item> {
        let name = Name::parse("a.test").expect("a name");
        let records = vec![Item::Address([192, 0, 2, 1].into())];
        Lookup::Found(Found { records, name, ttl_s, authentic: true })
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_lives_and_says_what_is_left() {
        let mut cache = Cache::default();
        cache.put(question("a.test"), &found(60), at(10));
        assert_eq!(cache.get(&question("a.test"), at(30)), Some(found(40)));
        assert_eq!(cache.get(&(Kind::Aaaa, question("a.test").1), at(30)), None);
        assert_eq!(cache.get(&question("a.test"), at(70)), None);
        assert!(cache.is_empty() && cache.bytes == 0 && cache.order.is_empty());
    }

    #[test]
    fn what_is_not_there_is_kept_too_and_failures_shortly() {
        let mut cache = Cache::default();
        let absent = |ttl_s| Lookup::NoName(Absent { ttl_s, authentic: false });
        cache.put(question("none.test"), &absent(300), at(0));
        assert_eq!(cache.get(&question("none.test"), at(100)), Some(absent(200)));
        cache.put(question("fails.test"), &Lookup::Failed(Reason::Timeout), at(0));
        let failure_s = u64::from(limits::DNS_FAILURE_S);
        assert_eq!(cache.get(&question("fails.test"), at(failure_s - 1)), Some(Lookup::Failed(Reason::Timeout)));
        assert_eq!(cache.get(&question("fails.test"), at(failure_s)), None);
        cache.put(question("busy.test"), &Lookup::Failed(Reason::Busy), at(0));
        assert_eq!(cache.get(&question("busy.test"), at(0)), None);
    }

    #[test]
    fn a_life_of_nothing_is_kept_for_the_crowd_of_this_second() {
        let mut cache = Cache::default();
        cache.put(question("a.test"), &found(0), at(0));
        assert_eq!(cache.get(&question("a.test"), at(0)), Some(found(0)));
        assert_eq!(cache.get(&question("a.test"), at(limits::DNS_CACHE_S_MIN.into())), None);
    }

    #[test]
    fn at_its_bound_what_was_wanted_least_lately_goes() {
        let mut cache = Cache::bounded(3, 1 << 20);
        for name in ["a.test", "b.test", "c.test"] {
            cache.put(question(name), &found(60), at(0));
        }
        assert!(cache.get(&question("a.test"), at(1)).is_some());
        cache.put(question("d.test"), &found(60), at(1));
        assert_eq!((cache.len(), cache.order.len()), (3, 3));
        assert_eq!(cache.get(&question("b.test"), at(1)), None);
        assert!(["a.test", "c.test", "d.test"].iter().all(|n| cache.get(&question(n), at(1)).is_some()));
    }

    #[test]
    fn octets_are_bounded_as_well() {
        let mut cache = Cache::bounded(1_000, 4_096);
        let text = Lookup::Found(Found {
            records: vec![Item::Txt(vec![b'x'; 1_000].into())],
            name: question("a.test").1,
            ttl_s: 60,
            authentic: false,
        });
        for number in 0..50 {
            cache.put(question(&format!("{number}.test")), &text, at(0));
            assert!(cache.bytes <= 4_096);
        }
        assert_eq!(cache.len(), 3);
        assert!(cache.get(&question("49.test"), at(0)).is_some());
    }
}
