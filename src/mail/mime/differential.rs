//! Our reading of well-formed letters against mail-parser's: two programs, one meaning.

use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;
use crate::mail::words::decode_words;

/// A part as text: a leaf, or a multipart of others. `number` keeps boundaries apart.
fn part(depth: u32) -> BoxedStrategy<String> {
    let leaf = (
        prop::sample::select(vec![
            "text/plain",
            "text/html; charset=utf-8",
            "image/png; name=\"a b.png\"",
            "application/x-y",
        ]),
        prop::sample::select(vec!["", "Content-Disposition: attachment; filename=f\r\n", "Content-ID: <a@b>\r\n"]),
        "([ -~]{0,20}\r\n){0,4}[ -,.-~]{0,10}",
    )
        .prop_map(|(media, more, body)| format!("Content-Type: {media}\r\n{more}\r\n{body}"));
    if depth == 0 {
        return leaf.boxed();
    }
    let multi = (prop::collection::vec(part(depth - 1), 1..4), any::<u64>(), "[ -,.-~]{0,10}").prop_map(
        |(parts, number, preamble)| {
            let boundary = format!("b{number:x}");
            let mut text = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n{preamble}\r\n");
            for p in parts {
                text += &format!("--{boundary}\r\n{p}\r\n");
            }
            text + &format!("--{boundary}--\r\n")
        },
    );
    prop_oneof![leaf, multi].boxed()
}

fn ours(message: &[u8]) -> Vec<String> {
    let parts = scan(message).parts;
    let show = |p: &Part| {
        let body = &message[p.body_at as usize..p.end as usize];
        let media = String::from_utf8_lossy(&p.content.media).into_owned();
        let subtype = String::from_utf8_lossy(&p.content.subtype).into_owned();
        let id = p.content.id.as_deref().map(|i| String::from_utf8_lossy(i).into_owned());
        format!("{media}/{subtype} {id:?} {:?}", String::from_utf8_lossy(body))
    };
    parts.iter().filter(|p| p.kind == Kind::Leaf).map(show).collect()
}

fn theirs(message: &Message<'_>) -> Vec<String> {
    let raw = message.raw_message();
    message
        .parts
        .iter()
        .filter(|p| !matches!(p.body, PartType::Multipart(_)))
        .map(|p| {
            let body = String::from_utf8_lossy(&raw[p.offset_body as usize..p.offset_end as usize]);
            let ct = p.content_type().expect("every part has one");
            let id = p.content_id().map(|id| format!("<{id}>"));
            format!("{}/{} {id:?} {body:?}", ct.ctype(), ct.subtype().unwrap_or_default())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn well_formed_letters_have_the_same_leaves(body in part(3)) {
        let message = format!("From: a@b\r\n{body}").into_bytes();
        let parsed = MessageParser::new().parse(&message).expect("a message");
        prop_assert_eq!(ours(&message), theirs(&parsed));
    }

    #[test]
    fn well_formed_envelopes_say_the_same(name in "[A-Za-z]{1,8}( [A-Za-z]{1,8})?", local in "[a-z]{1,6}(\\.[a-z]{1,6})?", subject in "\\PC{1,30}", many in 1_usize..5) {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &subject);
        let list = vec![format!("\"{name}\" <{local}@x.test>"); many].join(",\r\n ");
        let message = format!("From: {name} <{local}@y.test>\r\nTo: {list}\r\nSubject: =?utf-8?b?{encoded}?=\r\n\r\nx");
        let parsed = MessageParser::new().parse(message.as_bytes()).expect("a message");
        let scanned = scan(message.as_bytes());
        let envelope = scanned.parts[0].envelope.as_ref().expect("the message has one");
        let their_to: Vec<(Option<String>, Option<String>)> = parsed.to().expect("To").iter()
            .map(|a| (a.name().map(str::to_owned), a.address().map(str::to_owned))).collect();
        let text = |o: &Option<Vec<u8>>| o.as_ref().map(|v| String::from_utf8_lossy(v).into_owned());
        let our_to: Vec<_> = envelope.to.iter().map(|a| {
            (text(&a.name), Some(format!("{}@{}", text(&a.mailbox).unwrap_or_default(), text(&a.host).unwrap_or_default())))
        }).collect();
        prop_assert_eq!(our_to, their_to);
        let ours = decode_words(envelope.subject.as_deref().unwrap_or_default());
        prop_assert_eq!(ours.trim(), parsed.subject().unwrap_or_default().trim());
    }
}
