//! Mailboxes and their names, from the client's side: made, renamed, removed, subscribed and listed, by one session and
//! seen by another.

use crate::imap_door::{Client, with_node};

/// Says each command and compares what is heard.
async fn told(client: &mut Client, dialogue: &[(&str, &str)]) {
    for (command, heard) in dialogue {
        assert_eq!(client.say(command).await, *heard, "{command}");
    }
}

#[test]
fn a_mailbox_is_made_listed_and_removed() {
    with_node(async || {
        let (mut a, mut b) = (Client::login("alice").await, Client::login("alice").await);
        told(
            &mut a,
            &[
                ("CREATE work/", "OK"),
                ("CREATE work", "NO ALREADYEXISTS"),
                ("CREATE inbox", "NO ALREADYEXISTS"),
                ("CREATE work/2026/may", "OK"),
                ("CREATE \"Gr\u{fc}\u{df}e\" (USE (\\Flagged))", "NO USEATTR"),
                ("CREATE \"Gr\u{fc}\u{df}e\" (USE (\\Archive))", "OK"),
                ("CREATE Gr&APwA3w-e", "NO ALREADYEXISTS"),
            ],
        )
        .await;
        let all = "LIST (\\HasChildren) \"/\" work ~ LIST (\\Noselect \\HasChildren) \"/\" work/2026 ~ \
                   LIST (\\HasNoChildren) \"/\" work/2026/may ~ OK";
        told(
            &mut b,
            &[
                ("LIST \"\" work*", all),
                ("LIST work/ %", "LIST (\\Noselect \\HasChildren) \"/\" work/2026 ~ OK"),
                ("LIST (SPECIAL-USE) \"\" Gr*", "LIST (\\HasNoChildren \\Archive) \"/\" Gr&APwA3w-e ~ OK"),
                ("SELECT work/2026", "NO NONEXISTENT"),
                ("DELETE work", "OK"),
                ("DELETE work", "NO NONEXISTENT"),
                ("DELETE work/2026", "NO NONEXISTENT"),
                ("DELETE inbox", "NO CANNOT"),
            ],
        )
        .await;
        // The children stay (RFC 9051 §6.3.5).
        let left = "LIST (\\Noselect \\HasChildren) \"/\" work ~ LIST (\\Noselect \\HasChildren) \"/\" work/2026 ~ \
                    LIST (\\HasNoChildren) \"/\" work/2026/may ~ OK";
        told(&mut a, &[("LIST \"\" (work*)", left), ("DELETE work/2026/may", "OK"), ("LIST \"\" work*", "OK")]).await;
    });
}

#[test]
fn a134_other_peoples_mailboxes_are_none() {
    with_node(async || {
        let mut bob = Client::login("bob").await;
        bob.say("CREATE secret").await;
        let mut c = Client::login("alice").await;
        for name in ["secret", "~bob/INBOX", "user/bob", "\"Other Users/bob\"", "#shared/x", "bob@ringpost.test/INBOX"]
        {
            assert_eq!(c.say(&format!("SELECT {name}")).await, "NO NONEXISTENT", "{name}");
            assert_eq!(c.say(&format!("STATUS {name} (MESSAGES)")).await, "NO NONEXISTENT", "{name}");
            assert_eq!(c.say(&format!("DELETE {name}")).await, "NO NONEXISTENT", "{name}");
            assert_eq!(c.say(&format!("LIST \"\" {name}")).await, "OK", "{name}");
        }
        assert_eq!(c.say("NAMESPACE").await, "NAMESPACE ((\"\" \"/\")) NIL NIL ~ OK");
    });
}

#[test]
fn a120_a_rename_takes_the_children_along() {
    with_node(async || {
        let mut c = Client::login("alice").await;
        for name in ["a", "a/b", "a/b/c", "ab", "x/b"] {
            assert_eq!(c.say(&format!("CREATE {name}")).await, "OK");
        }
        assert!(c.say("APPEND a/b {9+}\r\na: b\r\n\r\nx").await.ends_with("OK"));
        let before = c.say("STATUS a/b (UIDVALIDITY MESSAGES)").await;
        told(
            &mut c,
            &[
                ("RENAME a a/b/d", "NO CANNOT"),
                ("RENAME a ab", "NO ALREADYEXISTS"),
                ("RENAME a INBOX", "NO ALREADYEXISTS"),
                // Its child would be renamed over x/b: nothing is renamed at all.
                ("RENAME a x", "NO ALREADYEXISTS"),
                ("RENAME nosuch y", "NO NONEXISTENT"),
                ("RENAME a z/", "OK"),
                ("LIST \"\" a*", "LIST (\\HasNoChildren) \"/\" ab ~ OK"),
                ("SELECT a/b", "NO NONEXISTENT"),
            ],
        )
        .await;
        assert_eq!(c.say("STATUS z/b (UIDVALIDITY MESSAGES)").await, before.replace("a/b", "z/b"));
        // The old name is free at once, and so is that of a parent for its child.
        told(&mut c, &[("CREATE a", "OK"), ("DELETE z", "OK"), ("RENAME z/b z", "OK")]).await;
        let left = "LIST (\\HasChildren) \"/\" z ~ LIST (\\HasNoChildren) \"/\" z/c ~ OK";
        assert_eq!(c.say("LIST \"\" z*").await, left);
    });
}

#[test]
fn a120_inbox_is_renamed_by_moving_what_is_in_it() {
    with_node(async || {
        let (mut a, mut b) = (Client::in_inbox("alice").await, Client::login("alice").await);
        for n in 1..=3 {
            a.append(&format!("Subject: {n}\r\n\r\nx")).await;
        }
        a.say("STORE 2 +FLAGS.SILENT (\\Flagged $kept)").await;
        told(&mut b, &[("CREATE INBOX/sub", "OK"), ("CREATE taken", "OK"), ("RENAME INBOX taken", "NO ALREADYEXISTS")])
            .await;
        assert_eq!(b.say("RENAME inbox INBOX/old").await, "OK");
        assert_eq!(a.say("NOOP").await, "3 EXPUNGE ~ 2 EXPUNGE ~ 1 EXPUNGE ~ OK");
        let there = "LIST (\\HasChildren) \"/\" INBOX ~ LIST (\\HasNoChildren) \"/\" INBOX/old ~ \
                     LIST (\\HasNoChildren) \"/\" INBOX/sub ~ OK";
        told(
            &mut b,
            &[
                ("LIST \"\" INBOX*", there),
                ("STATUS INBOX (MESSAGES UIDNEXT)", "STATUS INBOX (MESSAGES 0 UIDNEXT 4) ~ OK"),
                ("STATUS INBOX/old (MESSAGES)", "STATUS INBOX/old (MESSAGES 3) ~ OK"),
            ],
        )
        .await;
        b.say("SELECT INBOX/old").await;
        let kept = "2 FETCH (FLAGS (\\Flagged $kept) BODY[HEADER.FIELDS (Subject)] <Subject: 2||>) ~ OK";
        assert_eq!(b.say("FETCH 2 (FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])").await, kept);
        a.append("Subject: 4\r\n\r\nx").await;
        assert_eq!(a.say("FETCH * (UID)").await, "1 FETCH (UID 4) ~ OK");
        // Empty it is renamed as well.
        told(&mut a, &[("STORE 1 +FLAGS.SILENT (\\Deleted)", "OK"), ("EXPUNGE", "1 EXPUNGE ~ OK")]).await;
        told(&mut a, &[("RENAME INBOX older", "OK"), ("STATUS older (MESSAGES)", "STATUS older (MESSAGES 0) ~ OK")])
            .await;
    });
}

#[test]
fn a_selected_mailbox_may_be_removed_or_renamed_elsewhere() {
    with_node(async || {
        let (mut a, mut b) = (Client::login("alice").await, Client::login("alice").await);
        told(&mut a, &[("CREATE one", "OK"), ("CREATE two", "OK")]).await;
        for name in ["one", "one", "two"] {
            assert!(a.say(&format!("APPEND {name} {{9+}}\r\na: b\r\n\r\nx")).await.ends_with("OK"));
        }
        a.say("SELECT one").await;
        assert_eq!(b.say("RENAME one three").await, "OK");
        assert_eq!(a.say("FETCH 1 (UID)").await, "1 FETCH (UID 1) ~ OK", "it is the same mailbox");
        // One's own selected mailbox may be removed too: its owner knows, and nothing else is heard of it.
        a.say("SELECT two").await;
        told(
            &mut a,
            &[
                ("DELETE two", "OK"),
                ("NOOP", "OK"),
                ("FETCH 1 (UID)", "NO NONEXISTENT"),
                ("UID SEARCH ALL", "NO NONEXISTENT"),
                ("STORE 1 +FLAGS (\\Seen)", "NO NONEXISTENT"),
                ("EXPUNGE", "NO NONEXISTENT"),
                ("CREATE two", "OK"),
                ("FETCH 1 (UID)", "NO NONEXISTENT"),
                ("CLOSE", "OK"),
                ("FETCH 1 (UID)", "BAD"),
            ],
        )
        .await;
    });
}

#[test]
fn a_name_is_subscribed_with_or_without_a_mailbox() {
    with_node(async || {
        let mut c = Client::login("alice").await;
        for name in ["news", "news/a"] {
            assert_eq!(c.say(&format!("CREATE {name}")).await, "OK");
        }
        told(
            &mut c,
            &[
                ("SUBSCRIBE news/a", "OK"),
                ("SUBSCRIBE news/a", "OK"),
                ("SUBSCRIBE news/nosuch/x", "OK"),
                ("UNSUBSCRIBE never", "OK"),
                ("LSUB \"\" news*", "LSUB () \"/\" news/a ~ LSUB () \"/\" news/nosuch/x ~ OK"),
                ("LSUB \"\" news/%", "LSUB () \"/\" news/a ~ LSUB (\\Noselect) \"/\" news/nosuch ~ OK"),
                (
                    "LIST (SUBSCRIBED) \"\" news*",
                    "LIST (\\Subscribed \\HasNoChildren) \"/\" news/a ~ \
                     LIST (\\NonExistent \\Subscribed) \"/\" news/nosuch/x ~ OK",
                ),
                (
                    "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" n%",
                    "LIST (\\HasChildren) \"/\" news (\"CHILDINFO\" (\"SUBSCRIBED\")) ~ OK",
                ),
                // A mailbox that goes leaves its subscription, one that is renamed too (RFC 9051 §6.3.9).
                ("RENAME news/a news/b", "OK"),
                ("DELETE news/b", "OK"),
                ("LSUB \"\" news/a", "LSUB () \"/\" news/a ~ OK"),
                ("UNSUBSCRIBE news/a", "OK"),
                ("UNSUBSCRIBE news/nosuch/x", "OK"),
                ("LSUB \"\" news*", "OK"),
            ],
        )
        .await;
    });
}

#[test]
fn counts_come_with_the_list() {
    with_node(async || {
        let mut c = Client::login("alice").await;
        told(&mut c, &[("CREATE x/y", "OK")]).await;
        for flags in ["(\\Seen)", "(\\Deleted)", "()"] {
            assert!(c.say(&format!("APPEND x/y {flags} {{9+}}\r\na: b\r\n\r\nx")).await.ends_with("OK"));
        }
        let counts = "STATUS x/y (DELETED 1 SIZE 27 UNSEEN 2 MESSAGES 3) ~ OK";
        assert_eq!(c.say("STATUS x/y (DELETED SIZE UNSEEN MESSAGES)").await, counts);
        assert_eq!(
            c.say("LIST \"\" x* RETURN (STATUS (DELETED SIZE UNSEEN MESSAGES))").await,
            format!("LIST (\\Noselect \\HasChildren) \"/\" x ~ LIST (\\HasNoChildren) \"/\" x/y ~ {counts}")
        );
        let modseq = c.say("STATUS x/y (HIGHESTMODSEQ)").await;
        c.say("SELECT x/y").await;
        c.say("STORE 1 +FLAGS.SILENT (\\Answered)").await;
        assert_ne!(c.say("STATUS x/y (HIGHESTMODSEQ)").await, modseq);
    });
}

#[test]
fn a_new_account_has_a_place_for_everything() {
    with_node(async || {
        let mut c = Client::login("alice").await;
        let uses =
            [("Archive", "Archive"), ("Drafts", "Drafts"), ("Junk", "Junk"), ("Sent", "Sent"), ("Trash", "Trash")];
        let line = |(name, special_use)| format!("LIST (\\HasNoChildren \\{special_use}) \"/\" {name} ~ ");
        let all: String = uses.into_iter().map(line).collect();
        assert_eq!(c.say("LIST \"\" *").await.replace("LIST (\\HasNoChildren) \"/\" INBOX ~ ", ""), format!("{all}OK"));
        assert_eq!(c.say("LIST (SPECIAL-USE) \"\" *").await, format!("{all}OK"));
        assert_eq!(c.say("LSUB \"\" *").await.matches("LSUB ()").count(), 6);
        // They are mailboxes like others.
        told(&mut c, &[("RENAME Sent Old", "OK"), ("DELETE Junk", "OK"), ("CREATE Junk (USE (\\Junk))", "OK")]).await;
    });
}
