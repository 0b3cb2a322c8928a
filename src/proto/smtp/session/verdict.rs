//! What is said of a message: once, or by LMTP once for each recipient that was accepted (RFC 2033 §4.2), in their order.
//!
//! A message that fails as a whole, or is accepted as a whole, has the same said for all. The world may also answer for each
//! ([`Answer::Each`]). Refusals of one message are one error in the books, however many recipients hear of it.

use super::{AfterReset, Answer, Ask, Out, Pending, Phase, Reply, Role, Session, Turn, Word};

impl Session {
    /// The dot came.
    pub(super) fn message_ended(&mut self, out: &mut Out<Ask>) {
        let Phase::Data(incoming) = &self.phase else { return };
        let Some(word) = incoming.fault() else {
            let octets = incoming.octets();
            return self.ask(Ask::Done { octets }, Pending::Done, out);
        };
        self.phase = Phase::Command;
        self.judge_each(&word.reply(), out);
        if !matches!(self.phase, Phase::Closed) {
            self.reset(AfterReset::Silence, out);
        }
    }

    /// The world has it, or has not.
    pub(super) fn message_answered(&mut self, answer: Answer, out: &mut Out<Ask>) {
        match answer {
            Answer::Queued { id } => {
                self.accepted();
                self.say_each(&Reply::new(250, (2, 0, 0), format!("Ok: queued as {id}")), out);
            }
            Answer::No(reply) => self.judge_each(&reply, out),
            Answer::Each(replies) if replies.len() == self.verdicts() && self.config.role == Role::Lmtp => {
                if replies.iter().any(|reply| reply.code < 300) {
                    self.accepted();
                }
                let (last, others) = replies.split_last().expect("a message has a recipient");
                others.iter().for_each(|reply| reply.write(&mut out.reply));
                self.judge(last, out);
            }
            Answer::Yes | Answer::Each(_) | Answer::Keys(_) => self.close(Turn::Abort, out),
            Answer::Close => self.close(Turn::Close, out),
        }
        self.drop_transaction();
    }

    /// Says why a message is refused.
    pub(super) fn judge_each(&mut self, reply: &Reply, out: &mut Out<Ask>) {
        for _ in 1..self.verdicts() {
            reply.write(&mut out.reply);
        }
        self.judge(reply, out);
    }

    /// To DATA and BDAT when every RCPT was refused. LMTP has a code of its own for it (RFC 2033 §4.2).
    pub(super) fn no_recipients(&self) -> Word {
        if self.config.role == Role::Lmtp { Word::NoRecipientsYet } else { Word::NoRecipients }
    }

    fn say_each(&mut self, reply: &Reply, out: &mut Out<Ask>) {
        (0..self.verdicts()).for_each(|_| reply.write(&mut out.reply));
    }

    /// How many replies a message has.
    fn verdicts(&self) -> usize {
        match (&self.transaction, self.config.role) {
            (Some(transaction), Role::Lmtp) => transaction.recipients.max(1) as usize,
            _ => 1,
        }
    }

    /// The budgets begin anew.
    fn accepted(&mut self) {
        self.idle_commands = 0;
        self.errors = 0;
        self.deferrals = 0;
        if let Some(transaction) = &mut self.transaction {
            transaction.spared = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proto::contract::{Input, Session as _};
    use crate::proto::smtp::Config;

    /// A message for so many recipients by LMTP: what is said when the world answers so, and what becomes of the connection.
    fn said(recipients: usize, answer: Answer) -> (String, Option<Turn>) {
        let mut out = Out::default();
        let config = Config { role: Role::Lmtp, ..Config::default() };
        let mut session = Session::open(Arc::new(config), &mut out);
        let rcpt = b"RCPT TO:<b@c>\r\n".repeat(recipients);
        let wire = [b"LHLO a\r\nMAIL FROM:<>\r\n".as_slice(), &rcpt, b"DATA\r\n.\r\n"].concat();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            rest = &rest[session.step(Input::Bytes(rest), &mut out)..];
            match out.ask.take() {
                Some(Ask::Done { .. }) => out.reply.clear(),
                Some(_) => _ = session.step(Input::Answer(Answer::Yes), &mut out),
                None => {}
            }
        }
        session.step(Input::Answer(answer), &mut out);
        (String::from_utf8_lossy(&out.reply).into_owned(), out.turn)
    }

    #[test]
    fn a068_lmtp_answers_for_each_recipient_in_their_order() {
        let full = || Reply::new(452, (4, 2, 2), "Full");
        let taken = || Reply::new(250, (2, 0, 0), "Ok");
        let (text, turn) = said(3, Answer::Each(vec![taken(), full(), taken()]));
        assert_eq!((text.as_str(), turn), ("250 2.0.0 Ok\r\n452 4.2.2 Full\r\n250 2.0.0 Ok\r\n", None));
        let (text, _) = said(2, Answer::Queued { id: "q".to_owned() });
        assert_eq!(text, "250 2.0.0 Ok: queued as q\r\n".repeat(2));
        let (text, _) = said(3, Answer::No(full()));
        assert_eq!(text, "452 4.2.2 Full\r\n".repeat(3));
    }

    #[test]
    fn answers_for_other_recipients_than_there_are_end_the_conversation() {
        for n in [0, 1, 3] {
            let replies = vec![Reply::new(250, (2, 0, 0), "Ok"); n];
            assert_eq!(said(2, Answer::Each(replies)), (String::new(), Some(Turn::Abort)), "{n}");
        }
    }

    #[test]
    fn the_longest_answers_for_the_most_recipients_fit_what_may_wait_for_a_peer() {
        let most = Role::Lmtp.recipients_max();
        let (text, _) = said(most, Answer::No(Reply::new(550, (5, 999, 999), "x".repeat(5_000))));
        assert_eq!(text.lines().count(), most);
        assert!(text.len() <= crate::limits::OUT_BYTES_MAX, "{} octets", text.len());
    }
}
