use proptest::prelude::*;

use super::*;

fn shape(message: &str) -> Vec<String> {
    let bytes = message.replace('\n', "\r\n").into_bytes();
    let s = scan(&bytes);
    s.parts
        .iter()
        .map(|p| {
            let body = &bytes[p.body_at as usize..p.end as usize];
            let body = String::from_utf8_lossy(body).replace("\r\n", "|");
            let media = String::from_utf8_lossy(&p.content.media).into_owned();
            match p.kind {
                Kind::Leaf => format!("{media} {} {body}", p.lines),
                kind => format!("{kind:?} {}", p.lines),
            }
        })
        .collect()
}

#[test]
fn a_plain_message_is_one_part() {
    assert_eq!(shape("Subject: x\n\none\ntwo\n"), ["text 2 one|two|"]);
    assert_eq!(shape(""), ["text 0 "]);
    assert_eq!(shape("no header at all"), ["text 0 no header at all"]);
    assert_eq!(shape("A: b\nno field\nC: d\n"), ["text 2 no field|C: d|"]);
}

#[test]
fn parts_lie_between_boundaries_without_the_last_line_end() {
    let m = "Content-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n\none\n--b\nContent-Type: image/png\n\n\
             two\nthree\n\n--b--\nepilogue\n";
    assert_eq!(shape(m), ["Multipart 12", "text 0 one", "image 2 two|three|"]);
}

#[test]
fn a_message_within_has_a_child_with_an_envelope() {
    let m = "Content-Type: message/rfc822\n\nSubject: in\n\nbody\n";
    assert_eq!(shape(m), ["Message 3", "text 1 body|"]);
    let s = scan(m.replace('\n', "\r\n").as_bytes());
    assert_eq!(s.parts[1].envelope.as_ref().unwrap().subject.as_deref(), Some(&b"in"[..]));
}

#[test]
fn a_digest_holds_messages_unless_told_otherwise() {
    let m = "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\n\nx\n--b\nContent-Type: text/x\n\ny\n--b--\n";
    assert_eq!(shape(m), ["Multipart 10", "Message 2", "text 0 x", "text 0 y"]);
}

#[test]
fn a151_one_boundary_may_begin_another() {
    let m = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n\
             --bb\n\nin\n--bb--\n--b\n\nout\n--b--\n";
    assert_eq!(shape(m), ["Multipart 11", "Multipart 3", "text 0 in", "text 0 out"]);
}

#[test]
fn a151_the_same_boundary_twice_is_heard_by_the_inner() {
    let m = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n\
             --b\n\nin\n--b--\n--b\n\nout\n--b--\n";
    assert_eq!(shape(m), ["Multipart 11", "Multipart 3", "text 0 in", "text 0 out"]);
}

#[test]
fn a115_malformed_boundaries_make_plain_text() {
    for boundary in ["", "\"\"", &"b".repeat(BOUNDARY_BYTES_MAX + 1)] {
        let m = format!("Content-Type: multipart/mixed; boundary={boundary}\n\n--\nx\n----\n");
        assert_eq!(shape(&m), ["text 3 --|x|----|"], "{boundary:?}");
    }
    assert_eq!(shape("Content-Type: multipart/mixed; boundary=b\n\nno such line\n"), ["Multipart 1"]);
}

#[test]
fn a_boundary_in_a_header_ends_the_part() {
    let m = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n--b\n\nx\n--b--\n";
    assert_eq!(shape(m), ["Multipart 6", "Message 0", "text 0 ", "text 0 x"]);
}

#[test]
fn a150_depth_ends_in_opaque_octets() {
    let nested = "Content-Type: message/rfc822\n\n".repeat(10_000);
    let s = scan(nested.replace('\n', "\r\n").as_bytes());
    assert_eq!(s.parts.len(), DEPTH_MAX + 1);
    assert!(s.parts[DEPTH_MAX].content.is("application", "octet-stream"));
    let mut nested = String::new();
    for i in 0..10_000 {
        nested += &format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n");
    }
    assert_eq!(scan(nested.replace('\n', "\r\n").as_bytes()).parts.len(), DEPTH_MAX + 1);
}

#[test]
fn a152_the_last_part_there_may_be_is_a_message() {
    let mut m = String::from("Content-Type: multipart/mixed; boundary=b\n\n");
    for _ in 0..PARTS_MAX + 10 {
        m += "--b\nContent-Type: message/rfc822\n\nSubject: x\n\ny\n";
    }
    assert_eq!(scan(m.replace('\n', "\r\n").as_bytes()).parts.len(), PARTS_MAX);
}

#[test]
fn a151_work_is_linear_on_hostile_boundaries() {
    let mut opened = String::new();
    for i in 0..DEPTH_MAX - 1 {
        let b = format!("{}{i:03}", "x".repeat(60));
        opened += &format!("Content-Type: multipart/mixed; boundary={b}\r\n\r\n--{b}\r\n");
    }
    opened += "\r\n";
    let families: [&str; 5] = ["--\r\n", "\n--", "-", "\r\n-\r\n", &format!("--{}\r\n", "x".repeat(60))];
    for family in families {
        let mut message = opened.clone().into_bytes();
        while message.len() < 1 << 20 {
            message.extend_from_slice(family.as_bytes());
        }
        let mut scan = Scan::new();
        for block in message.chunks(4_096) {
            scan.feed(block);
        }
        assert!(scan.looked_at <= message.len() as u64, "{family:?}");
        assert_eq!(scan.finish().octets, message.len() as u64);
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("Content-Type: multipart/mixed; boundary=b\r\n".to_owned()),
        Just("Content-Type: multipart/digest; boundary=\"b--\"\r\n".to_owned()),
        Just("Content-Type: message/rfc822\r\n".to_owned()),
        Just("--b\r\n".to_owned()),
        Just("--b--\r\n".to_owned()),
        Just("--b-- \t\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("-".to_owned()),
        Just("\r".to_owned()),
        Just("text\r\n".to_owned()),
        Just("Subject: s\r\n folded\r\n".to_owned()),
        "[ -~]{0,12}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|p| p.concat().into_bytes())
}

proptest! {
    #[test]
    fn cut_anywhere_gives_the_same_structure(message in hostile(), cuts in prop::collection::vec(1_usize..20, 1..60)) {
        let whole = scan(&message);
        let mut scan = Scan::new();
        let mut rest = &message[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            scan.feed(now);
            rest = later;
        }
        prop_assert_eq!(scan.finish(), whole);
    }

    #[test]
    fn any_octets_give_a_sane_structure(message in prop_oneof![hostile(), prop::collection::vec(any::<u8>(), 0..400)]) {
        let s = scan(&message);
        prop_assert_eq!(s.octets, message.len() as u64);
        for (i, p) in s.parts.iter().enumerate() {
            prop_assert!(p.header_at <= p.body_at && p.body_at <= p.end && p.end as usize <= message.len());
            prop_assert_eq!(p.parent == NO_PARENT, i == 0);
            if i > 0 {
                let parent = &s.parts[p.parent as usize];
                prop_assert!((p.parent as usize) < i && parent.kind != Kind::Leaf);
                prop_assert!(parent.body_at <= p.header_at && p.end <= parent.end);
            }
            let newlines = memchr::memchr_iter(b'\n', &message[p.body_at as usize..p.end as usize]).count();
            prop_assert_eq!(p.lines as usize, newlines);
        }
    }
}
