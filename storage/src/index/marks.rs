//! What has changed since the last checkpoint, and images of what changes while one is being taken.
//!
//! A checkpoint is of one moment, but copying all that has changed would hold up the commits. So it is copied in
//! slices, and what is about to change before its slice has come leaves an image of how it was.

/// Marks on objects that are known by a number.
#[derive(Default)]
pub struct Marks {
    /// Changed since the last checkpoint began.
    now: Bits,
    /// Of the checkpoint that is being taken.
    of: Bits,
    /// Those of them that were not copied yet.
    left: Bits,
    /// Images of those that have changed before they were copied.
    saved: Vec<(u32, Vec<u8>)>,
}

impl Marks {
    /// The object is about to change. `image`: how it is until then.
    pub fn touch(&mut self, id: u32, image: impl FnOnce() -> Vec<u8>) {
        if self.left.clear(id) {
            self.saved.push((id, image()));
        }
        self.now.set(id);
    }

    /// A checkpoint is of this moment.
    pub fn begin(&mut self) {
        assert!(self.left.is_empty() && self.saved.is_empty(), "one checkpoint at a time");
        self.of = std::mem::take(&mut self.now);
        self.left = self.of.clone();
    }

    /// Images of the next objects, of about `bytes` octets together; none: those were all. An object that was gone has an
    /// image of no octets.
    pub fn take(&mut self, bytes: usize, mut image: impl FnMut(u32) -> Vec<u8>) -> Vec<(u32, Vec<u8>)> {
        let mut slice = std::mem::take(&mut self.saved);
        let mut taken: usize = slice.iter().map(|(_, image)| image.len()).sum();
        while taken < bytes
            && let Some(id) = self.left.pop()
        {
            let bytes = image(id);
            taken += bytes.len().max(1);
            slice.push((id, bytes));
        }
        slice
    }

    /// The checkpoint is durable (or not): what was to be in it is level with the disk (or changed still).
    pub fn end(&mut self, durable: bool) {
        if !durable {
            self.now.add(&self.of);
        }
        self.of = Bits::default();
        self.left = Bits::default();
        self.saved.clear();
    }
}

/// A set of numbers.
#[derive(Clone, Default)]
struct Bits {
    words: Vec<u64>,
    /// No word before this one has a bit.
    from: usize,
}

impl Bits {
    fn set(&mut self, id: u32) {
        let word = id as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (id % 64);
        self.from = self.from.min(word);
    }

    /// True if it was there.
    fn clear(&mut self, id: u32) -> bool {
        let Some(word) = self.words.get_mut(id as usize / 64) else { return false };
        let was = *word & 1 << (id % 64) != 0;
        *word &= !(1 << (id % 64));
        was
    }

    /// Takes the lowest out.
    fn pop(&mut self) -> Option<u32> {
        while *self.words.get(self.from)? == 0 {
            self.from += 1;
        }
        let bit = self.words[self.from].trailing_zeros();
        self.words[self.from] &= self.words[self.from] - 1;
        Some(self.from as u32 * 64 + bit)
    }

    fn add(&mut self, other: &Bits) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
        self.from = 0;
    }

    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_before_its_slice_comes_as_it_was() {
        let mut values = vec![0u8; 300];
        let mut marks = Marks::default();
        let change = |marks: &mut Marks, values: &mut Vec<u8>, id: u32, to: u8| {
            marks.touch(id, || vec![values[id as usize]]);
            values[id as usize] = to;
        };
        for id in [7, 64, 290, 7] {
            change(&mut marks, &mut values, id, 1);
        }
        marks.begin();
        change(&mut marks, &mut values, 290, 2);
        change(&mut marks, &mut values, 5, 2);
        assert_eq!(marks.take(2, |id| vec![values[id as usize]]), [(290, vec![1]), (7, vec![1])]);
        change(&mut marks, &mut values, 7, 3);
        assert_eq!(marks.take(9, |id| vec![values[id as usize]]), [(64, vec![1])]);
        assert_eq!(marks.take(9, |id| vec![values[id as usize]]), []);
        marks.end(true);
        marks.begin();
        let ids = |marks: &mut Marks| marks.take(99, |_| vec![1]).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(&mut marks), [5, 7, 290]);
        marks.end(false);
        marks.begin();
        assert_eq!(ids(&mut marks), [5, 7, 290], "one that was given up is taken again");
    }
}
