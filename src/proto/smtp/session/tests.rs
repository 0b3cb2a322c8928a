//! The order of it all, told.

use super::*;
use crate::proto::contract::Session as _;

fn session() -> (Session, Out<Ask>) {
    let mut out = Out::default();
    let session = Session::open(Arc::new(Config::default()), &mut out);
    out.reply.clear();
    (session, out)
}

/// Sends lines and answers every ask with yes.
fn tell(session: &mut Session, out: &mut Out<Ask>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        bytes = &bytes[session.step(Input::Bytes(bytes), out)..];
        if out.ask.take().is_some() {
            session.step(Input::Answer(Answer::Yes), out);
        }
    }
}

#[test]
fn an_idle_session_is_small_and_may_change_threads() {
    fn may_change_threads<T: Send>() {}
    may_change_threads::<Session>();
    assert!(size_of::<Session>() <= 96, "{} octets", size_of::<Session>());
}

#[test]
fn a059_a060_patience_is_for_silence_and_in_a_message_for_slowness_too() {
    let (mut session, mut out) = session();
    let idle = Duration::from_secs(limits::SMTP_IDLE_S);
    assert_eq!(session.patience(), Patience { idle, rate_min_bytes_s: 0 });
    tell(&mut session, &mut out, b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nDATA\r\n");
    assert_eq!(session.patience(), Patience { idle, rate_min_bytes_s: limits::DATA_RATE_MIN_BYTES_S });
}

#[test]
fn a_peer_that_only_stopped_sending_still_hears_the_verdict() {
    let (mut session, mut out) = session();
    tell(&mut session, &mut out, b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nDATA\r\n");
    session.step(Input::Bytes(b"Hello\r\n.\r\n"), &mut out);
    assert_eq!(out.ask.take(), Some(Ask::Done { octets: 7 }));
    session.step(Input::Eof, &mut out);
    assert_eq!(out.turn, None);
    out.reply.clear();
    session.step(Input::Answer(Answer::Queued { id: "q".to_owned() }), &mut out);
    assert_eq!(out.reply, b"250 2.0.0 Ok: queued as q\r\n");
    assert_eq!(out.turn, Some(Turn::Close));
}

#[test]
fn a_timeout_while_the_world_thinks_is_not_the_peers() {
    let (mut session, mut out) = session();
    tell(&mut session, &mut out, b"EHLO a\r\n");
    session.step(Input::Bytes(b"MAIL FROM:<>\r\n"), &mut out);
    out.reply.clear();
    session.step(Input::Timeout, &mut out);
    assert!(out.turn.is_none() && out.reply.is_empty());
}

#[test]
fn an_answer_to_no_question_or_that_does_not_fit_ends_the_conversation() {
    let (mut session, mut out) = self::session();
    session.step(Input::Answer(Answer::Yes), &mut out);
    assert_eq!(out.turn, Some(Turn::Abort));
    let (mut session, mut out) = self::session();
    tell(&mut session, &mut out, b"EHLO a\r\n");
    session.step(Input::Bytes(b"MAIL FROM:<>\r\n"), &mut out);
    session.step(Input::Answer(Answer::Queued { id: String::new() }), &mut out);
    assert_eq!(out.turn, Some(Turn::Abort));
}

#[test]
fn refusals_for_now_have_an_end_too_and_an_accepted_message_begins_anew() {
    let (mut session, mut out) = session();
    let later = || Answer::No(Reply::new(450, (4, 7, 1), "Greylisted"));
    tell(&mut session, &mut out, b"EHLO a\r\nMAIL FROM:<>\r\n");
    let refused = |session: &mut Session, times: u32| {
        let mut out = Out::default();
        for _ in 0..times {
            session.step(Input::Bytes(b"RCPT TO:<b@c>\r\n"), &mut out);
            assert!(matches!(out.ask.take(), Some(Ask::Rcpt { .. })));
            session.step(Input::Answer(later()), &mut out);
        }
        out
    };
    assert_eq!(refused(&mut session, limits::SMTP_DEFERRALS_MAX).turn, None);
    tell(&mut session, &mut out, b"RCPT TO:<b@c>\r\nDATA\r\n");
    session.step(Input::Bytes(b"Hello\r\n.\r\n"), &mut out);
    out.ask = None;
    session.step(Input::Answer(Answer::Queued { id: "q".to_owned() }), &mut out);
    tell(&mut session, &mut out, b"MAIL FROM:<>\r\n");
    assert_eq!(refused(&mut session, limits::SMTP_DEFERRALS_MAX).turn, None);
    let out = refused(&mut session, 1);
    assert!(out.reply.starts_with(b"421 4.7.0 ") && out.turn == Some(Turn::Close));
}

/// What is said to so many RCPTs, the world's answers being these, over and over.
fn recipients(session: &mut Session, answers: &[Answer]) -> Out<Ask> {
    let mut out = Out::default();
    for answer in answers {
        session.step(Input::Bytes(b"RCPT TO:<b@c>\r\n"), &mut out);
        assert!(out.turn.is_some() || matches!(out.ask.take(), Some(Ask::Rcpt { .. })));
        if out.turn.is_none() {
            session.step(Input::Answer(answer.clone()), &mut out);
        }
    }
    out
}

/// The message comes and is accepted.
fn brings(session: &mut Session) -> String {
    let mut out = Out::default();
    tell(session, &mut out, b"DATA\r\n");
    session.step(Input::Bytes(b"Hello\r\n.\r\n"), &mut out);
    assert_eq!(out.ask.take(), Some(Ask::Done { octets: 7 }));
    out.reply.clear();
    session.step(Input::Answer(Answer::Queued { id: "q".to_owned() }), &mut out);
    String::from_utf8(out.reply).unwrap()
}

#[test]
fn whoever_is_refused_for_now_does_not_take_the_message_from_those_who_are_accepted() {
    let later = |code, detail| Answer::No(Reply::new(code, detail, "Later"));
    let (yes, full) = (Answer::Yes, later(452, (4, 2, 2)));
    let repeat = |answer: &Answer, times: usize| vec![answer.clone(); times];
    for answers in [
        // A login that may have a hundred recipients a message, and pipelines four hundred.
        [repeat(&yes, 100), repeat(&later(452, (4, 5, 3)), 300)].concat(),
        // A fifth of a thousand is over quota, and by chance the first of them.
        [repeat(&full, 201), repeat(&yes, 799)].concat(),
        // A volume has failed.
        [repeat(&yes, 1), repeat(&later(451, (4, 3, 0)), 500)].concat(),
    ] {
        let (mut session, mut out) = session();
        for _ in 0..2 {
            tell(&mut session, &mut out, b"EHLO a\r\nMAIL FROM:<>\r\n");
            assert_eq!(recipients(&mut session, &answers).turn, None);
            assert_eq!(brings(&mut session), "250 2.0.0 Ok: queued as q\r\n");
        }
    }
}

#[test]
fn recipients_refused_for_now_are_bounded_with_one_accepted_and_count_when_the_message_came_to_nothing() {
    let full = Answer::No(Reply::new(452, (4, 2, 2), "Full"));
    let most = limits::RECIPIENTS_OVERSHOOT_MAX;
    let begun = || {
        let (mut session, mut out) = session();
        tell(&mut session, &mut out, b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@c>\r\n");
        session
    };
    let mut session = begun();
    assert_eq!(recipients(&mut session, &vec![full.clone(); most]).turn, None);
    let out = recipients(&mut session, std::slice::from_ref(&full));
    assert!(out.reply.starts_with(b"421 4.7.0 ") && out.turn == Some(Turn::Close));

    let mut session = begun();
    assert_eq!(recipients(&mut session, &vec![full.clone(); most]).turn, None);
    let mut out = Out::default();
    tell(&mut session, &mut out, b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@c>\r\n");
    assert!(out.turn.is_none() && out.reply.ends_with(b"250 2.1.5 Ok\r\n"), "{}", out.reply.escape_ascii());
    let out = recipients(&mut session, &[full]);
    assert!(out.reply.starts_with(b"421 4.7.0 ") && out.turn == Some(Turn::Close), "the budget was spent before");
}
