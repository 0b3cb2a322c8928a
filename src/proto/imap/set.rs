//! Sequence sets: message numbers or UIDs, as ranges (RFC 9051 §9 `sequence-set`).
//!
//! A set is normalised when it is read: ranges rise, do not touch and do not overlap. It is never expanded: its
//! size is bounded by the command line it stood in, and resolving costs what the set and its mailbox have, not what the
//! numbers promise (A113).
//!
//! `*` is the largest number there is, which only the mailbox knows. `n:*` means `n..=largest`, or the largest alone
//! when n is beyond it; a union of such ranges is the one with the least n, so one number keeps them all.

use std::ops::RangeInclusive;

use smallvec::SmallVec;

use super::response::number;

/// A sequence set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    ranges: SmallVec<[(u32, u32); 2]>,
    /// The least n of all `n:*`; `u32::MAX` for a lone `*`.
    star_from: Option<u32>,
}

impl Set {
    /// Reads a set. `None` when malformed: an empty member, 0, or a number above 2^32 - 1.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Set> {
        let mut ranges = SmallVec::new();
        let mut star_from: Option<u32> = None;
        for member in text.split(|b| *b == b',') {
            let (a, b) = match memchr::memchr(b':', member) {
                None => {
                    let end = parse_end(member)?;
                    (end, end)
                }
                Some(at) => (parse_end(&member[..at])?, parse_end(&member[at + 1..])?),
            };
            match (a, b) {
                (Some(a), Some(b)) => ranges.push((a.min(b), a.max(b))),
                (Some(n), None) | (None, Some(n)) => star_from = Some(star_from.map_or(n, |s| s.min(n))),
                (None, None) => star_from = Some(star_from.unwrap_or(u32::MAX)),
            }
        }
        Some(Set { ranges: normalised(ranges), star_from })
    }

    /// One range, `first` ≤ `last`.
    #[must_use]
    pub fn of(range: RangeInclusive<u32>) -> Set {
        Set { ranges: SmallVec::from_slice(&[(*range.start(), *range.end())]), star_from: None }
    }

    /// The set of these numbers, which rise.
    #[must_use]
    pub fn of_rising(numbers: impl IntoIterator<Item = u32>) -> Set {
        let mut ranges: SmallVec<[(u32, u32); 2]> = SmallVec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                last => {
                    debug_assert!(last.is_none_or(|(_, last)| *last < number), "numbers rise");
                    ranges.push((number, number));
                }
            }
        }
        Set { ranges, star_from: None }
    }

    /// Appends the set as it stands on the wire. Only for one without `*`.
    pub fn write(&self, out: &mut Vec<u8>) {
        assert!(self.star_from.is_none(), "what is told is known to its end");
        for (at, (first, last)) in self.ranges.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            number(out, u64::from(*first));
            if last > first {
                out.push(b':');
                number(out, u64::from(*last));
            }
        }
    }

    /// The ranges meant when `largest` is the largest number there is: rising, disjoint, none beyond `largest`.
    /// Empty when there is none (`largest` is 0).
    #[must_use]
    pub fn resolve(&self, largest: u32) -> SmallVec<[RangeInclusive<u32>; 2]> {
        let mut out: SmallVec<[RangeInclusive<u32>; 2]> = SmallVec::new();
        if largest == 0 {
            return out;
        }
        let star = self.star_from.map(|n| n.min(largest));
        for &(a, b) in &self.ranges {
            if a > largest || star.is_some_and(|s| a >= s) {
                break;
            }
            out.push(a..=b.min(largest));
        }
        if let Some(from) = star {
            match out.last_mut() {
                Some(last) if *last.end() >= from - 1 => *last = *last.start()..=largest,
                _ => out.push(from..=largest),
            }
        }
        out
    }

    /// True if the number is meant when `largest` is the largest there is.
    #[must_use]
    pub fn contains(&self, number: u32, largest: u32) -> bool {
        if number == 0 || number > largest {
            return false;
        }
        if self.star_from.is_some_and(|n| number >= n.min(largest)) {
            return true;
        }
        let after = self.ranges.partition_point(|r| r.0 <= number);
        after > 0 && self.ranges[after - 1].1 >= number
    }
}

/// `Some(None)` is `*`.
fn parse_end(text: &[u8]) -> Option<Option<u32>> {
    if text == b"*" {
        return Some(None);
    }
    let mut value: u32 = 0;
    if text.is_empty() {
        return None;
    }
    for b in text {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u32::from(b - b'0'))?;
    }
    (value != 0).then_some(Some(value))
}

fn normalised(mut ranges: SmallVec<[(u32, u32); 2]>) -> SmallVec<[(u32, u32); 2]> {
    if ranges.len() < 2 {
        return ranges;
    }
    ranges.sort_unstable();
    let mut kept = 0;
    for i in 1..ranges.len() {
        let (a, b) = ranges[i];
        if u64::from(a) <= u64::from(ranges[kept].1) + 1 {
            ranges[kept].1 = ranges[kept].1.max(b);
        } else {
            kept += 1;
            ranges[kept] = (a, b);
        }
    }
    ranges.truncate(kept + 1);
    ranges.shrink_to_fit();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, largest: u32) -> Vec<(u32, u32)> {
        let set = Set::parse(text.as_bytes()).expect("a set");
        set.resolve(largest).iter().map(|r| (*r.start(), *r.end())).collect()
    }

    #[test]
    fn a113_absurd_sets_are_what_exists() {
        assert_eq!(resolved("1:4294967295", 7), [(1, 7)]);
        assert_eq!(resolved("*:*", 7), [(7, 7)]);
        assert_eq!(resolved("4294967295:*", 7), [(7, 7)]);
        assert_eq!(resolved("1,".repeat(50_000).trim_end_matches(','), 7), [(1, 1)]);
        assert_eq!(resolved("1:*", 0), []);
    }

    #[test]
    fn ranges_may_stand_in_any_order_and_meet() {
        assert_eq!(resolved("5:3,9,1:2", 10), [(1, 5), (9, 9)]);
        assert_eq!(resolved("*:4,2", 6), [(2, 2), (4, 6)]);
        assert_eq!(resolved("1:3,4:*", 6), [(1, 6)]);
        assert_eq!(resolved("7:9,4:*", 8), [(4, 8)]);
        assert_eq!(resolved("8:*", 3), [(3, 3)]);
        assert_eq!(resolved("1:2,8:*", 3), [(1, 3)]);
        assert_eq!(resolved("4294967295,1", 4_294_967_295), [(1, 1), (4_294_967_295, 4_294_967_295)]);
    }

    #[test]
    fn a_set_is_told_in_ranges() {
        let told = |numbers: &[u32]| {
            let mut out = Vec::new();
            Set::of_rising(numbers.iter().copied()).write(&mut out);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(told(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(told(&[4_294_967_294, 4_294_967_295]), "4294967294:4294967295");
        assert_eq!(told(&[]), "");
        assert_eq!(Set::of_rising([2, 3]), Set::parse(b"2:3").expect("a set"));
    }

    #[test]
    fn malformed_sets_are_refused() {
        for text in ["", "0", "1,", ",1", "1::2", "a", "4294967296", "1:", "1 ", "-1", "1.2", "**"] {
            assert_eq!(Set::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn containing_agrees_with_resolving() {
        for text in ["1:3,7", "*", "2:*", "5,3:4,9:12", "100:*,1"] {
            let set = Set::parse(text.as_bytes()).expect("a set");
            for largest in 0..15 {
                let ranges = set.resolve(largest);
                for n in 0..20 {
                    assert_eq!(
                        set.contains(n, largest),
                        ranges.iter().any(|r| r.contains(&n)),
                        "{n} in {text} of {largest}"
                    );
                }
            }
        }
    }
}
