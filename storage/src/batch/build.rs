//! Building a batch: records go straight into the buffer that will be written, bodies stay in their own parts.
//!
//! A [`Gather`] knows its segment and offset from the start, because batches are written in the order they were opened and
//! each is closed before the next is: so every record's place is final when it is decided. Where the bodies begin is known
//! when it is sealed: until then their places count from there, and sealing fills in what refers to them.

use std::rc::Rc;

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::{FOOTER_BYTES, Footer, HEADER_BYTES, Header};
use crate::commit::Fate;
use crate::disk::Bytes;
use crate::record::{self, BodyRecord, Chain, Forward, LargeRecord, NewRoot, PIECE_BYTES_MAX, Piece, kind};
use crate::types::{AccountId, Lsn, Place};
use crate::upload::Pin;

/// A batch that is still taking transactions.
pub struct Gather {
    pub lsn: Lsn,
    pub segment: u32,
    /// Own position in the segment.
    pub offset: u64,
    pub records: u32,
    pub transactions: u32,
    /// True when nothing more may join.
    pub closed: bool,
    /// Octets that were counted as waiting for it.
    pub waiting_bytes: u64,
    /// True when it holds nothing but a heartbeat.
    pub idle: bool,
    /// Something in it was bound to be an append: the reserve is not for it.
    pub appends: bool,
    /// Accounts that were changed, with repetitions.
    pub touched: Vec<AccountId>,
    pub fate: Rc<Fate>,
    pub payload_bytes: u64,
    /// Segments that it refers to, which stay until the index knows.
    pub pins: Vec<Pin>,
    /// Header (still zero) and directory.
    buffer: Vec<u8>,
    bodies: Vec<Bytes>,
    body_bytes: u64,
    body_checks: Vec<u8>,
    /// What is to be filled in, by rising record.
    fixups: Vec<Fixup>,
}

/// An octet offset in `buffer` that counts from the bodies' start until the batch is sealed.
#[derive(Clone, Copy)]
struct Fixup {
    record: u32,
    field: u32,
    wide: bool,
}

/// A body of this batch, or one that is in the log already.
#[derive(Clone, Copy, Debug)]
pub struct Pushed {
    pub place: Place,
    pub len: u64,
    /// First 64 bits of its checksum, or over those of its pieces.
    pub check: u64,
    /// It is a list of pieces.
    pub large: bool,
    /// Its place still counts from the start of the batch's bodies.
    pub here: bool,
}

/// A point to go back to.
#[derive(Clone, Copy)]
pub struct Mark {
    buffer: usize,
    bodies: usize,
    body_bytes: u64,
    body_checks: usize,
    records: u32,
    touched: usize,
    payload_bytes: u64,
    fixups: usize,
}

/// A batch ready for the disk.
pub struct Sealed {
    pub header: Header,
    pub check: u128,
    pub parts: Vec<Bytes>,
}

/// Octets a batch takes beyond its records and bodies, at most.
pub const fn overhead_bytes() -> u64 {
    (HEADER_BYTES + FOOTER_BYTES) as u64 + crate::segment::BLOCK_BYTES - 1
}

impl Gather {
    pub fn new(lsn: Lsn, segment: u32, offset: u64) -> Self {
        let mut buffer = Vec::with_capacity(8 << 10);
        buffer.resize(HEADER_BYTES, 0);
        Gather {
            lsn,
            segment,
            offset,
            records: 0,
            transactions: 0,
            closed: false,
            waiting_bytes: 0,
            idle: false,
            appends: false,
            touched: Vec::new(),
            fate: Rc::default(),
            payload_bytes: 0,
            pins: Vec::new(),
            buffer,
            bodies: Vec::new(),
            body_bytes: 0,
            body_checks: Vec::new(),
            fixups: Vec::new(),
        }
    }

    /// Octets on disk if sealed now.
    pub fn bytes(&self) -> u64 {
        Header::total_bytes((self.buffer.len() - HEADER_BYTES) as u64, self.body_bytes)
            .expect("a batch is smaller than a segment")
    }

    /// Parts of the write if sealed now.
    pub fn parts(&self) -> usize {
        self.bodies.len() + 2
    }

    pub fn mark(&self) -> Mark {
        Mark {
            buffer: self.buffer.len(),
            bodies: self.bodies.len(),
            body_bytes: self.body_bytes,
            body_checks: self.body_checks.len(),
            records: self.records,
            touched: self.touched.len(),
            payload_bytes: self.payload_bytes,
            fixups: self.fixups.len(),
        }
    }

    /// Octets of records and bodies added since `mark`.
    pub fn bytes_since(&self, mark: Mark) -> u64 {
        (self.buffer.len() - mark.buffer) as u64 + self.body_bytes - mark.body_bytes
    }

    /// Forgets everything since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.buffer.truncate(mark.buffer);
        self.bodies.truncate(mark.bodies);
        self.body_bytes = mark.body_bytes;
        self.body_checks.truncate(mark.body_checks);
        self.records = mark.records;
        self.touched.truncate(mark.touched);
        self.payload_bytes = mark.payload_bytes;
        self.fixups.truncate(mark.fixups);
    }

    /// Where the next record will be.
    pub fn next_place(&self) -> Place {
        let at = self.offset + self.buffer.len() as u64;
        Place { segment: self.segment, at: u32::try_from(at).expect("a segment is below 4 GiB") }
    }

    /// Adds a record of the volume itself.
    pub fn push(&mut self, kind: u16, payload: impl FnOnce(&mut Vec<u8>)) -> Place {
        self.put(kind, None, 0, &Chain::default(), payload)
    }

    /// Adds a record of an account, after those in `chain`, and adds it to the chain.
    pub fn push_of(
        &mut self,
        kind: u16,
        account: AccountId,
        chain: &mut Chain,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Place {
        let place = self.put(kind, Some(account), record::slot(account), chain, payload);
        chain.push(place);
        self.touch(account);
        place
    }

    /// The same; `body_at` is where in the payload a body's place is, which is filled in if it is of this batch.
    pub fn push_with_body(
        &mut self,
        kind: u16,
        account: AccountId,
        chain: &mut Chain,
        body: (Pushed, usize),
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Place {
        let record = self.buffer.len();
        let place = self.push_of(kind, account, chain, payload);
        if body.0.here {
            self.fix(record, record::payload_at(&self.buffer, record) + body.1 + 4, false);
        }
        place
    }

    /// The same of a record of the volume itself.
    pub fn push_own_with_body(&mut self, kind: u16, body: (Pushed, usize), payload: impl FnOnce(&mut Vec<u8>)) {
        let record = self.buffer.len();
        self.push(kind, payload);
        if body.0.here {
            self.fix(record, record::payload_at(&self.buffer, record) + body.1 + 4, false);
        }
    }

    /// Adds the root of an account. It is no link of the account's chain.
    pub fn push_root(&mut self, account: AccountId, root: &NewRoot<'_>) -> Place {
        let record = self.buffer.len();
        let mut places = Vec::new();
        let put = |out: &mut Vec<u8>| places = root.encode(out);
        let place = self.put(kind::ROOT, Some(account), record::slot(account), &Chain::default(), put);
        let payload = record::payload_at(&self.buffer, record);
        places.iter().for_each(|at| self.fix(record, payload + at + 4, false));
        if places.is_empty() {
            self.finish_root(record);
        }
        self.touch(account);
        place
    }

    /// Adds where things of an old segment are now: octet there, new place, and whether that is a body of this batch.
    pub fn push_forward(&mut self, segment: u32, items: &[(u32, Place, bool)]) -> Place {
        let record = self.buffer.len();
        let places: Vec<(u32, Place)> = items.iter().map(|(at, new, _)| (*at, *new)).collect();
        let place = self.push(kind::FORWARD, |out| Forward::encode(out, segment, &places));
        let payload = record::payload_at(&self.buffer, record);
        let bodies = items.iter().enumerate().filter(|(_, (.., body))| *body);
        bodies.for_each(|(n, _)| self.fix(record, payload + Forward::new_at(n), false));
        place
    }

    fn finish_root(&mut self, record: usize) {
        let payload = record::payload_at(&self.buffer, record);
        let len = u32::from_le_bytes(self.buffer[record..record + 4].try_into().expect("four octets")) as usize;
        NewRoot::seal(&mut self.buffer[payload..record + len]);
        record::check_again(&mut self.buffer, record);
    }

    fn fix(&mut self, record: usize, field: usize, wide: bool) {
        self.fixups.push(Fixup { record: record as u32, field: field as u32, wide });
    }

    /// Notes that the account is looked after by this batch, also where no record of it comes of that.
    pub fn touch(&mut self, account: AccountId) {
        if self.touched.last() != Some(&account) {
            self.touched.push(account);
        }
    }

    /// The buffers of the bodies added since `mark`.
    pub fn bodies_since(&self, mark: Mark) -> &[Bytes] {
        &self.bodies[mark.bodies..]
    }

    /// Adds a body without copying it: `parts` behind `pieces` that are in the log already. One that is too large to be
    /// verified whole comes in pieces. `len`: octets of all.
    pub fn push_body(&mut self, mut pieces: Vec<Piece>, parts: Vec<Vec<u8>>, len: u64, slot: u16) -> Pushed {
        let there = pieces.len();
        self.payload_bytes += len - pieces.iter().map(|piece| u64::from(piece.len)).sum::<u64>();
        if there == 0 && len <= PIECE_BYTES_MAX {
            let check = record::check(&parts);
            let place = self.push_piece(len, check, slot);
            self.take_parts(parts, len);
            return Pushed { place, len, check: check as u64, large: false, here: true };
        }
        for part in parts {
            for octets in part.chunks(PIECE_BYTES_MAX as usize) {
                let check = record::check(&[octets]);
                let place = self.push_piece(octets.len() as u64, check, slot);
                self.body_bytes += octets.len() as u64;
                pieces.push(Piece { place, len: octets.len() as u32, check: check as u64 });
            }
            self.bodies.extend((!part.is_empty()).then(|| Rc::new(part)));
        }
        if let ([only], 1) = (&*pieces, there) {
            return Pushed { place: only.place, len, check: only.check, large: false, here: false };
        }
        let (place, check) = self.push_large(&pieces, there, slot);
        Pushed { place, len, check, large: true, here: false }
    }

    /// Adds blobs: bodies that the store itself reads, one after the other in one part. Each is one body, however large,
    /// because it is read and verified whole. None is empty.
    pub fn push_blobs(&mut self, octets: Vec<u8>, lens: &[u32], slot: u16) -> Vec<Pushed> {
        let mut rest = &octets[..];
        let mut pushed = Vec::with_capacity(lens.len());
        for &len in lens {
            let (blob, behind) = rest.split_at(len as usize);
            rest = behind;
            let check = record::check(&[blob]);
            let place = self.push_piece(u64::from(len), check, slot);
            self.body_bytes += u64::from(len);
            pushed.push(Pushed { place, len: u64::from(len), check: check as u64, large: false, here: true });
        }
        assert!(rest.is_empty() && lens.iter().all(|len| *len > 0), "the blobs are all there is");
        self.bodies.extend((!octets.is_empty()).then(|| Rc::new(octets)));
        pushed
    }

    /// Adds the list of a large body's pieces, of which the first `there` are where they are; the others are of this batch and
    /// have relative places.
    pub fn push_large(&mut self, pieces: &[Piece], there: usize, slot: u16) -> (Place, u64) {
        let record = self.buffer.len();
        let put = |out: &mut Vec<u8>| LargeRecord::encode(out, pieces);
        let place = self.put(kind::LARGE, None, slot, &Chain::default(), put);
        let payload = record::payload_at(&self.buffer, record);
        (there..pieces.len()).for_each(|n| self.fix(record, payload + LargeRecord::place_at(n) + 4, false));
        (place, LargeRecord::check(pieces.iter().copied()))
    }

    /// The record of a body that begins where the bodies end now.
    fn push_piece(&mut self, len: u64, check: u128, slot: u16) -> Place {
        let record = self.buffer.len();
        let offset = self.body_bytes;
        let body = BodyRecord { offset, len, check };
        self.put(kind::BODY, None, slot, &Chain::default(), |out| body.encode(out));
        self.fix(record, record::payload_at(&self.buffer, record) + BodyRecord::OFFSET_AT, true);
        self.body_checks.extend_from_slice(&check.to_le_bytes());
        Place { segment: self.segment, at: u32::try_from(offset).expect("a batch is smaller than a segment") }
    }

    fn take_parts(&mut self, parts: Vec<Vec<u8>>, len: u64) {
        self.bodies.extend(parts.into_iter().filter(|p| !p.is_empty()).map(Rc::new));
        if len == 0 {
            self.bodies.push(Rc::new(vec![0]));
        }
        self.body_bytes += BodyRecord::taken(len);
    }

    /// Everything that refers to bodies of this batch says where they are.
    fn fill_in(&mut self) {
        let bodies_at = self.offset + self.buffer.len() as u64;
        let fixups = std::mem::take(&mut self.fixups);
        for (n, fixup) in fixups.iter().enumerate() {
            let field = fixup.field as usize;
            if fixup.wide {
                let was = u64::from_le_bytes(self.buffer[field..field + 8].try_into().expect("eight octets"));
                self.buffer[field..field + 8].copy_from_slice(&(was + bodies_at).to_le_bytes());
            } else {
                let was = u32::from_le_bytes(self.buffer[field..field + 4].try_into().expect("four octets"));
                let at = u32::try_from(u64::from(was) + bodies_at).expect("a segment is below 4 GiB");
                self.buffer[field..field + 4].copy_from_slice(&at.to_le_bytes());
            }
            if fixups.get(n + 1).is_none_or(|next| next.record != fixup.record) {
                let record = fixup.record as usize;
                match u16::from_le_bytes([self.buffer[record + 8], self.buffer[record + 9]]) {
                    kind::ROOT => self.finish_root(record),
                    _ => record::check_again(&mut self.buffer, record),
                }
            }
        }
    }

    fn put(
        &mut self,
        kind: u16,
        account: Option<AccountId>,
        slot: u16,
        chain: &Chain,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Place {
        let place = self.next_place();
        let at = record::begin(&mut self.buffer, kind, 0, account, slot, chain);
        payload(&mut self.buffer);
        record::finish(&mut self.buffer, at);
        self.records += 1;
        place
    }

    /// Writes header and footer. The fields of `like` that a batch does not know itself are taken from there.
    pub fn seal(&mut self, like: Header, seed: u64) -> Sealed {
        self.fill_in();
        let mut buffer = std::mem::take(&mut self.buffer);
        let at = u32::try_from(self.offset + HEADER_BYTES as u64).expect("a segment is below 4 GiB");
        record::mark(&mut buffer[HEADER_BYTES..], Place { segment: self.segment, at }, seed);
        let directory = &buffer[HEADER_BYTES..];
        let total_bytes =
            Header::total_bytes(directory.len() as u64, self.body_bytes).expect("a batch is smaller than a segment");
        let header = Header {
            lsn: self.lsn,
            segment: self.segment,
            directory_bytes: u32::try_from(directory.len()).expect("a batch is smaller than a segment"),
            records: self.records,
            body_bytes: self.body_bytes,
            total_bytes,
            offset: self.offset,
            transactions: self.transactions,
            directory_check: xxh3_128_with_seed(directory, seed),
            ..like
        };
        buffer[..HEADER_BYTES].copy_from_slice(&header.encode(seed));
        let check = header.check(seed);
        let footer = Footer {
            lsn: self.lsn,
            epoch: header.epoch,
            total_bytes,
            batch_check: check,
            bodies_check: xxh3_128(&self.body_checks),
        };
        let used = buffer.len() as u64 + self.body_bytes;
        let mut end = vec![0; (total_bytes - used) as usize];
        let footer_at = end.len() - FOOTER_BYTES;
        end[footer_at..].copy_from_slice(&footer.encode());
        let mut parts = Vec::with_capacity(self.bodies.len() + 2);
        parts.push(Rc::new(buffer));
        parts.append(&mut self.bodies);
        parts.push(Rc::new(end));
        Sealed { header, check, parts }
    }
}
