//! Building a batch: records go straight into the buffer that will be written, bodies stay in their own parts.
//!
//! A [`Gather`] knows its segment and first ordinal from the start, so every place is final when it is decided.
//! Its offset is known when it is sealed, because the one before it is sealed by then.

use std::rc::Rc;

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::{FOOTER_BYTES, Footer, HEADER_BYTES, Header};
use crate::commit::Fate;
use crate::disk::Bytes;
use crate::record::{self, BodyRecord, Chain, kind};
use crate::types::{AccountId, Lsn, Place};

/// A batch that is still taking transactions.
pub struct Gather {
    pub lsn: Lsn,
    pub segment: u32,
    pub first_ordinal: u32,
    pub records: u32,
    pub transactions: u32,
    /// True when nothing more may join.
    pub closed: bool,
    /// Octets that were counted as waiting for it.
    pub waiting_bytes: u64,
    /// True when it holds nothing but a heartbeat.
    pub idle: bool,
    /// Accounts that were changed, with repetitions.
    pub touched: Vec<AccountId>,
    pub fate: Rc<Fate>,
    pub payload_bytes: u64,
    /// Header (still zero) and directory.
    buffer: Vec<u8>,
    bodies: Vec<Bytes>,
    body_bytes: u64,
    body_checks: Vec<u8>,
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
    pub fn new(lsn: Lsn, segment: u32, first_ordinal: u32) -> Self {
        let mut buffer = Vec::with_capacity(8 << 10);
        buffer.resize(HEADER_BYTES, 0);
        Gather {
            lsn,
            segment,
            first_ordinal,
            records: 0,
            transactions: 0,
            closed: false,
            waiting_bytes: 0,
            idle: false,
            touched: Vec::new(),
            fate: Rc::default(),
            payload_bytes: 0,
            buffer,
            bodies: Vec::new(),
            body_bytes: 0,
            body_checks: Vec::new(),
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
    }

    /// Where the next record will be.
    pub fn next_place(&self) -> Place {
        Place { segment: self.segment, ordinal: self.first_ordinal + self.records }
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

    /// Adds a body without copying it; says where it is and what its checksum is.
    pub fn push_body(&mut self, parts: Vec<Vec<u8>>, len: u64, slot: u16) -> (Place, u128) {
        let (check, table) = record::checks(&parts, len);
        let offset = self.body_bytes;
        let place = self.put(kind::BODY, None, slot, &Chain::default(), |out| {
            BodyRecord::encode(out, offset, len, check, &table);
        });
        self.bodies.extend(parts.into_iter().filter(|p| !p.is_empty()).map(Rc::new));
        self.body_bytes += len;
        self.body_checks.extend_from_slice(&check.to_le_bytes());
        self.payload_bytes += len;
        (place, check)
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
        let mut buffer = std::mem::take(&mut self.buffer);
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
            first_ordinal: self.first_ordinal,
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
