//! The maildrop as it was at login: numbers, sizes, unique ids, and which messages are marked deleted.
//!
//! Each session has its own snapshot and there is no lock (A141): what another session adds is seen at the next login, what it
//! removes is answered `-ERR` when asked for. Eight octets and one bit a message.

/// A message of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its UID.
    pub uid: u32,
    /// Its size, octets.
    pub size: u32,
}

/// The snapshot, and the marks on it.
#[derive(Debug)]
pub(super) struct Maildrop {
    uidvalidity: u32,
    items: Box<[Item]>,
    /// Unique ids from elsewhere, by UID.
    uidls: Box<[(u32, Box<str>)]>,
    /// One bit a message; empty while nothing is deleted.
    deleted: Vec<u64>,
    left: u32,
    left_octets: u64,
}

impl Maildrop {
    pub(super) fn new(uidvalidity: u32, items: Vec<Item>, uidls: Vec<(u32, Box<str>)>) -> Self {
        let (items, uidls) = (items.into(), uidls.into());
        let mut drop = Maildrop { uidvalidity, items, uidls, deleted: Vec::new(), left: 0, left_octets: 0 };
        drop.reset();
        drop
    }

    /// Messages not marked deleted, and the sum of their sizes.
    pub(super) fn stat(&self) -> (u32, u64) {
        (self.left, self.left_octets)
    }

    /// Takes all marks away.
    pub(super) fn reset(&mut self) {
        self.deleted = Vec::new();
        self.left = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        self.left_octets = self.items.iter().map(|i| u64::from(i.size)).sum();
    }

    /// The message with this number, unless there is none or it is marked deleted.
    pub(super) fn get(&self, number: u64) -> Option<Item> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let item = self.items.get(index)?;
        (!self.is_deleted(index)).then_some(*item)
    }

    /// Marks a message; false if there is none or it is marked already.
    pub(super) fn delete(&mut self, number: u64) -> bool {
        let (Some(item), Ok(index)) = (self.get(number), usize::try_from(number.saturating_sub(1))) else {
            return false;
        };
        if self.deleted.is_empty() {
            self.deleted = vec![0; self.items.len().div_ceil(64)];
        }
        self.deleted[index / 64] |= 1 << (index % 64);
        self.left -= 1;
        self.left_octets -= u64::from(item.size);
        true
    }

    /// The first message at or after `number` that is not marked, with its number.
    pub(super) fn next(&self, number: u64) -> Option<(u64, Item)> {
        let count = self.items.len() as u64;
        (number.max(1)..=count).find_map(|n| self.get(n).map(|item| (n, item)))
    }

    /// A message's unique id: that of the server where it was before or, stable for ever, because UIDs are never used twice
    /// under one UIDVALIDITY, one of our own (RFC 1939 §7).
    pub(super) fn unique_id(&self, item: Item) -> String {
        match self.uidls.binary_search_by_key(&item.uid, |(uid, _)| *uid) {
            Ok(at) => String::from(&*self.uidls[at].1),
            Err(_) => format!("{}-{}", self.uidvalidity, item.uid),
        }
    }

    /// The UIDs marked deleted, rising.
    pub(super) fn deleted(&self) -> Vec<u32> {
        self.items.iter().enumerate().filter(|(i, _)| self.is_deleted(*i)).map(|(_, item)| item.uid).collect()
    }

    fn is_deleted(&self, index: usize) -> bool {
        self.deleted.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_and_can_be_taken_away() {
        let items = (1..=130).map(|uid| Item { uid: uid * 2, size: 10 }).collect();
        let mut drop = Maildrop::new(9, items, vec![(2, "gone".into()), (6, "from-elsewhere".into())]);
        assert_eq!(drop.stat(), (130, 1300));
        assert!(drop.delete(1) && drop.delete(65) && drop.delete(130));
        assert!(!drop.delete(65));
        assert!(!drop.delete(0) && !drop.delete(131) && !drop.delete(u64::MAX));
        assert_eq!(drop.stat(), (127, 1270));
        assert_eq!(drop.deleted(), [2, 130, 260]);
        assert_eq!(drop.next(1).unwrap().0, 2);
        assert_eq!(drop.next(130), None);
        assert_eq!(drop.unique_id(drop.get(2).unwrap()), "9-4");
        assert_eq!(drop.unique_id(drop.get(3).unwrap()), "from-elsewhere");
        drop.reset();
        assert_eq!((drop.stat(), drop.deleted()), ((130, 1300), vec![]));
    }
}
