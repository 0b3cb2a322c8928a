//! The door of IMAP, from the client's side: two shards, real sessions, the real volume, a simulated world.

use std::time::Duration;

use ringpost::admin::{NewAccount, Request, Secret};
use ringpost::limits;
use ringpost::mailbox::slices::SLICE_WORK;
use ringpost::observe::{self, Peak};
use ringpost::shard;
use ringpost::shard::sim::World;

use crate::lines::Lines;
use crate::node;

/// A client that says a command and hears its answer.
pub struct Client {
    pub lines: Lines,
}

impl Client {
    pub async fn login(name: &str) -> Client {
        let mut client = Client::greeted().await;
        let said = client.say(&format!("LOGIN {name}@{} secret-of-{name}", node::DOMAIN)).await;
        assert!(said.ends_with("OK"), "{said}");
        client
    }

    pub async fn in_inbox(name: &str) -> Client {
        let mut client = Client::login(name).await;
        client.say("SELECT INBOX").await;
        client
    }

    async fn greeted() -> Client {
        // The node may not be open yet.
        for _ in 0..1_000 {
            if let Ok(mut lines) = Lines::connect(node::doors().imap).await
                && lines.line().await.is_ok_and(|l| l.starts_with("* OK"))
            {
                return Client { lines };
            }
            shard::sleep(Duration::from_millis(10)).await;
        }
        panic!("no greeting");
    }

    /// Says a command; returns its untagged lines and the verdict with its code, joined by ` ~ `. Literals stand in
    /// their lines, line ends in them as `|`.
    pub async fn say(&mut self, command: &str) -> String {
        self.lines.say(format!("x {command}\r\n")).await.expect("connected");
        self.hear().await
    }

    /// Says a command and returns the one literal of its answer.
    pub async fn literal(&mut self, command: &str) -> Vec<u8> {
        self.lines.say(format!("x {command}\r\n")).await.expect("connected");
        let line = self.lines.line().await.expect("connected");
        let len = line.strip_suffix('}').and_then(|l| l.rsplit_once('{')).expect("a literal").1;
        let octets = self.lines.exact(len.parse().expect("a length")).await.expect("connected");
        assert_eq!(self.hear().await, ") ~ OK");
        octets
    }

    pub async fn hear(&mut self) -> String {
        let mut all = Vec::new();
        loop {
            let mut line = self.lines.line().await.expect("connected");
            while let Some((before, len)) = line.strip_suffix('}').and_then(|l| l.rsplit_once('{')) {
                let octets = self.lines.exact(len.parse().expect("a length")).await.expect("connected");
                let text = String::from_utf8_lossy(&octets).replace("\r\n", "|");
                line = format!("{before}<{text}>{}", self.lines.line().await.expect("connected"));
            }
            match line.strip_prefix("x ") {
                Some(verdict) => {
                    let code = verdict.split_once('[').and_then(|(_, r)| r.split_once(']')).map(|(c, _)| c);
                    let word = verdict.split(' ').next().unwrap_or_default();
                    let shown = code.filter(|c| !c.starts_with("CAPABILITY") && !c.starts_with("APPENDUID"));
                    all.push(shown.map_or(word.to_owned(), |c| format!("{word} {c}")));
                    return all.join(" ~ ");
                }
                None => all.push(line.trim_start_matches("* ").to_owned()),
            }
        }
    }

    pub async fn append(&mut self, message: &str) {
        let said = self.say(&format!("APPEND INBOX {{{}+}}\r\n{message}", message.len())).await;
        assert!(said.ends_with("OK"), "{said}");
    }
}

/// The queue at its bound and one step's words. A114 allows twice as much.
const OUT_BUFFER_BYTES_MAX: u64 = 2 * limits::OUT_BYTES_MAX as u64;
const _: () = assert!(OUT_BUFFER_BYTES_MAX <= 256 << 10);

/// A node with alice and bob, each on a shard of their own, and what is to happen.
pub fn with_node(story: impl AsyncFnOnce()) {
    let world = World::new(7);
    node::carry_out(&world, true, Request::DomainAdd { domain: node::DOMAIN.to_owned() });
    let people = node::accounts();
    let new = people.iter().map(|a| NewAccount::with(a.name.clone(), Some(Secret::from(&*a.password))));
    node::carry_out(&world, false, Request::AccountAdd { accounts: new.collect() });
    node::start(&world, false, None);
    world.run_until(story());
}

#[test]
fn expunge_is_told_only_where_nobody_counts() {
    with_node(async || {
        let (mut a, mut b) = (Client::in_inbox("alice").await, Client::in_inbox("alice").await);
        for n in 1..=3 {
            a.append(&format!("Subject: {n}\r\n\r\nx")).await;
        }
        assert_eq!(b.say("NOOP").await, "3 EXISTS ~ OK");
        assert_eq!(a.say("STORE 1 +FLAGS.SILENT (\\Deleted)").await, "OK");
        assert_eq!(a.say("EXPUNGE").await, "1 EXPUNGE ~ OK");
        // B counts three still: what it asks by number is answered by its own numbers, what is gone with NO.
        assert_eq!(b.say("FETCH 3 (UID)").await, "3 FETCH (UID 3) ~ OK");
        assert_eq!(b.say("FETCH 1:2 (UID)").await, "2 FETCH (UID 2) ~ NO EXPUNGEISSUED");
        assert_eq!(b.say("STORE 2 +FLAGS (\\Flagged)").await, "2 FETCH (FLAGS (\\Flagged)) ~ OK");
        assert_eq!(b.say("SEARCH ALL").await, "SEARCH 2 3 ~ OK");
        assert_eq!(b.say("UID FETCH 1:* (FLAGS)").await.split(" ~ ").last(), Some("OK"));
        assert_eq!(b.say("NOOP").await, "OK", "the UID FETCH has told the EXPUNGE");
        assert_eq!(b.say("FETCH 1:* (UID)").await, "1 FETCH (UID 2) ~ 2 FETCH (UID 3) ~ OK");
        // And A hears of the flag that B set.
        assert_eq!(a.say("NOOP").await, "1 FETCH (UID 2 FLAGS (\\Flagged)) ~ OK");
    });
}

#[test]
fn seen_is_set_by_reading_and_not_by_peeking() {
    with_node(async || {
        for name in ["alice", "bob"] {
            let mut c = Client::in_inbox(name).await;
            c.append("Subject: s\r\n\r\nbody\r\n").await;
            assert_eq!(c.say("FETCH 1 (BODY.PEEK[TEXT])").await, "1 FETCH (BODY[TEXT] <body|>) ~ OK");
            assert_eq!(c.say("FETCH 1 (BODY[TEXT])").await, "1 FETCH (BODY[TEXT] <body|> FLAGS (\\Seen)) ~ OK");
            assert_eq!(c.say("FETCH 1 (BODY[TEXT] FLAGS)").await, "1 FETCH (BODY[TEXT] <body|> FLAGS (\\Seen)) ~ OK");
            assert_eq!(c.say("NOOP").await, "OK", "own changes are not told again");
        }
    });
}

#[test]
fn a111_a_wrong_password_and_a_wrong_name_get_one_answer() {
    with_node(async || {
        let mut c = Client::greeted().await;
        let wrong = c.say(&format!("LOGIN alice@{} wrong", node::DOMAIN)).await;
        assert_eq!(wrong, "NO AUTHENTICATIONFAILED");
        assert_eq!(c.say(&format!("LOGIN nobody@{} wrong", node::DOMAIN)).await, wrong);
        assert_eq!(c.say("LOGIN alice@elsewhere.test wrong").await, wrong);
    });
}

#[test]
fn a113_absurd_sets_mean_what_exists() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        assert_eq!(c.say("FETCH 1:4294967295 (UID)").await, "OK");
        c.append("a: b\r\n\r\n").await;
        c.append("a: b\r\n\r\n").await;
        let both = "1 FETCH (UID 1) ~ 2 FETCH (UID 2) ~ OK";
        assert_eq!(c.say("FETCH 1:4294967295 (UID)").await, both);
        assert_eq!(c.say("UID FETCH 1:4294967295 (UID)").await, both);
        for set in ["*:*", "4294967295:*", "4294967295:4294967294,*"] {
            assert_eq!(c.say(&format!("FETCH {set} (UID)")).await, "2 FETCH (UID 2) ~ OK", "{set}");
        }
        let many = "1,".repeat(20_000) + "1";
        assert_eq!(c.say(&format!("FETCH {many} (UID)")).await, "1 FETCH (UID 1) ~ OK");
        assert_eq!(c.say("UID FETCH 7:9 (UID)").await, "OK");
    });
}

#[test]
fn a114_who_reads_nothing_holds_up_nobody_and_loses_nothing() {
    with_node(async || {
        let mut deaf = Client::in_inbox("alice").await;
        let message = format!("Subject: x\r\n\r\n{}", "0123456789abcde\r\n".repeat(2_000));
        for _ in 0..20 {
            deaf.append(&message).await;
        }
        deaf.lines.say("x FETCH 1:* (BODY.PEEK[])\r\n".repeat(20)).await.expect("connected");
        shard::sleep(Duration::from_secs(limits::WRITE_STALL_S / 2)).await;
        let mut other = Client::in_inbox("alice").await;
        assert_eq!(other.say("FETCH 20 (RFC822.SIZE)").await, format!("20 FETCH (RFC822.SIZE {}) ~ OK", message.len()));
        for _ in 0..20 {
            let said = deaf.hear().await;
            assert_eq!(said.matches("FETCH (BODY[] <Subject: x||0123456789abcde|").count(), 20);
            assert!(said.ends_with(" ~ OK"));
        }
        assert!(observe::highest_here(Peak::OutBufferBytes) <= OUT_BUFFER_BYTES_MAX);
    });
}

#[test]
fn a114_many_sections_of_a_great_header_are_told_one_by_one() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        let header = format!("Subject: {}\r\n", "s".repeat(90 << 10)).repeat(2);
        c.append(&format!("{header}\r\nbody\r\n")).await;
        let sections: Vec<String> = (0..40).map(|n| format!("BODY.PEEK[HEADER.FIELDS.NOT (X-{n})]")).collect();
        let told = c.say(&format!("FETCH 1 ({})", sections.join(" "))).await;
        assert_eq!(told.matches("<Subject: ssss").count(), 40);
        assert!(told.len() > 40 * header.len() && told.ends_with(" ~ OK"));
        let most = observe::highest_here(Peak::OutBufferBytes);
        assert!(most <= OUT_BUFFER_BYTES_MAX, "{most} octets of replies were buffered");
    });
}

#[test]
fn a061_who_reads_slowly_but_steadily_gets_all_of_it() {
    with_node(async || {
        let mut slow = Client::in_inbox("alice").await;
        let text = "0123456789abcde\r\n".repeat(10_000);
        slow.append(&format!("Subject: x\r\n\r\n{text}")).await;
        slow.lines.say("x FETCH 1 (BODY.PEEK[TEXT])\r\n".repeat(4)).await.expect("connected");
        let one = format!("* 1 FETCH (BODY[TEXT] {{{}}}\r\n{text})\r\n", text.len());
        let mut told = Vec::new();
        // About 1.5 KiB/s: the whole takes minutes.
        while 4 * one.len() - told.len() > 32 << 10 {
            told.extend(slow.lines.exact(32 << 10).await.expect("not cut"));
            shard::sleep(Duration::from_secs(20)).await;
        }
        assert!(told.starts_with(one.as_bytes()));
    });
}

#[test]
fn a114_who_never_reads_is_reset() {
    with_node(async || {
        let mut deaf = Client::in_inbox("alice").await;
        for _ in 0..10 {
            deaf.append(&format!("Subject: x\r\n\r\n{}", "0123456789abcde\r\n".repeat(5_000))).await;
        }
        deaf.lines.say("x FETCH 1:* (BODY.PEEK[])\r\n".repeat(20)).await.expect("connected");
        shard::sleep(Duration::from_secs(limits::WRITE_STALL_S + 5)).await;
        let mut octets = 0;
        while deaf.lines.exact(1_000).await.is_ok() {
            octets += 1_000;
        }
        assert!(octets < 20 * 10 * 85_000, "{octets} came: it was not cut");
        assert!(observe::highest_here(Peak::OutBufferBytes) <= OUT_BUFFER_BYTES_MAX);
    });
}

#[test]
fn a115_sections_that_do_not_exist_are_nil_or_empty() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        c.append("Subject: s\r\nContent-Type: multipart/mixed; boundary=\"b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n").await;
        c.append("Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n").await;
        let deep = "1.".repeat(900) + "1";
        let said = c.say(&format!("FETCH 2 (BODY.PEEK[{deep}])")).await;
        assert!(said.ends_with(" NIL) ~ OK") || said.ends_with("BAD"), "{said}");
        let said = c.say("FETCH 1:2 (BODY.PEEK[]<4294967295.4294967295>)").await;
        assert_eq!(said, "1 FETCH (BODY[]<4294967295> <>) ~ 2 FETCH (BODY[]<4294967295> <>) ~ OK");
        assert_eq!(c.say("FETCH 2 (BODY.PEEK[1])").await, "2 FETCH (BODY[1] <one>) ~ OK");
        assert_eq!(c.say("FETCH 2 (BODY.PEEK[2])").await, "2 FETCH (BODY[2] NIL) ~ OK");
        let names: Vec<String> = (0..5_000).map(|n| format!("X-{n}")).collect();
        let said = c.say(&format!("FETCH 2 (BODY.PEEK[HEADER.FIELDS ({} Subject)])", names.join(" "))).await;
        assert!(said.ends_with("<Subject: s||>) ~ OK") || said.ends_with("BAD"), "{}", &said[said.len() - 60..]);
        assert!(c.say("FETCH 1:2 (BODYSTRUCTURE)").await.ends_with(" ~ OK"));
    });
}

#[test]
fn a116_a_search_knows_its_charsets_and_decodes() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        let text = "Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\nContent-Type: text/plain; charset=koi8-r\r\n\
                    Content-Transfer-Encoding: base64\r\n\r\n8NLJ18XU\r\n";
        c.append(text).await;
        c.append("Subject: other\r\n\r\nother\r\n").await;
        assert_eq!(c.say("SEARCH CHARSET BOGUS TEXT x").await, "NO BADCHARSET (UTF-8)");
        assert_eq!(c.say("SEARCH CHARSET UTF-8 SUBJECT {8+}\r\ngr\u{fc}\u{df}e ").await, "SEARCH ~ OK");
        assert_eq!(c.say("SEARCH CHARSET UTF-8 SUBJECT {7+}\r\ngR\u{dc}\u{df}E").await, "SEARCH 1 ~ OK");
        assert_eq!(
            c.say("SEARCH CHARSET UTF-8 BODY {12+}\r\n\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}").await,
            "SEARCH 1 ~ OK"
        );
        assert_eq!(c.say("UID SEARCH NOT BODY \"other\"").await, "SEARCH 1 ~ OK");
    });
}

#[test]
fn a116_a_search_for_a_thousand_texts_lets_others_have_their_turn() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        let header = format!("Subject: {}\r\n", "s".repeat(30 << 10)).repeat(2);
        c.append(&format!("{header}\r\n{}", "0123456789abcde\r\n".repeat(4_000))).await;
        let texts: String = (0..400).map(|n| format!(" NOT BODY absent-{n} NOT SUBJECT absent-{n}")).collect();
        assert_eq!(c.say(&format!("SEARCH{texts}")).await, "NO LIMIT", "a thousand keys are the most");
        let texts: String = (0..120).map(|n| format!(" NOT BODY absent-{n} NOT SUBJECT absent-{n}")).collect();
        assert_eq!(c.say(&format!("SEARCH{texts}")).await, "SEARCH 1 ~ OK");
        let most = observe::highest_here(Peak::SliceWork);
        assert!((SLICE_WORK / 2..=SLICE_WORK).contains(&most), "a slice of {most}");
    });
}

#[test]
fn a118_hostile_names_cannot_be() {
    with_node(async || {
        let mut c = Client::login("alice").await;
        for name in
            ["\"../../etc\"", "\"/\"", "\"a//b\"", "\"&AOQ\"", "\"&AEE-\"", &"x/".repeat(1_000), &"x".repeat(10_000)]
        {
            let said = c.say(&format!("SELECT {name}")).await;
            assert!(said.ends_with("NO CANNOT"), "{name}: {said}");
        }
        // A Cyrillic look-alike of INBOX is another name.
        assert_eq!(c.say("SELECT \"INB&BB4-X\"").await, "NO NONEXISTENT");
        assert!(c.say("SELECT iNbOx").await.ends_with("OK READ-WRITE"));
        assert!(c.say("STATUS nosuch (MESSAGES)").await.ends_with("NO NONEXISTENT"));
    });
}

#[test]
fn a121_odd_appends_are_normalised_or_refused() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        assert!(c.say("APPEND INBOX \"99-Foo-2026 00:00:00 +0000\" {3+}\r\na:b").await.starts_with("BAD"));
        assert_eq!(c.say("APPEND nosuch {4+}\r\na: b").await, "NO TRYCREATE");
        c.append("Subject: lf\n\nline\n").await;
        assert_eq!(c.say("FETCH 1 (BODY.PEEK[])").await, "1 FETCH (BODY[] <Subject: lf||line|>) ~ OK");
        let nul = c.say("APPEND INBOX {9+}\r\na: b\r\n\r\n\0").await;
        assert!(nul.starts_with("NO") || nul.starts_with("BAD"), "{nul}");
        let too_big = limits::MESSAGE_BYTES_MAX + 1;
        let said = c.say(&format!("APPEND INBOX {{{too_big}}}")).await;
        assert_eq!(said, "NO TOOBIG");
        assert_eq!(c.say("STATUS INBOX (MESSAGES)").await, "STATUS INBOX (MESSAGES 1) ~ OK");
        let said = c.say("APPEND INBOX (\\Flagged Foo) \"22-Nov-2026 09:00:00 +0100\" {8+}\r\na: b\r\n\r\n").await;
        assert_eq!(said, "2 EXISTS ~ OK");
        let facts = "2 FETCH (FLAGS (\\Flagged Foo) INTERNALDATE \"22-Nov-2026 08:00:00 +0000\") ~ OK";
        assert_eq!(c.say("FETCH 2 (FLAGS INTERNALDATE)").await, facts);
    });
}

#[test]
fn a122_a_broken_append_leaves_nothing() {
    with_node(async || {
        let mut c = Client::in_inbox("alice").await;
        c.lines.say("x APPEND INBOX {100000+}\r\nSubject: half\r\n\r\nhalf").await.expect("connected");
        shard::sleep(Duration::from_millis(100)).await;
        drop(c);
        shard::sleep(Duration::from_secs(1)).await;
        let mut c = Client::login("alice").await;
        assert_eq!(c.say("STATUS INBOX (MESSAGES UIDNEXT)").await, "STATUS INBOX (MESSAGES 0 UIDNEXT 1) ~ OK");
    });
}
