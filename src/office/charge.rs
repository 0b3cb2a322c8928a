//! Message octets on their way in, counted against the shard's budget and their sender's part of it.
//!
//! Nobody's slow uploads may take the room of all others: an address (IPv4) or /64 (IPv6) has
//! [`BODY_BYTES_IN_FLIGHT_PER_ADDRESS_MAX`](limits::BODY_BYTES_IN_FLIGHT_PER_ADDRESS_MAX) of the shard's
//! [`BODY_BYTES_IN_FLIGHT_MAX`](limits::BODY_BYTES_IN_FLIGHT_MAX). Exempt networks count only in the sum.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::limits;

/// Whose octets: an address or network, as the census counts them.
pub type Payer = Option<u128>;

/// The octets in flight of a shard. Cheap to clone.
#[derive(Clone, Default)]
pub struct Budget(Rc<RefCell<Octets>>);

#[derive(Default)]
struct Octets {
    all: u64,
    by_payer: HashMap<u128, u64>,
}

/// Octets charged until this drops.
pub struct BodyCharge {
    budget: Budget,
    payer: Payer,
    octets: u64,
}

impl Budget {
    /// A charge of nothing yet. `payer`: `None` counts only in the sum.
    #[must_use]
    pub fn open(&self, payer: Payer) -> BodyCharge {
        BodyCharge { budget: self.clone(), payer, octets: 0 }
    }

    /// Octets in flight now.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.0.borrow().all
    }
}

impl BodyCharge {
    /// Charges more octets; false, and nothing charged, when the shard or the payer holds too much already.
    #[must_use]
    pub fn add(&mut self, octets: u64) -> bool {
        let mut held = self.budget.0.borrow_mut();
        if held.all + octets > limits::BODY_BYTES_IN_FLIGHT_MAX {
            return false;
        }
        if let Some(payer) = self.payer {
            let part = held.by_payer.entry(payer).or_insert(0);
            if *part + octets > limits::BODY_BYTES_IN_FLIGHT_PER_ADDRESS_MAX {
                return false;
            }
            *part += octets;
        }
        held.all += octets;
        self.octets += octets;
        true
    }

    /// Gives back all that was charged.
    pub fn give_back(&mut self) {
        let octets = std::mem::take(&mut self.octets);
        let mut held = self.budget.0.borrow_mut();
        held.all -= octets;
        let Some(payer) = self.payer else { return };
        if let Some(part) = held.by_payer.get_mut(&payer) {
            *part -= octets;
            if *part == 0 {
                held.by_payer.remove(&payer);
            }
        }
    }
}

impl Drop for BodyCharge {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_room_of_all() {
        let budget = Budget::default();
        let mut greedy = budget.open(Some(1));
        assert!(greedy.add(limits::BODY_BYTES_IN_FLIGHT_PER_ADDRESS_MAX));
        assert!(!greedy.add(1), "its part is used up");
        assert!(!budget.open(Some(1)).add(1), "by whichever connection");
        let mut other = budget.open(Some(2));
        assert!(other.add(limits::MESSAGE_BYTES_MAX));
        drop(greedy);
        assert!(budget.open(Some(1)).add(1));
        drop(other);
        assert_eq!(budget.octets(), 0);
        assert!(budget.0.borrow().by_payer.is_empty());
    }

    #[test]
    fn all_together_stay_within_the_shards_budget() {
        let budget = Budget::default();
        let charges: Vec<BodyCharge> = (0..)
            .map_while(|n| {
                let mut charge = budget.open(Some(n));
                charge.add(limits::MESSAGE_BYTES_MAX).then_some(charge)
            })
            .collect();
        assert_eq!(charges.len() as u64, limits::BODY_BYTES_IN_FLIGHT_MAX / limits::MESSAGE_BYTES_MAX);
        let mut exempt = budget.open(None);
        assert!(!exempt.add(limits::MESSAGE_BYTES_MAX));
    }
}
