//! When letters fall due in an open loop: a schedule that no answer changes.
//!
//! Latency counts from the schedule, not from the sending, so a server that stalls cannot hide by being sent less. `Even` has
//! the same gap everywhere and is the kindest there is; `Poisson` is what many senders who know nothing of each other make.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How gaps between letters are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gaps {
    /// All the same.
    #[default]
    Even,
    /// Exponentially distributed.
    Poisson,
}

/// The schedule.
#[derive(Clone, Debug)]
pub struct Arrivals {
    gaps: Gaps,
    per_s: f64,
    /// Seconds from the start to the next.
    next_s: f64,
    nth: u64,
    chance: SmallRng,
}

impl Arrivals {
    /// `per_s` a second, the first at once. The same seed draws the same schedule.
    #[must_use]
    pub fn new(gaps: Gaps, per_s: f64, seed: u64) -> Arrivals {
        assert!(per_s > 0.0 && per_s.is_finite(), "checked where it was asked for");
        Arrivals { gaps, per_s, next_s: 0.0, nth: 0, chance: SmallRng::seed_from_u64(seed) }
    }

    /// When the next is due, from the start.
    #[must_use]
    pub fn due(&self) -> Duration {
        Duration::from_secs_f64(self.next_s)
    }

    /// Goes on to the one after it.
    pub fn advance(&mut self) {
        self.nth += 1;
        self.next_s = match self.gaps {
            // Not summed up: a million small errors would be one.
            Gaps::Even => self.nth as f64 / self.per_s,
            Gaps::Poisson => self.next_s - (1.0 - self.chance.random::<f64>()).ln() / self.per_s,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(gaps: Gaps, seed: u64) -> Vec<f64> {
        let mut arrivals = Arrivals::new(gaps, 1_000.0, seed);
        let mut last = arrivals.due();
        assert_eq!(last, Duration::ZERO);
        let mut found = Vec::new();
        for _ in 0..20_000 {
            arrivals.advance();
            found.push((arrivals.due() - last).as_secs_f64());
            last = arrivals.due();
        }
        found
    }

    #[test]
    fn even_gaps_are_even_and_poisson_gaps_scatter_as_much_as_they_last() {
        let spread = |found: &[f64]| {
            let mean = found.iter().sum::<f64>() / found.len() as f64;
            let variance = found.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / found.len() as f64;
            (mean, variance.sqrt())
        };
        let (mean, deviation) = spread(&gaps(Gaps::Even, 1));
        assert!((mean - 0.001).abs() < 1e-6 && deviation < 1e-6, "{mean} {deviation}");
        let (mean, deviation) = spread(&gaps(Gaps::Poisson, 1));
        assert!((mean - 0.001).abs() < 5e-5 && (deviation - 0.001).abs() < 1e-4, "{mean} {deviation}");
        assert_eq!(gaps(Gaps::Poisson, 7), gaps(Gaps::Poisson, 7));
        assert_ne!(gaps(Gaps::Poisson, 7), gaps(Gaps::Poisson, 8));
    }
}
