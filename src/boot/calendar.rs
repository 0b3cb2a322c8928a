//! Whether the wall clock may say that the time of something is over (A195).
//!
//! Dates on disk are of the wall clock, because they outlive the process; and a wall clock can be wrong by years: after a start without
//! a battery, or when somebody sets it. What would be gone for good by such a clock waits until the clock has gone as fast as the
//! monotonic one for a while: from the start on for [`AFTER_START`], and after a jump for [`AFTER_JUMP`], in which
//! somebody may read of it in the log and set the clock right. Nothing waits for longer than it would be kept anyway.
//!
//! *Liberty*: at the start no date on disk is compared. A clock that is behind lets nothing go; one that is ahead is believed when it has
//! been steady for [`AFTER_START`].
//!
//! *Liberty*: who may come in until when (bans, grants of logins without TLS) follows the wall clock at once: its operator has named a day.

use std::time::Duration;

use crate::shard::Moment;

/// A wall clock that moved by more than this against the monotonic one has jumped.
const JUMP: Duration = Duration::from_secs(3_600);
/// How long it must have been steady since the start.
const AFTER_START: Duration = Duration::from_secs(3_600);
/// How long it must have been steady since it jumped.
const AFTER_JUMP: Duration = Duration::from_secs(86_400);

/// What is known of the wall clock.
#[derive(Debug)]
pub(super) struct Calendar {
    /// Both clocks, when they were last looked at.
    last: (Moment, u64),
    steady_since: Moment,
    /// How long it must be steady from then on.
    wait: Duration,
    /// Nothing waits for longer.
    wait_max: Duration,
}

impl Calendar {
    /// At the start. `kept`: how long things are kept that go by this clock.
    pub(super) fn new(now: Moment, wall_ms: u64, kept: Duration) -> Calendar {
        Calendar {
            last: (now, wall_ms),
            steady_since: now,
            wait: AFTER_START.min(kept),
            wait_max: AFTER_JUMP.min(kept),
        }
    }

    /// Looks at both clocks. True if something may go by the wall clock now.
    pub(super) fn is_believed(&mut self, now: Moment, wall_ms: u64) -> bool {
        let (before, wall_before_ms) = self.last;
        let passed_ms = u64::try_from(now.since(before).as_millis()).unwrap_or(u64::MAX);
        let off_by_ms = wall_ms.abs_diff(wall_before_ms.saturating_add(passed_ms));
        self.last = (now, wall_ms);
        if u128::from(off_by_ms) > JUMP.as_millis() {
            self.steady_since = now;
            self.wait = self.wait_max;
            let (off_by_s, wait_s) = (off_by_ms / 1_000, self.wait.as_secs());
            tracing::warn!(
                off_by_s,
                wait_s,
                "the clock has jumped: nothing that was expunged goes for good while it may be wrong"
            );
        }
        now.since(self.steady_since) >= self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    const START_WALL_MS: u64 = 1_700_000_000_000;

    /// A clock with jumps: after so many hours, the wall clock shows so much more.
    fn believed(calendar: &mut Calendar, hours: u64, wall_ms: u64) -> bool {
        calendar.is_believed(Moment(hours * HOUR_MS * 1_000_000), wall_ms)
    }

    #[test]
    fn a195_after_a_jump_nothing_expires_for_a_day() {
        let mut calendar = Calendar::new(Moment(0), START_WALL_MS, WEEK);
        assert!(!calendar.is_believed(Moment(1), START_WALL_MS), "it may have been wrong from the start");
        assert!(believed(&mut calendar, 1, START_WALL_MS + HOUR_MS));
        for (hour, ahead_ms) in [(10, 140 * 365 * 24 * HOUR_MS), (40, 0), (70, 2 * HOUR_MS), (100, 0)] {
            let wall_ms = |hours: u64| START_WALL_MS + ahead_ms + hours * HOUR_MS;
            assert!(!believed(&mut calendar, hour, wall_ms(hour)), "jumped in hour {hour}");
            assert!(!believed(&mut calendar, hour + 23, wall_ms(hour + 23)));
            assert!(believed(&mut calendar, hour + 24, wall_ms(hour + 24)), "steady again");
        }
    }

    #[test]
    fn a195_a_clock_that_is_put_right_by_some_minutes_is_believed() {
        let mut calendar = Calendar::new(Moment(0), 0, WEEK);
        assert!(believed(&mut calendar, 1, 0), "exactly an hour behind");
        assert!(believed(&mut calendar, 2, HOUR_MS * 2));
    }

    #[test]
    fn a195_nothing_waits_for_longer_than_it_is_kept() {
        let mut calendar = Calendar::new(Moment(0), 0, Duration::from_secs(2));
        assert!(calendar.is_believed(Moment(2_000_000_000), 2_000));
        assert!(!calendar.is_believed(Moment(3_000_000_000), 9 * HOUR_MS));
        assert!(calendar.is_believed(Moment(5_000_000_000), 9 * HOUR_MS + 2_000));
    }
}
