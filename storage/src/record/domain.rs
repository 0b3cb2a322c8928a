//! Domain put and remove: the names this volume answers for. `info` is the caller's.

use crate::codec::{Put, Reader};

/// Kind 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainPut<'a> {
    pub name: &'a str,
    pub info: &'a [u8],
}

impl<'a> DomainPut<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.text(self.name);
        out.blob(self.info);
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        Some(DomainPut { name: r.text()?, info: r.blob()? })
    }
}
