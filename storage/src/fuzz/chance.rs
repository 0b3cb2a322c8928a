//! What chance does to octets, and values that have proved awkward.

use std::rc::Rc;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::types::{Flags, Place};

/// Octets that a spoilt input grows to, at most.
const SPOILT_BYTES_MAX: usize = 64 << 10;

/// A number: mostly small, often at an edge.
pub fn number(chance: &mut SmallRng) -> u64 {
    match chance.random_range(0..8) {
        0..4 => chance.random_range(0..20),
        4 => 1 << chance.random_range(0..64),
        5 => (1u64 << chance.random_range(0..64)) - 1,
        6 => u64::MAX >> chance.random_range(0..64),
        _ => chance.random(),
    }
}

/// The same of 32 bits.
pub fn small(chance: &mut SmallRng) -> u32 {
    match chance.random_range(0..8) {
        0..5 => chance.random_range(0..20),
        5 => 1 << chance.random_range(0..32),
        6 => u32::MAX >> chance.random_range(0..32),
        _ => chance.random(),
    }
}

/// A place somewhere in the first segments.
pub fn place(chance: &mut SmallRng) -> Place {
    Place { segment: chance.random_range(0..9), at: small(chance) }
}

/// A text of at most so many characters, one of which takes two octets.
pub fn text(chance: &mut SmallRng, most: usize) -> String {
    let len = chance.random_range(0..=most);
    (0..len).map(|_| ['a', 'b', '/', 'ü', '@'][chance.random_range(0..5)]).collect()
}

/// At most so many octets.
pub fn octets(chance: &mut SmallRng, most: usize) -> Vec<u8> {
    let len = chance.random_range(0..=most);
    (0..len).map(|_| chance.random()).collect()
}

/// Flags, with some keywords.
pub fn flags(chance: &mut SmallRng) -> Flags {
    let bits = chance.random_range(0..32);
    if chance.random_ratio(2, 3) {
        return Flags::of(bits);
    }
    let keywords = (0..chance.random_range(1..5)).map(|_| text(chance, 9).into()).collect();
    Flags { bits, keywords: Some(Rc::new(keywords)) }
}

/// At most so many of something.
pub fn several<T>(chance: &mut SmallRng, most: usize, mut one: impl FnMut(&mut SmallRng) -> T) -> Vec<T> {
    (0..chance.random_range(0..=most)).map(|_| one(chance)).collect()
}

/// Changes some octets. `other`: what pieces may be taken from.
pub fn spoil(chance: &mut SmallRng, octets: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..chance.random_range(1..5) {
        if octets.is_empty() {
            octets.push(chance.random());
        }
        let len = octets.len();
        let at = chance.random_range(0..len);
        let most = 1 << chance.random_range(0..10);
        let run = chance.random_range(1..=(len - at).min(most));
        match chance.random_range(0..9) {
            0 => octets[at] ^= 1 << chance.random_range(0..8),
            1 => octets[at] = chance.random(),
            2 => {
                // A field, as it lies in most structures: at a multiple of its width.
                let width = [2, 4, 4, 8][chance.random_range(0..4)];
                let at = at - at % width;
                let value = number(chance).to_le_bytes();
                octets.iter_mut().skip(at).zip(&value[..width]).for_each(|(octet, new)| *octet = *new);
            }
            3 => drop(octets.drain(at..at + run)),
            4 if len < SPOILT_BYTES_MAX => drop(octets.splice(at..at, octets[at..at + run].to_vec())),
            5 if len < SPOILT_BYTES_MAX && !other.is_empty() => {
                let from = chance.random_range(0..other.len());
                let to = chance.random_range(from..=other.len().min(from + 512));
                let replaced = if chance.random() { at..at } else { at..(at + to - from).min(len) };
                drop(octets.splice(replaced, other[from..to].iter().copied()));
            }
            6 => octets.truncate(at),
            7 => octets[at..at + run].fill([0, 255][chance.random_range(0..2)]),
            _ => {
                let value = (octets[at] as i8).wrapping_add(chance.random_range(-3..=3));
                octets[at] = value as u8;
            }
        }
    }
}
