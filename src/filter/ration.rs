//! Lines of the log that one connection may cause by being refused: so many, and at its end how many there would have been more.

use std::cell::Cell;
use std::net::IpAddr;

use crate::limits;

/// What one connection may still cause. A letter that is accepted gives it all again.
pub struct Ration {
    peer: IpAddr,
    left: Cell<u32>,
    unsaid: Cell<u32>,
}

impl Ration {
    /// That of a connection which has caused nothing yet.
    #[must_use]
    pub fn of(peer: IpAddr) -> Ration {
        Ration { peer, left: Cell::new(limits::LOG_LINES_REFUSED_MAX), unsaid: Cell::new(0) }
    }

    /// True if the line may be written; it counts either way.
    #[must_use]
    pub fn may_say(&self) -> bool {
        let left = self.left.get();
        match left {
            0 => self.unsaid.set(self.unsaid.get() + 1),
            _ => self.left.set(left - 1),
        }
        left > 0
    }

    /// A letter was accepted.
    pub fn refill(&self) {
        self.left.set(limits::LOG_LINES_REFUSED_MAX);
    }
}

impl Drop for Ration {
    fn drop(&mut self) {
        let unsaid = self.unsaid.get();
        if unsaid > 0 {
            tracing::info!(target: "filter", peer = %self.peer, unsaid, "refused more often than there are lines for it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_causes_so_many_lines_and_the_others_are_counted() {
        let ration = Ration::of([192, 0, 2, 1].into());
        let said = |times: u32| (0..times).filter(|_| ration.may_say()).count() as u32;
        assert_eq!(said(limits::LOG_LINES_REFUSED_MAX + 7), limits::LOG_LINES_REFUSED_MAX);
        assert_eq!(ration.unsaid.get(), 7);
        ration.refill();
        assert_eq!(said(limits::LOG_LINES_REFUSED_MAX), limits::LOG_LINES_REFUSED_MAX);
        assert_eq!(ration.unsaid.get(), 7);
    }
}
