//! IDLE: the client waits, and hears at once what happens in its mailbox (RFC 2177).
//!
//! ```text
//!   IDLE ─► "+ idling" ─► ask ─► Idle ─┬─ DONE ─► ask ─► OK
//!                          ▲           ├─ News ─► ask ─┐
//!                          └───────────┼───────────────┘
//!                                      ├─ silence: "* OK Still here", and after half an hour of it BYE
//!                                      └─ any other line: skipped whole, BAD
//! ```
//!
//! The session knows no clock: it counts the silences, each of which [`limits::IMAP_STILL_S`] long. News only make it
//! later. RFC 9051 §5.4 asks for at least 30 minutes.

use super::{Phase, Session, Tag, Then};
use crate::limits;
use crate::proto::contract::Out;
use crate::proto::imap::ask::Ask;
use crate::proto::imap::frame::{self, Line};
use crate::proto::imap::refusal::Refusal;

/// Silences after which an idle client is taken to be gone.
const SILENCES_MAX: u64 = limits::IMAP_IDLE_S / limits::IMAP_STILL_S;
const _: () = assert!(SILENCES_MAX <= u8::MAX as u64 && SILENCES_MAX * limits::IMAP_STILL_S >= 30 * 60);

const EXPECTED_DONE: Refusal = Refusal::bad("DONE expected");

/// A client that waits.
#[derive(Clone)]
pub(super) struct Idle {
    tag: Tag,
    silences: u8,
}

impl Session {
    pub(super) fn begin_idle(&mut self, tag: &[u8], out: &mut Out<Ask>) {
        out.say("+ idling\r\n");
        // What has changed since the last command is told now, like all that follows.
        self.look_around(Idle { tag: tag.into(), silences: 0 }, out);
    }

    /// Asks for what there is to tell; the client goes on waiting.
    fn look_around(&mut self, idle: Idle, out: &mut Out<Ask>) {
        let Idle { tag, silences } = idle;
        self.wait(&tag, "IDLE", Then::Idle { silences }, Ask::Poll, out);
    }

    pub(super) fn idle_on(&mut self, tag: Tag, silences: u8) {
        self.phase = Phase::Idle(Idle { tag, silences });
    }

    pub(super) fn news(&mut self, out: &mut Out<Ask>) {
        if let Phase::Idle(idle) = &self.phase {
            let idle = idle.clone();
            self.look_around(idle, out);
        }
    }

    pub(super) fn silence(&mut self, out: &mut Out<Ask>) {
        match &mut self.phase {
            // Who has begun to say DONE is not idle.
            Phase::Idle(idle) if self.scanned == 0 && u64::from(idle.silences) + 1 < SILENCES_MAX => {
                idle.silences += 1;
                out.say("* OK Still here\r\n");
            }
            _ => self.bye("Idle for too long", out),
        }
    }

    pub(super) fn idle(&mut self, bytes: &[u8], out: &mut Out<Ask>) -> usize {
        let Phase::Idle(idle) = &self.phase else { unreachable!("the phase was looked at") };
        let tag = idle.tag.clone();
        match frame::line(bytes, &mut self.scanned, b"DONE".len()) {
            Line::More => 0,
            Line::Whole(len) if bytes[..len].eq_ignore_ascii_case(b"DONE") => {
                self.wait(&tag, "IDLE", Then::Complete, Ask::Poll, out);
                len + 2
            }
            // A124: whatever it is, and whatever literals it has, it is not carried out.
            Line::Whole(_) | Line::BareLf | Line::TooLong => self.skip(Some(&tag), EXPECTED_DONE, bytes, out),
        }
    }
}
