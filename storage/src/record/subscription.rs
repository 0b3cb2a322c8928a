//! Subscription: a name an account is subscribed to, or is not any more. Of the name, not of a mailbox: there need be
//! none (RFC 9051 §6.3.7).

use crate::codec::{Put, Reader};

const ON: u8 = 1;

/// Kind 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    pub on: bool,
    pub name: &'a str,
}

impl<'a> Subscription<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.u8(if self.on { ON } else { 0 });
        out.u8(0);
        out.text(self.name);
    }

    pub fn decode(r: &mut Reader<'a>) -> Option<Self> {
        let on = r.u8()? & ON != 0;
        r.u8()?;
        Some(Subscription { on, name: r.text()? })
    }
}
