//! How much each account has handed in lately, kept at its home: messages and recipients, of the last hour and the last day. The same
//! for users of this host that have no account, on the shard at whose door their programs hand letters in.
//!
//! - The hour is counted in twelfths, the day in hours: what has left a window does so within five minutes, or an hour.
//! - It is in memory alone: a start forgets it.
//! - Who has sent as much as he may is not forgotten for others, however many there are.
//! - Whoever is refused in half of the minutes of an hour is no person any more: the account is to be suspended, once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;

use ringpost_storage::AccountId;

use super::Office;
use super::words::{Reply, Request};
use crate::directory::Home;
use crate::directory::catalogue::SendLimits;
use crate::shard;

/// Accounts whose sending is remembered on one shard, and users of this host. More: those that have sent least in a day are
/// forgotten; where all have sent as much as they may, a new one may not send now.
const SENDERS_MAX: usize = 100_000;
/// Minutes of an hour in which an account may be refused. As many: it is to be suspended.
const REFUSED_MINUTES_MAX: u32 = 30;
/// The part of them that is forgotten at once, so that finding out who has sent least is not done for each newcomer.
const FORGOTTEN_PART: usize = 16;
const MINUTE_MS: u64 = 60_000;

/// What accounts have sent, each on the shard of its home; or others that may send.
pub struct Sending<Who = AccountId>(RefCell<HashMap<Who, Usage>>);

impl<Who> Default for Sending<Who> {
    fn default() -> Self {
        Sending(RefCell::default())
    }
}

/// Which senders' addresses of a letter must be the account's that hands it in (RELIABILITY §5.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderCheck {
    /// None.
    Off,
    /// MAIL FROM.
    Mail,
    /// That, and those of From and Sender.
    Header,
}

/// May it send?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So many recipients more, now.
    Yes {
        /// At most.
        recipients_left: u32,
    },
    /// Not now.
    No {
        /// It was refused so often that it is to be suspended. Said once.
        suspend: bool,
    },
}

#[derive(Default)]
struct Usage {
    messages: Count,
    recipients: Count,
    refused: Window<60>,
    /// It has sent as much as it may, when it was asked for last.
    at_the_cap: bool,
}

#[derive(Default)]
struct Count {
    hour: Window<12>,
    day: Window<24>,
}

/// Counts of the last N units of time.
struct Window<const N: usize> {
    counts: [u32; N],
    /// The unit that is counted in now, since 1970.
    newest: u64,
}

impl<const N: usize> Default for Window<N> {
    fn default() -> Self {
        Window { counts: [0; N], newest: 0 }
    }
}

impl<const N: usize> Window<N> {
    /// Forgets what has left the window. A clock that goes back stands still here.
    fn at(&mut self, unit: u64) -> &mut Self {
        let passed = usize::try_from(unit.saturating_sub(self.newest)).unwrap_or(N).min(N);
        for n in 0..passed {
            let slot = (unit - n as u64) % N as u64;
            self.counts[usize::try_from(slot).expect("less than N")] = 0;
        }
        self.newest = self.newest.max(unit);
        self
    }

    fn add(&mut self, count: u32) {
        let slot = usize::try_from(self.newest % N as u64).expect("less than N");
        self.counts[slot] = self.counts[slot].saturating_add(count);
    }

    fn sum(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl Count {
    /// How many more fit; 0 in a limit is none.
    fn left(&mut self, now_ms: u64, hour: Option<u32>, day: Option<u32>) -> u32 {
        let room = |limit: Option<u32>, used: u32| match limit {
            None | Some(0) => u32::MAX,
            Some(limit) => limit.saturating_sub(used),
        };
        let hourly = room(hour, self.hour.at(now_ms / (5 * MINUTE_MS)).sum());
        hourly.min(room(day, self.day.at(now_ms / (60 * MINUTE_MS)).sum()))
    }

    fn add(&mut self, count: u32) {
        self.hour.add(count);
        self.day.add(count);
    }
}

impl Usage {
    fn ask(&mut self, limits: &SendLimits, (messages, recipients): (u32, u32), now_ms: u64) -> Allowance {
        let messages_left = self.messages.left(now_ms, limits.messages_hour, limits.messages_day);
        let recipients_left = self.recipients.left(now_ms, limits.recipients_hour, limits.recipients_day);
        // Who only asks needs room for one.
        self.at_the_cap = messages_left <= messages || recipients_left <= recipients;
        if messages_left < messages.max(1) || recipients_left < recipients.max(1) {
            let minutes = self.refused.at(now_ms / MINUTE_MS);
            let slot = usize::try_from(minutes.newest % 60).expect("less than 60");
            let first = minutes.counts[slot] == 0;
            if first {
                minutes.add(1);
            }
            let suspend = first && minutes.sum() >= REFUSED_MINUTES_MAX;
            if suspend {
                // Counted anew: where the word is lost it is said again, if this goes on.
                self.refused = Window::default();
            }
            return Allowance::No { suspend };
        }
        self.messages.add(messages);
        self.recipients.add(recipients);
        Allowance::Yes { recipients_left: recipients_left - recipients }
    }

    /// How much would be forgotten with it. Nothing may be of who has sent as much as he may.
    fn weight(&mut self, now_ms: u64) -> u64 {
        let day = now_ms / (60 * MINUTE_MS);
        let sent = self.recipients.day.at(day).sum().max(self.messages.day.at(day).sum());
        if self.at_the_cap && sent > 0 { u64::MAX } else { sent.into() }
    }
}

impl<Who: Copy + Eq + Hash> Sending<Who> {
    /// Whether the account may hand in so many messages to so many recipients, which are counted if it may. None of both: asked
    /// only.
    pub fn ask(&self, account: Who, limits: &SendLimits, wanted: (u32, u32), now_ms: u64) -> Allowance {
        let mut all = self.0.borrow_mut();
        if all.len() >= SENDERS_MAX && !all.contains_key(&account) && !make_room(&mut all, now_ms) {
            return Allowance::No { suspend: false };
        }
        all.entry(account).or_default().ask(limits, wanted, now_ms)
    }
}

/// Forgets a part of them, those that have sent least first; false if there is nobody who may be forgotten.
fn make_room<Who: Copy + Eq + Hash>(all: &mut HashMap<Who, Usage>, now_ms: u64) -> bool {
    let mut weights: Vec<(u64, Who)> = all.iter_mut().map(|(id, usage)| (usage.weight(now_ms), *id)).collect();
    let some = weights.len() / FORGOTTEN_PART;
    let (least, ..) = weights.select_nth_unstable_by_key(some, |(weight, _)| *weight);
    let most = all.len();
    for (_, id) in least.iter().filter(|(weight, _)| *weight < u64::MAX) {
        all.remove(id);
    }
    all.len() < most
}

/// The same, of an account wherever it lives. Where its shard does not answer now: not now.
pub async fn ask(office: &Office, home: Home, limits: SendLimits, wanted: (u32, u32)) -> Allowance {
    let request = Request::Send { account: home.account, limits, wanted };
    match office.mesh.call(office.shard_of(home.volume), request, 0).await {
        Ok(Reply::Sending(allowance)) => allowance,
        _ => Allowance::No { suspend: false },
    }
}

/// The answer at its home.
#[must_use]
pub fn ask_here(office: &Office, account: AccountId, limits: &SendLimits, wanted: (u32, u32)) -> Allowance {
    office.sending.ask(account, limits, wanted, shard::wall_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * MINUTE_MS;
    const NOW: u64 = 1_000_000 * HOUR;
    const ALICE: AccountId = AccountId(1);
    const NO: Allowance = Allowance::No { suspend: false };

    fn limits(messages_hour: u32, recipients_hour: u32, recipients_day: u32) -> SendLimits {
        let [messages_hour, recipients_hour, recipients_day] =
            [messages_hour, recipients_hour, recipients_day].map(Some);
        SendLimits { messages_hour, recipients_hour, recipients_day, ..SendLimits::default() }
    }

    fn left(recipients_left: u32) -> Allowance {
        Allowance::Yes { recipients_left }
    }

    #[test]
    fn what_was_sent_counts_for_an_hour_and_for_a_day() {
        let sending = Sending::default();
        let some = limits(3, 10, 15);
        let ask = |wanted, now| sending.ask(ALICE, &some, wanted, now);
        assert_eq!(ask((0, 0), NOW), left(10));
        assert_eq!(ask((1, 9), NOW), left(1));
        assert_eq!(ask((1, 2), NOW), NO, "and nothing of it is counted");
        assert_eq!(ask((1, 1), NOW), left(0));
        assert_eq!(ask((0, 0), NOW), NO);
        assert_eq!(ask((0, 0), NOW + HOUR - 6 * MINUTE_MS), NO);
        assert_eq!(ask((0, 0), NOW + HOUR), left(5), "what is left of the day");
        assert_eq!(ask((1, 6), NOW + HOUR), NO);
        assert_eq!(ask((1, 5), NOW + HOUR), left(0));
        assert_eq!(ask((0, 0), NOW + 23 * HOUR), NO);
        assert_eq!(ask((0, 0), NOW + 24 * HOUR), left(10));
        assert_eq!(ask((0, 0), NOW), left(10), "a clock that goes back stands still");
        assert_eq!(sending.ask(AccountId(2), &some, (1, 10), NOW), left(0), "each account for itself");
    }

    #[test]
    fn messages_have_a_limit_of_their_own_and_0_is_none() {
        let sending = Sending::default();
        for _ in 0..3 {
            assert_eq!(sending.ask(ALICE, &limits(3, 0, 0), (1, 500), NOW), left(u32::MAX - 500));
        }
        assert_eq!(sending.ask(ALICE, &limits(3, 0, 0), (1, 1), NOW), NO);
        assert_eq!(sending.ask(ALICE, &limits(0, 0, 0), (1, 1), NOW), left(u32::MAX - 1));
    }

    #[test]
    fn who_comes_again_and_again_is_to_be_suspended_once() {
        let sending = Sending::default();
        let none = limits(1, 0, 0);
        sending.ask(ALICE, &none, (1, 1), NOW);
        let mut suspended = 0;
        for minute in 0..REFUSED_MINUTES_MAX + 10 {
            // Ten times a minute is no more than once.
            for _ in 0..10 {
                let now = NOW + u64::from(minute) * MINUTE_MS;
                match sending.ask(ALICE, &none, (1, 1), now) {
                    Allowance::No { suspend } => suspended += u32::from(suspend),
                    Allowance::Yes { .. } => panic!("in minute {minute}"),
                }
            }
            assert_eq!(suspended, u32::from(minute + 1 >= REFUSED_MINUTES_MAX), "in minute {minute}");
        }
    }

    #[test]
    fn whoever_has_sent_as_much_as_he_may_is_not_forgotten_for_others() {
        let sending = Sending::default();
        let some = limits(10, 10, 10);
        let (at_the_cap, few, busy) = (AccountId(1), AccountId(2), AccountId(3));
        assert_eq!(sending.ask(at_the_cap, &some, (1, 10), NOW), left(0));
        assert_eq!(sending.ask(few, &limits(1, 10, 10), (1, 1), NOW), left(9));
        assert_eq!(sending.ask(busy, &some, (1, 9), NOW), left(1));
        for n in 0..SENDERS_MAX as u64 * 2 {
            assert_eq!(sending.ask(AccountId(100 + n), &some, (1, 2), NOW), left(8), "{n}");
        }
        assert!(sending.0.borrow().len() <= SENDERS_MAX);
        assert_eq!(sending.ask(at_the_cap, &some, (1, 1), NOW), NO);
        assert_eq!(sending.ask(few, &limits(1, 10, 10), (1, 1), NOW), NO, "however little that was");
        assert_eq!(sending.ask(busy, &some, (1, 2), NOW), NO, "nor who has sent most");
    }
}
