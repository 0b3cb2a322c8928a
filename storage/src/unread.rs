//! Reading around what a disk does not read: the rest of the octets comes, and the places that do not are known.
//!
//! For tools that look at a damaged store. One bad sector makes a whole read fail, so that is done again in small pieces, and
//! what is left unread is filled with [`FILL`]: octets with which nothing verifies, so whoever reads on takes them for
//! damage like any other. They are never zeros, because those could pass for a log's end. A piece that was not read once is
//! not asked for again: a disk may take seconds to say no.
//!
//! Not for a server that writes: there an error is an error.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use crate::disk::{BLOCK_BYTES, File};

/// What stands for an octet that was not read.
pub const FILL: u8 = b'?';

/// A read that fails is done again in pieces of this size first: what page caches and most disks read at least.
const PIECE_BYTES: u64 = 4_096;

/// Octets of a file that the disk does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its name.
    pub file: String,
    /// From here on.
    pub offset: u64,
    /// So many.
    pub octets: u64,
    /// What the disk says.
    pub why: String,
}

/// The places that were not read. Clones share them: they grow with the damage, a few words for each unbroken stretch.
#[derive(Clone, Default)]
pub struct Unreads(Rc<RefCell<Known>>);

#[derive(Default)]
struct Known {
    /// End of each stretch, by file and start.
    stretches: BTreeMap<(Rc<str>, u64), u64>,
    untold: Vec<Unread>,
}

impl Unreads {
    /// Reads as `file` does, around what it does not read.
    ///
    /// # Errors
    /// Those that say nothing of the disk: past the end, no memory.
    pub async fn read<F: File>(&self, name: &Rc<str>, file: &F, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if !self.is_known(name, offset, len as u64) {
            match file.read_at(offset, len).await {
                Err(why) if is_of_the_disk(&why) => {}
                done => return done,
            }
        }
        let end = offset + len as u64;
        let mut bytes = Vec::with_capacity(len);
        let mut at = offset;
        while at < end {
            let to = (at / PIECE_BYTES * PIECE_BYTES + PIECE_BYTES).min(end);
            self.piece(name, file, (at, to), &mut bytes).await?;
            at = to;
        }
        Ok(bytes)
    }

    /// What was not read since this was asked last.
    #[must_use]
    pub fn take(&self) -> Vec<Unread> {
        std::mem::take(&mut self.0.borrow_mut().untold)
    }

    async fn piece<F: File>(
        &self,
        name: &Rc<str>,
        file: &F,
        (from, to): (u64, u64),
        bytes: &mut Vec<u8>,
    ) -> io::Result<()> {
        if !self.is_known(name, from, to - from) {
            match file.read_at(from, (to - from) as usize).await {
                Ok(read) => {
                    bytes.extend_from_slice(&read);
                    return Ok(());
                }
                Err(why) if is_of_the_disk(&why) => {}
                Err(why) => return Err(why),
            }
        }
        let mut at = from;
        while at < to {
            let next = (at / BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES).min(to);
            let len = (next - at) as usize;
            let read = match self.is_known(name, at, next - at) {
                true => None,
                false => match file.read_at(at, len).await {
                    Ok(read) => Some(read),
                    Err(why) if is_of_the_disk(&why) => {
                        self.note(name, (at, next), &why);
                        None
                    }
                    Err(why) => return Err(why),
                },
            };
            match read {
                Some(read) => bytes.extend_from_slice(&read),
                None => bytes.resize(bytes.len() + len, FILL),
            }
            at = next;
        }
        Ok(())
    }

    /// True when some of these octets were not read before.
    fn is_known(&self, name: &Rc<str>, offset: u64, len: u64) -> bool {
        let known = self.0.borrow();
        let before = known.stretches.range(..(name.clone(), offset + len)).next_back();
        before.is_some_and(|((of, _), end)| of == name && *end > offset)
    }

    fn note(&self, name: &Rc<str>, (from, to): (u64, u64), why: &io::Error) {
        let mut known = self.0.borrow_mut();
        // A sector may have been asked for in parts.
        let before = known.stretches.range_mut(..=(name.clone(), from)).next_back();
        match before.filter(|((of, _), end)| of == name && **end == from) {
            Some((_, end)) => *end = to,
            None => drop(known.stretches.insert((name.clone(), from), to)),
        }
        match known.untold.last_mut() {
            Some(last) if *last.file == **name && last.offset + last.octets == from => last.octets += to - from,
            _ => known.untold.push(Unread {
                file: String::from(&**name),
                offset: from,
                octets: to - from,
                why: why.to_string(),
            }),
        }
    }
}

/// True for an error with which a disk says that it cannot read.
fn is_of_the_disk(why: &io::Error) -> bool {
    !matches!(
        why.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::OutOfMemory | ErrorKind::Interrupted | ErrorKind::InvalidInput
    )
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::disk::{Bytes, Disk};
    use crate::sim::SimDisk;
    use crate::sim::campaign::tasks::block_on;

    #[test]
    fn one_sector_costs_one_sector_and_is_asked_for_once() {
        let disk = SimDisk::new(1);
        let octets: Vec<u8> = (0..40_960u32).map(|n| (n / 512) as u8).collect();
        disk.poke("f", octets.clone());
        disk.wear_out("f", 5 * 512, 1);
        disk.wear_out("f", 6 * 512, 2 * 512);
        let file = block_on(disk.open("f")).unwrap();
        assert!(block_on(file.read_at(0, 40_960)).is_err(), "who reads plainly has nothing");
        let (unreads, name) = (Unreads::default(), Rc::from("f"));
        let mut wanted = octets.clone();
        wanted[5 * 512..8 * 512].fill(FILL);
        assert!(block_on(unreads.read(&name, &file, 0, 40_960)).unwrap() == wanted);
        let told = unreads.take();
        assert_eq!((told.len(), told[0].offset, told[0].octets), (1, 5 * 512, 3 * 512), "{told:?}");
        // Again, and not aligned: nothing is new, and the bad sectors are left alone.
        let before = disk.steps();
        assert!(block_on(unreads.read(&name, &file, 2_000, 9_000)).unwrap() == wanted[2_000..11_000]);
        assert_eq!(unreads.take(), []);
        assert!(disk.steps() - before <= 16, "{}", disk.steps() - before);
        // Writing heals, as it does on disks that have sectors to spare.
        block_on(file.write_sync(5 * 512, vec![Bytes::new(vec![7; 3 * 512])])).unwrap();
        assert!(block_on(file.read_at(0, 40_960)).is_ok());
    }

    #[test]
    fn what_is_not_the_disks_fault_stays_an_error() {
        let disk = SimDisk::new(1);
        disk.poke("f", vec![0; 1_024]);
        let file = block_on(disk.open("f")).unwrap();
        let unreads = Unreads::default();
        let past = block_on(unreads.read(&Rc::from("f"), &file, 1_000, 100));
        assert_eq!(past.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(unreads.take(), []);
    }
}
