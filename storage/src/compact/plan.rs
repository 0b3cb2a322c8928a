//! Which segment is worth compacting next: a function of values.
//!
//! A segment in which nothing lives costs nothing but its removal, so it always goes. Any other costs a copy of what lives,
//! and is compacted when enough of the volume is dead, or when space is short. Of those the one with the best bargain goes
//! first: space won, times age, for octets read and written. (Age, because what has lived long in an old segment will
//! live on, while a young one empties itself further by waiting.)

/// Of all octets in segments, so many in a hundred may be dead before live ones are copied to win space. It is what space
/// and writing cost: at 28 an evenly dying volume copies each octet about once over its life, and 70 of 100 octets of its files
/// are messages with their records, and runs (`benches/README.md`).
pub const DEAD_PERCENT_MAX: u64 = 28;
/// A segment is not worth copying unless so many in a hundred of it are dead.
pub const GAIN_PERCENT_MIN: u64 = 10;
/// The same when space is short.
pub const GAIN_PERCENT_SHORT: u64 = 3;

/// Of two segments as empty the oldest brings at most one part in so many more.
const AGE_PART: u64 = 16;

/// A segment that may be compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub segment: u32,
    /// Octets that would have to be written again.
    pub live: u64,
}

/// The volume around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Octets of a segment.
    pub segment_bytes: u64,
    /// The segment that is written.
    pub active: u32,
    /// Octets of segments that may be compacted once a checkpoint is behind them. They take their part of the space; what is
    /// dead in them is not counted before it can be won.
    pub young_bytes: u64,
    /// Space is short: more is copied for less.
    pub short: bool,
    /// Everything is worth it.
    pub eager: bool,
}

/// The segment to compact now; `None`: none is worth it.
pub fn choose(candidates: &[Candidate], ground: Ground) -> Option<u32> {
    if let Some(empty) = candidates.iter().find(|c| c.live == 0) {
        return Some(empty.segment);
    }
    // Of those that may be compacted: what is dead elsewhere, compaction cannot help.
    let gain = |c: &Candidate| ground.segment_bytes.saturating_sub(c.live);
    // With the young ones, or a checkpoint, which makes some of them candidates, would bring compaction to a halt for a while.
    let all = candidates.len() as u64 * ground.segment_bytes + ground.young_bytes;
    let dead: u64 = candidates.iter().map(gain).sum();
    if !(ground.short || ground.eager) && dead * 100 <= all * DEAD_PERCENT_MAX {
        return None;
    }
    let gain_min = match (ground.eager, ground.short) {
        (true, _) => 0,
        (_, true) => GAIN_PERCENT_SHORT,
        _ => GAIN_PERCENT_MIN,
    };
    let worth = candidates.iter().filter(|c| gain(c) * 100 >= ground.segment_bytes * gain_min);
    worth.max_by_key(|c| bargain(c, ground, candidates.len())).map(|c| c.segment)
}

/// What a segment brings for what it costs, times age.
fn bargain(candidate: &Candidate, ground: Ground, segments: usize) -> u128 {
    let gain = ground.segment_bytes.saturating_sub(candidate.live);
    let cost = ground.segment_bytes + candidate.live;
    // Age counts a sixteenth at most: what matters is how much is dead.
    let span = AGE_PART * segments as u64;
    let age = u64::from(ground.active.saturating_sub(candidate.segment)).min(span);
    u128::from(gain) * u128::from(span + age) * 1_000_000 / u128::from(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1 << 20;

    fn ground(segments: u32) -> Ground {
        Ground { segment_bytes: SEGMENT, active: segments, young_bytes: 0, short: false, eager: false }
    }

    fn all(lives: &[u64]) -> Vec<Candidate> {
        (1..).zip(lives).map(|(segment, live)| Candidate { segment, live: *live }).collect()
    }

    #[test]
    fn what_is_empty_goes_first_and_always() {
        let full = SEGMENT - 100;
        assert_eq!(choose(&all(&[full, 10, 0, full]), ground(5)), Some(3));
        assert_eq!(choose(&[], ground(1)), None);
    }

    #[test]
    fn little_that_is_dead_is_left_alone_until_space_is_short() {
        let lives = [SEGMENT * 9 / 10, SEGMENT * 6 / 10, SEGMENT * 95 / 100, SEGMENT * 95 / 100];
        let calm = ground(4);
        assert_eq!(choose(&all(&lives), calm), None);
        assert_eq!(choose(&all(&lives), Ground { short: true, ..calm }), Some(2));
    }

    #[test]
    fn young_segments_take_their_part_of_the_space() {
        let lives = all(&[SEGMENT / 2, SEGMENT]);
        assert_eq!(choose(&lives, ground(3)), None);
        let lives = all(&[SEGMENT / 3, SEGMENT]);
        assert_eq!(choose(&lives, ground(3)), Some(1));
        assert_eq!(choose(&lives, Ground { young_bytes: SEGMENT, ..ground(4) }), None);
    }

    #[test]
    fn of_two_alike_the_older_goes_and_of_two_as_old_the_emptier() {
        let half = SEGMENT / 2;
        assert_eq!(choose(&all(&[half, half, half]), ground(4)), Some(1));
        assert_eq!(choose(&all(&[half, half / 2, half]), ground(4)), Some(2));
    }

    #[test]
    fn a_full_segment_is_never_worth_it() {
        let full = SEGMENT - SEGMENT / 100;
        let short = Ground { short: true, ..ground(100) };
        assert_eq!(choose(&all(&[full, full, full]), short), None);
    }
}
