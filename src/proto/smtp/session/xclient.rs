//! XCLIENT: the conversation begins anew, as that of somebody else.

use std::sync::Arc;

use super::{Answer, Ask, Config, Helo, Out, Pending, Session, Word};
use crate::proto::smtp::xclient;

impl Session {
    /// Of a neighbour that may say it; of anybody else it is no command (A063).
    pub(in super::super) fn xclient(&mut self, argument: &[u8], out: &mut Out<Ask>) {
        if !self.config.xclient {
            return self.refuse(Word::NotImplemented, out);
        }
        if self.transaction.is_some() {
            return self.refuse(Word::NestedMail, out);
        }
        let Some(told) = xclient::read(argument) else { return self.refuse(Word::BadArgument, out) };
        // What was said before was said by the neighbour: his login too.
        self.helo = told.helo.map(|name| Arc::new(Helo { name, extended: told.extended }));
        self.logged_in = false;
        if told.address.is_some() {
            // From here on octets are the client's, whoever brings them: what the neighbour may, he may not.
            let config = Config { xclient: false, plaintext_auth_allowed: false, ..(*self.config).clone() };
            self.config = Arc::new(config);
        }
        self.ask(Ask::Client { address: told.address, port: told.port }, Pending::Client, out);
    }

    pub(super) fn client_answered(&mut self, answer: Answer, out: &mut Out<Ask>) {
        match answer {
            Answer::Yes => self.greet(out),
            Answer::No(reply) => {
                self.helo = None;
                self.judge(&reply, out);
            }
            Answer::Close => self.close(super::Turn::Close, out),
            Answer::Queued { .. } | Answer::Each(_) | Answer::Keys(_) => self.close(super::Turn::Abort, out),
        }
    }
}
