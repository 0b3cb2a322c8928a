//! Who sends too slowly, and until when the next octets must be here.

use std::time::Duration;

use crate::limits;
use crate::proto::contract::Patience;
use crate::shard::Moment;

/// Who sends too slowly. Octets earn time at the least rate, but never more than the grace ahead of now: who was fast
/// once may not be slow for hours on it. A command has no rate, but a whole one must be here in the time that is allowed for
/// silence: octets that trickle in buy no more (R17).
#[derive(Default)]
pub(super) struct Slow {
    /// Until when the octets so far have earned patience, or the rest of a command must be here; `None` where neither is waited for.
    until: Option<Moment>,
    octets: u64,
    /// The rest of a command is waited for.
    halfway: bool,
}

impl Slow {
    pub(super) fn received(&mut self, octets: usize) {
        self.octets += octets as u64;
    }

    pub(super) fn restart(&mut self) {
        self.until = None;
    }

    /// The session used so many octets: what is left over is the beginning of something new.
    pub(super) fn used(&mut self, octets: usize) {
        self.halfway &= octets == 0;
    }

    /// Until when the next bytes must be here. `halfway`: a command has begun.
    pub(super) fn deadline(&mut self, patience: Patience, halfway: bool, now: Moment) -> Moment {
        let idle = now.after(patience.idle);
        let octets = std::mem::take(&mut self.octets);
        if patience.rate_min_bytes_s == 0 {
            let began = std::mem::replace(&mut self.halfway, halfway);
            self.until = match self.until.filter(|_| began) {
                _ if !halfway => None,
                None => Some(idle),
                until => until,
            };
            return self.until.unwrap_or(idle);
        }
        self.halfway = false;
        let most = now.after(Duration::from_secs(limits::DATA_RATE_GRACE_S));
        let earned = Duration::from_nanos(octets.saturating_mul(1_000_000_000) / patience.rate_min_bytes_s);
        let until = self.until.map_or(most, |until| until.after(earned).min(most));
        self.until = Some(until);
        idle.min(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a060_a_slow_sender_runs_out_of_time_and_a_steady_one_does_not() {
        let patience = Patience { idle: Duration::from_secs(300), rate_min_bytes_s: 500 };
        let second = |s: u64| Moment(s * 1_000_000_000);
        let mut slow = Slow::default();
        assert_eq!(slow.deadline(patience, false, second(0)), second(limits::DATA_RATE_GRACE_S));
        slow.received(1);
        assert!(slow.deadline(patience, false, second(29)) < second(limits::DATA_RATE_GRACE_S + 1));
        // A steady sender at the least rate never runs out.
        let mut slow = Slow::default();
        slow.deadline(patience, false, second(0));
        for s in 1..1_000 {
            slow.received(500);
            assert!(slow.deadline(patience, false, second(s)) > second(s + 20));
        }
        // Who was fast for a while has no more credit than anybody.
        slow.received(50 << 20);
        assert_eq!(slow.deadline(patience, false, second(1_000)), second(1_000 + limits::DATA_RATE_GRACE_S));
        slow.received(1);
        assert!(slow.deadline(patience, false, second(1_029)) < second(1_031));
    }

    #[test]
    fn without_a_least_rate_only_silence_counts() {
        let patience = Patience { idle: Duration::from_secs(10), rate_min_bytes_s: 0 };
        assert_eq!(Slow::default().deadline(patience, false, Moment(5)), Moment(5).after(Duration::from_secs(10)));
    }

    #[test]
    fn r17_a_command_that_trickles_in_runs_out_of_time_and_many_whole_ones_do_not() {
        let patience = Patience { idle: Duration::from_secs(300), rate_min_bytes_s: 0 };
        let second = |s: u64| Moment(s * 1_000_000_000);
        let mut slow = Slow::default();
        assert_eq!(slow.deadline(patience, false, second(0)), second(300));
        for s in [100, 200, 299, 390] {
            slow.received(1);
            assert_eq!(slow.deadline(patience, true, second(s)), second(400), "begun at 100");
        }
        // Each of these ends with the beginning of the next.
        for s in 400..1_000 {
            slow.used(10);
            assert_eq!(slow.deadline(patience, true, second(s)), second(s + 300));
        }
        slow.used(0);
        assert_eq!(slow.deadline(patience, true, second(1_100)), second(1_299), "this one did not move on");
        // What a body had earned is no command's.
        let body = Patience { rate_min_bytes_s: 500, ..patience };
        slow.deadline(body, false, second(1_200));
        assert_eq!(slow.deadline(patience, true, second(1_201)), second(1_501));
    }
}
