//! A sample of the smuggling matrix through the real server: whatever a message holds around its end, it is one message, and the
//! client's next command is the client's. All of it is told to the session alone (`proto/smtp/session/smuggling`).

use crate::house::{House, Talk, fetch};

const ALICE: &str = "alice@ringpost.test";
/// What the content would like to be.
const EVIL: &str =
    "MAIL FROM:<evil@client.test>\r\nRCPT TO:<bob@ringpost.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil";
/// Of six and fewer letters: those that some server took for an end once, and their neighbours.
const KNOWN: &[&str] = &[
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r\n.\r",
    "\r.\r\n",
    "\n.\r",
    "\r\r\n.\r",
    "\r\n\r.\r",
    "\n\n.\n\n",
    "\r\n.\r\r\n",
    "\n\r.\r\n",
    "\r\n\n.\n",
    "\n.\n.\n",
    "\0\n.\r\n",
    "\r\n.\0\r\n",
    "\r\0\n.\r\n",
];

/// All sequences of up to two letters, and the known ones.
fn sequences() -> Vec<String> {
    let letters = ["\r", "\n", ".", "\0"];
    let mut all = vec![String::new()];
    for one in letters {
        all.push(one.to_owned());
        all.extend(letters.iter().map(|two| one.to_owned() + two));
    }
    all.extend(KNOWN.iter().map(|known| (*known).to_owned()));
    all
}

/// A dot before each that begins a line (RFC 5321 §4.5.2).
fn stuffed(content: &str) -> String {
    content.replace("\r\n.", "\r\n..")
}

/// Lone CRs and LFs are line ends.
fn canonical(content: &str) -> String {
    content.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
}

#[test]
fn a001_to_a006_one_message_is_one_message_whatever_it_holds() {
    let house = House::open(&[]);
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("EHLO client.test", "250");
    let mut kept = Vec::new();
    for (n, sequence) in sequences().iter().enumerate() {
        let content = format!("Subject: {n:04}\r\n\r\na{sequence}{EVIL}");
        let verdict = if content.contains('\0') { "550" } else { "250" };
        for chunked in [false, true] {
            talk.ask("MAIL FROM:<client@client.test>", "250");
            talk.ask(&format!("RCPT TO:<{ALICE}>"), "250");
            let wire = if chunked {
                format!("BDAT {} LAST\r\n{content}", content.len())
            } else {
                talk.ask("DATA", "354");
                stuffed(&content) + "\r\n.\r\n"
            };
            // In two, somewhere about the sequence, and the next command behind it.
            let cut = wire.find(EVIL).expect("it is there") - n % (sequence.len() + 2);
            talk.send(&wire.as_bytes()[..cut]);
            talk.send([&wire.as_bytes()[cut..], b"NOOP\r\n"].concat().as_slice());
            let said = talk.reply();
            assert!(said.starts_with(verdict), "{sequence:?}: {said}");
            let said = talk.reply();
            assert_eq!(said, "250 2.0.0 Ok", "{sequence:?}");
            // A dot behind CR CR LF stays stuffed: it may be content that nobody stuffed (A004).
            if verdict == "250" {
                let stays = !chunked && content.contains("\r\r\n.");
                kept.push(if stays { canonical(&stuffed(&content)) } else { canonical(&content) } + "\r\n");
            }
        }
    }
    talk.ask("QUIT", "221");
    assert!(kept.len() > 30);
    assert_eq!(fetch(house.pop3(), "bob@ringpost.test", &house.password("bob@ringpost.test")), [""; 0]);
    let mut mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    for one in &mut mail {
        *one = one.split_off(one.find("Subject: ").expect("a subject"));
    }
    mail.sort_unstable();
    kept.sort_unstable();
    assert_eq!(mail, kept);
}

#[test]
fn a041_a_chunk_that_is_cut_off_under_tls_leaves_nothing() {
    let house = House::open(&[]);
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    assert!(talk.ask("EHLO client.test", "250").contains("CHUNKING"));
    talk.ask("STARTTLS", "220");
    let mut talk = talk.shake_hands(&house);
    talk.ask("EHLO client.test", "250");
    talk.ask("MAIL FROM:<client@client.test>", "250");
    talk.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    talk.ask("BDAT 22\r\nSubject: cut off\r\n\r\nxx", "250");
    talk.send(b"BDAT 1000 LAST\r\nonly half of it");
    talk.stream().shutdown(std::net::Shutdown::Both).expect("connected");
    drop(talk);
    let verdict = crate::house::post(house.smtp(), "", &[ALICE], "Subject: whole\r\n\r\nx");
    assert!(verdict.starts_with("250"), "{verdict}");
    let mail = fetch(house.pop3(), ALICE, &house.password(ALICE));
    assert!(mail.len() == 1 && mail[0].contains("Subject: whole"), "{mail:?}");
}
