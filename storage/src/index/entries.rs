//! Accounts, as much of each as is always in memory: what a delivery into INBOX needs, and where the rest is.
//!
//! A slab with two tables of slab numbers, by id and by hash of the name: about 140 octets an account.

use std::collections::HashMap;
use std::num::NonZeroU32;

use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::marks::Marks;
use crate::bugs::{self, Bug};
use crate::codec::{Put, Reader};
use crate::record::{Chain, LINKS_MAX, ReleasedList, RootRecord};
use crate::types::{AccountId, Limits, MODSEQ_MAX, Modseq, Place, Uid};

/// What is always known of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: AccountId,
    name_hash: [u64; 2],
    /// Its newest put: name, secrets.
    pub put: Place,
    /// Its newest root; nowhere if it was never folded.
    pub root: Place,
    links: [Place; LINKS_MAX],
    /// How many they are, and one: so an entry that is not there takes no more than one that is.
    links_and_one: NonZeroU32,
    /// Records that are not in the root.
    pub unfolded: u32,
    pub inbox_uidvalidity: u32,
    /// Highest MODSEQ given.
    pub modseq: Modseq,
    pub inbox_uidnext: Uid,
    pub used_messages: u32,
    pub used_bytes: u64,
    /// 0: no limit.
    pub limit_bytes: u64,
    /// 0: no limit.
    pub limit_messages: u32,
    /// Moves so far.
    pub generation: u32,
    /// Octets of its root, more or less.
    pub root_bytes: u32,
}

const _: () = assert!(size_of::<Option<Entry>>() <= 128, "what an account costs that nobody looks at");

impl Entry {
    pub fn new(id: AccountId, name_hash: u128) -> Self {
        Entry {
            id,
            name_hash: [name_hash as u64, (name_hash >> 64) as u64],
            put: Place::NOWHERE,
            root: Place::NOWHERE,
            links: [Place::NOWHERE; LINKS_MAX],
            links_and_one: NonZeroU32::MIN,
            unfolded: 0,
            inbox_uidvalidity: 0,
            modseq: 0,
            inbox_uidnext: 1,
            used_messages: 0,
            used_bytes: 0,
            limit_bytes: 0,
            limit_messages: 0,
            generation: 0,
            root_bytes: 0,
        }
    }

    /// As a root says, where records before it are gone. `known`: as those say that are there. `passed`: its last records, while
    /// nobody knew the account; those behind `through` count, which were on their way when the root was decided.
    pub fn of_root(id: AccountId, known: Option<Entry>, passed: &Chain, root: &RootRecord<'_>) -> Self {
        let mut entry = known.unwrap_or_else(|| Entry::new(id, root.name_hash));
        // It is a link, so that an older root, should this one's rows not read, is not taken for all there was.
        if entry.chain().newest().is_none_or(|newest| newest < root.through) {
            entry.link(root.through, root.modseq);
            let mut passed: Vec<Place> = passed.newest_first().filter(|place| *place > root.through).collect();
            passed.reverse();
            passed.into_iter().for_each(|place| entry.link(place, 0));
        }
        // A put that was on its way when the root was decided lies before it.
        if entry.put <= root.put {
            entry = entry.named(root.name_hash);
            entry.put = root.put;
            entry.generation = root.generation;
            entry.limit_bytes = root.limit_bytes;
            entry.limit_messages = root.limit_messages;
        }
        entry.modseq = entry.modseq.max(root.modseq.min(MODSEQ_MAX));
        entry.inbox_uidnext = entry.inbox_uidnext.max(root.inbox_uidnext);
        entry.inbox_uidvalidity = root.inbox_uidvalidity;
        entry.used_bytes = root.used_bytes;
        entry.used_messages = root.used_messages;
        // Of what is in the root some was not here to be counted.
        let behind = entry.chain().newest_first().filter(|place| *place > root.through).count();
        if behind < LINKS_MAX {
            entry.unfolded = root.folds.saturating_add(behind as u32);
        }
        entry
    }

    pub fn name_hash(&self) -> u128 {
        u128::from(self.name_hash[0]) | u128::from(self.name_hash[1]) << 64
    }

    /// Its last records, also of those that are in the root.
    pub fn chain(&self) -> Chain {
        let mut chain = Chain::default();
        self.links[..self.links_len()].iter().for_each(|place| chain.push(*place));
        chain
    }

    /// A record of it has come.
    pub fn link(&mut self, place: Place, modseq: Modseq) {
        let mut chain = self.chain();
        if !bugs::on(Bug::BreakChain) {
            chain.push(place);
        }
        self.set_chain(&chain);
        self.unfolded = self.unfolded.saturating_add(1);
        self.modseq = self.modseq.max(modseq.min(MODSEQ_MAX));
    }

    /// The same account under another name.
    pub fn named(&self, name_hash: u128) -> Self {
        Entry { name_hash: [name_hash as u64, (name_hash >> 64) as u64], ..self.clone() }
    }

    /// What it may keep.
    pub fn limits(&self) -> Limits {
        Limits { bytes: self.limit_bytes, messages: self.limit_messages }
    }

    /// A UID of INBOX was given.
    pub fn gave(&mut self, uid: Uid) {
        self.inbox_uidnext = self.inbox_uidnext.max(uid.saturating_add(1));
    }

    /// It keeps so much more.
    pub fn keep(&mut self, bytes: u64, messages: u32) {
        self.used_bytes = self.used_bytes.saturating_add(bytes);
        self.used_messages = self.used_messages.saturating_add(messages);
    }

    /// It keeps so much less.
    pub fn let_go(&mut self, released: &ReleasedList<'_>) {
        if bugs::on(Bug::KeepQuota) {
            return;
        }
        self.used_bytes = self.used_bytes.saturating_sub(released.bytes);
        self.used_messages = self.used_messages.saturating_sub(released.messages);
    }

    /// So many of its records are in this root.
    pub fn folded(&mut self, root: Place, folds: u32, root_bytes: u32) {
        self.root = root;
        self.root_bytes = root_bytes;
        self.unfolded = self.unfolded.saturating_sub(folds);
    }

    /// Its image in a checkpoint.
    fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.id.0);
        self.name_hash.iter().for_each(|half| out.u64(*half));
        out.place(self.put);
        out.place(self.root);
        self.links.iter().for_each(|place| out.place(*place));
        out.u8(self.links_len() as u8);
        out.u32(self.unfolded);
        out.u32(self.inbox_uidvalidity);
        out.u64(self.modseq);
        out.u32(self.inbox_uidnext);
        out.u32(self.used_messages);
        out.u64(self.used_bytes);
        out.u64(self.limit_bytes);
        out.u32(self.limit_messages);
        out.u32(self.generation);
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let mut entry = Entry::new(AccountId(r.u64()?), 0);
        entry.name_hash = [r.u64()?, r.u64()?];
        (entry.put, entry.root) = (r.place()?, r.place()?);
        for link in &mut entry.links {
            *link = r.place()?;
        }
        entry.links_and_one = NonZeroU32::MIN.saturating_add(u32::from(r.u8()?));
        (entry.unfolded, entry.inbox_uidvalidity) = (r.u32()?, r.u32()?);
        (entry.modseq, entry.inbox_uidnext) = (r.u64()?, r.u32()?);
        (entry.used_messages, entry.used_bytes) = (r.u32()?, r.u64()?);
        (entry.limit_bytes, entry.limit_messages, entry.generation) = (r.u64()?, r.u32()?, r.u32()?);
        (entry.links_len() <= LINKS_MAX && entry.modseq <= MODSEQ_MAX).then_some(entry)
    }

    fn links_len(&self) -> usize {
        self.links_and_one.get() as usize - 1
    }

    fn set_chain(&mut self, chain: &Chain) {
        self.links_and_one = NonZeroU32::MIN;
        let mut newest: Vec<Place> = Vec::with_capacity(LINKS_MAX);
        newest.extend(chain.newest_first());
        for place in newest.into_iter().rev() {
            self.links[self.links_len()] = place;
            self.links_and_one = self.links_and_one.saturating_add(1);
        }
    }
}

/// The keyed hash by which an account is found.
pub fn hash_of(seed: u64, name: &str) -> u128 {
    xxh3_128_with_seed(name.as_bytes(), seed)
}

/// Entries of a group: what a checkpoint writes at once. Their images fit a page.
pub const GROUP: u32 = 32;

/// Groups of a volume: a hundred million accounts.
const GROUPS_MAX: u32 = 1 << 22;

/// All accounts. Whoever changes an entry leaves a mark on its group for the next checkpoint.
///
/// Groups lie in the slab in the order in which they came. What a checkpoint calls them says nothing of where they lie: so a
/// number costs no room for those before it, whatever it is.
#[derive(Default)]
pub struct Entries {
    pub marks: Marks,
    /// Whole groups.
    slab: Vec<Option<Entry>>,
    /// The number of each group in the slab.
    numbers: Vec<u32>,
    /// Which group in the slab has a number.
    groups: HashMap<u32, u32>,
    /// No lower number is free.
    next_number: u32,
    free: Vec<u32>,
    by_id: HashTable<u32>,
    by_name: HashTable<u32>,
}

fn hash_id(id: AccountId) -> u64 {
    xxh3_64(&id.0.to_le_bytes())
}

fn at(slab: &[Option<Entry>], index: u32) -> &Entry {
    slab[index as usize].as_ref().expect("the tables name entries that are there")
}

impl Entries {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Where in the slab the account is.
    pub fn index_of(&self, id: AccountId) -> Option<u32> {
        self.by_id.find(hash_id(id), |index| at(&self.slab, *index).id == id).copied()
    }

    pub fn get(&self, id: AccountId) -> Option<&Entry> {
        Some(at(&self.slab, self.index_of(id)?))
    }

    /// The one way to change an entry.
    pub fn get_mut(&mut self, id: AccountId) -> Option<&mut Entry> {
        let index = self.index_of(id)?;
        self.touch(index);
        self.slab[index as usize].as_mut()
    }

    fn touch(&mut self, index: u32) {
        if bugs::on(Bug::ForgetMark) {
            return;
        }
        let (slab, by_name, group) = (&self.slab, &self.by_name, index / GROUP);
        self.marks.touch(self.numbers[group as usize], || image(slab, by_name, group));
    }

    /// Room for a group of this number, which has none. Returns the index of its first place.
    fn add_group(&mut self, number: u32) -> u32 {
        let group = self.numbers.len() as u32;
        self.slab.resize((group as usize + 1) * GROUP as usize, None);
        self.numbers.push(number);
        self.groups.insert(number, group);
        group * GROUP
    }

    /// A free place.
    fn place(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        let taken = |number: &u32| self.groups.contains_key(number);
        let number = (self.next_number..GROUPS_MAX).find(|number| !taken(number));
        let number = number.expect("accounts of a volume are fewer than 2^27");
        self.next_number = number + 1;
        let first = self.add_group(number);
        self.free.extend((first + 1..first + GROUP).rev());
        first
    }

    /// The account whose name has this hash.
    pub fn named(&self, name_hash: u128) -> Option<AccountId> {
        let is = |index: &u32| at(&self.slab, *index).name_hash() == name_hash;
        self.by_name.find(name_hash as u64, is).map(|index| at(&self.slab, *index).id)
    }

    /// Puts an account there, in place of one with the same id. Of two with the same name the last one is found.
    pub fn insert(&mut self, entry: Entry) {
        self.remove(entry.id);
        let (id, name_hash) = (entry.id, entry.name_hash());
        let index = self.place();
        self.touch(index);
        if let Some(other) = self.by_name.find(name_hash as u64, |i| at(&self.slab, *i).name_hash() == name_hash) {
            let other = *other;
            self.touch(other);
        }
        self.slab[index as usize] = Some(entry);
        let slab = &self.slab;
        self.by_id.insert_unique(hash_id(id), index, |i| hash_id(at(slab, *i).id));
        let same = self.by_name.find_mut(name_hash as u64, |i| at(slab, *i).name_hash() == name_hash);
        match same {
            Some(other) => *other = index,
            None => {
                self.by_name.insert_unique(name_hash as u64, index, |i| at(slab, *i).name_hash() as u64);
            }
        }
    }

    pub fn remove(&mut self, id: AccountId) -> Option<Entry> {
        let index = self.index_of(id)?;
        self.touch(index);
        let slab = &self.slab;
        let index = self.by_id.find_entry(hash_id(id), |i| at(slab, *i).id == id).ok()?.remove().0;
        let name_hash = at(slab, index).name_hash();
        if let Ok(named) = self.by_name.find_entry(name_hash as u64, |i| *i == index) {
            named.remove();
        }
        self.free.push(index);
        self.slab[index as usize].take()
    }

    /// All of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slab.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        (0..self.slab.len() as u32).step_by(GROUP as usize).for_each(|index| self.touch(index));
        self.slab.iter_mut().flatten()
    }

    /// Images of the next groups of a checkpoint: see [`Marks::take`].
    pub fn take(&mut self, bytes: usize) -> Vec<(u32, Vec<u8>)> {
        let (slab, by_name, groups) = (&self.slab, &self.by_name, &self.groups);
        self.marks.take(bytes, |number| image(slab, by_name, groups[&number]))
    }

    /// Puts a group there that a checkpoint had. `None`: no image of a group, or of another account's.
    pub fn restore(&mut self, number: u32, r: &mut Reader<'_>) -> Option<()> {
        let (there, named) = (r.u32()?, r.u32()?);
        if number >= GROUPS_MAX || self.groups.contains_key(&number) {
            return None;
        }
        let first = self.add_group(number);
        for n in (0..GROUP).filter(|n| there & 1 << n != 0) {
            let (index, entry) = (first + n, Entry::decode(r)?);
            let (id, hash) = (entry.id, entry.name_hash() as u64);
            if self.index_of(id).is_some() {
                return None;
            }
            self.slab[index as usize] = Some(entry);
            let slab = &self.slab;
            self.by_id.insert_unique(hash_id(id), index, |i| hash_id(at(slab, *i).id));
            if named & 1 << n != 0 {
                self.by_name.insert_unique(hash, index, |i| at(slab, *i).name_hash() as u64);
            }
        }
        Some(())
    }

    /// All groups are there: so the other places are free.
    pub fn restored(&mut self) {
        self.free = (0..self.slab.len() as u32).rev().filter(|index| self.slab[*index as usize].is_none()).collect();
    }
}

/// A group of the slab as a checkpoint has it: who is there, who is found by name, and the entries; no octets when nobody is there.
fn image(slab: &[Option<Entry>], by_name: &HashTable<u32>, group: u32) -> Vec<u8> {
    let first = (group * GROUP) as usize;
    let mut out = Vec::new();
    let (mut there, mut named) = (0u32, 0u32);
    out.u64(0);
    for (n, entry) in slab.iter().skip(first).take(GROUP as usize).enumerate() {
        let Some(entry) = entry else { continue };
        there |= 1 << n;
        if by_name.find(entry.name_hash() as u64, |index| *index as usize == first + n).is_some() {
            named |= 1 << n;
        }
        entry.encode(&mut out);
    }
    if there == 0 {
        return Vec::new();
    }
    out[..4].copy_from_slice(&there.to_le_bytes());
    out[4..8].copy_from_slice(&named.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_id_and_by_name() {
        let mut all = Entries::default();
        let hash = |n: u64| hash_of(5, &format!("p{n}@x"));
        (0..1_000).for_each(|n| all.insert(Entry::new(AccountId(n), hash(n))));
        (0..1_000).step_by(3).for_each(|n| assert!(all.remove(AccountId(n)).is_some()));
        for n in 0..1_000 {
            let there = (n % 3 != 0).then_some(AccountId(n));
            assert_eq!((all.get(AccountId(n)).map(|e| e.id), all.named(hash(n))), (there, there), "{n}");
        }
        (0..1_000).for_each(|n| all.insert(Entry::new(AccountId(2_000 + n), hash(n))));
        assert_eq!((all.len(), all.named(hash(1))), (1_666, Some(AccountId(2_001))), "the last one has the name");
        all.remove(AccountId(1));
        assert_eq!(all.named(hash(1)), Some(AccountId(2_001)));
    }

    #[test]
    fn groups_come_back_from_their_images() {
        let mut all = Entries::default();
        // Two have the same name: the last one is found by it.
        for n in 0..100 {
            let mut entry = Entry::new(AccountId(n), hash_of(5, &format!("p{}@x", n % 99)));
            (0..n as u32).for_each(|at| entry.link(Place { segment: 1, at }, u64::from(at)));
            all.insert(entry);
        }
        (64..96).for_each(|n| assert!(all.remove(AccountId(n)).is_some()));
        all.remove(AccountId(3));
        all.marks.begin();
        let images = all.take(usize::MAX);
        assert_eq!(
            images.iter().map(|(_, image)| image.len()).collect::<Vec<_>>(),
            [8 + 31 * 121, 8 + 32 * 121, 0, 8 + 4 * 121]
        );
        let mut back = Entries::default();
        for (group, image) in images.iter().filter(|(_, image)| !image.is_empty()) {
            back.restore(*group, &mut Reader::new(image)).unwrap();
        }
        back.restored();
        assert_eq!(back.iter().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
        assert_eq!((back.named(hash_of(5, "p0@x")), back.named(hash_of(5, "p3@x"))), (Some(AccountId(99)), None));
        (200..240).for_each(|n| back.insert(Entry::new(AccountId(n), u128::from(n))));
        assert_eq!((back.len(), back.slab.len()), (107, 128), "free places are used again");
        assert_eq!(back.restore(0, &mut Reader::new(&images[0].1)), None, "each group is there once");
        assert_eq!(Entries::default().restore(u32::MAX, &mut Reader::new(&images[0].1)), None);
    }

    #[test]
    fn a_group_of_a_high_number_makes_no_room_for_those_before_it() {
        let mut all = Entries::default();
        all.insert(Entry::new(AccountId(1), 1));
        all.marks.begin();
        let image = all.take(usize::MAX).remove(0).1;
        let mut back = Entries::default();
        back.restore(GROUPS_MAX - 1, &mut Reader::new(&image)).unwrap();
        back.restored();
        assert_eq!((back.slab.len(), back.get(AccountId(1)).is_some()), (GROUP as usize, true));
        (2..=64).for_each(|n| back.insert(Entry::new(AccountId(n), u128::from(n))));
        assert_eq!((back.slab.len(), &*back.numbers), (64, &[GROUPS_MAX - 1, 0][..]), "the lowest free number is next");
        back.marks.begin();
        let images = back.take(usize::MAX);
        let mut again = Entries::default();
        images.iter().for_each(|(number, image)| again.restore(*number, &mut Reader::new(image)).unwrap());
        assert_eq!((images.len(), again.len()), (2, 64));
    }

    #[test]
    fn an_entry_keeps_the_last_places_of_its_chain() {
        let mut entry = Entry::new(AccountId(1), 0);
        (1..10).for_each(|at| entry.link(Place { segment: 1, at }, 1));
        assert_eq!(entry.chain().newest_first().map(|p| p.at).collect::<Vec<_>>(), [9, 8, 7, 6]);
        assert_eq!(entry.unfolded, 9);
        entry.folded(Place { segment: 2, at: 5 }, 7, 900);
        assert_eq!((entry.chain().newest_first().count(), entry.unfolded), (4, 2));
    }
}
