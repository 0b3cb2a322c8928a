//! LOGIN and AUTHENTICATE PLAIN: who it is, and on which shard they live.

use super::Door;
use crate::net::pump::Next;
use crate::net::wire::Wire;
use crate::office;
use crate::proto::imap::{Answer, Login, No};
use crate::proto::sasl::Speaker;

impl Door {
    /// Wrong names and wrong passwords get one answer, in one time (A111): the office sees to it.
    pub(super) async fn login(&mut self, login: Login, wire: &mut Wire) -> Next<Answer> {
        match self.office.login(wire, Speaker::Imap, login).await {
            office::Login::Here(resident) => {
                let office::Resident { name, began, .. } = &resident;
                self.presence = Some(self.office.sessions.enter(wire, Speaker::Imap, name, *began).into());
                self.who = Some(resident);
                Next::Answer(Answer::Welcome)
            }
            office::Login::There(to, arrival) => {
                self.leaving = Some(arrival);
                Next::HandOff(to)
            }
            office::Login::Wrong => Next::Answer(Answer::No(No::BadLogin)),
            office::Login::TooMany | office::Login::Busy | office::Login::Unavailable => {
                Next::Answer(Answer::No(No::Unavailable))
            }
        }
    }
}
