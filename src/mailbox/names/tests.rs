use futures_lite::future::block_on;

use super::*;
use crate::proto::imap::{ListOnly, ListTell, Pattern};

fn mailbox(id: u32, name: &str, special_use: u16) -> MailboxInfo {
    MailboxInfo { id: MailboxId(id), name: name.into(), uidvalidity: 1, special_use, subscribed: false }
}

fn world() -> (Vec<MailboxInfo>, Vec<String>) {
    let mailboxes = [("INBOX", 0), ("Sent", 2), ("a/b/c", 0), ("a/b/d", 0), ("p", 0), ("p/q", 4)];
    let mailboxes = mailboxes.iter().zip(1..).map(|((name, special_use), id)| mailbox(id, name, *special_use));
    let subscriptions = ["INBOX", "a/b/c", "gone/x", "p/q"];
    (mailboxes.collect(), subscriptions.map(str::to_owned).to_vec())
}

fn asked(patterns: &[&str]) -> List {
    let patterns = patterns.iter().map(|p| Pattern::parse(b"", p.as_bytes()).unwrap()).collect();
    List { patterns, only: ListOnly::default(), tell: ListTell::default(), lsub: false }
}

fn told(asked: &List) -> Vec<String> {
    let (mailboxes, subscriptions) = world();
    let lines = block_on(list(&mailboxes, &subscriptions, asked, &mut Slices::default()));
    let line = |l: Listed<'_>| {
        let mut words = vec![l.name.to_owned()];
        words.extend(l.attributes.iter().map(|a| (*a).to_owned()));
        words.extend(l.child_info.iter().map(|c| format!("({c})")));
        words.join(" ")
    };
    lines.map(line).collect()
}

#[test]
fn levels_without_a_mailbox_are_listed_and_not_selectable() {
    assert_eq!(
        told(&asked(&["*"])),
        [
            "INBOX \\HasNoChildren",
            "Sent \\HasNoChildren \\Sent",
            "a \\Noselect \\HasChildren",
            "a/b \\Noselect \\HasChildren",
            "a/b/c \\HasNoChildren",
            "a/b/d \\HasNoChildren",
            "p \\HasChildren",
            "p/q \\HasNoChildren \\Junk",
        ]
    );
    assert_eq!(told(&asked(&["a/%"])), ["a/b \\Noselect \\HasChildren"]);
    assert_eq!(told(&asked(&["inbox", "INBOX", "i*"])), ["INBOX \\HasNoChildren"]);
}

#[test]
fn lsub_tells_subscribed_ones_and_levels_above_what_it_does_not_reach() {
    let lsub = |pattern| told(&List { lsub: true, ..asked(&[pattern]) });
    assert_eq!(lsub("%"), ["INBOX", "a \\Noselect", "gone \\Noselect", "p \\Noselect"]);
    assert_eq!(lsub("*"), ["INBOX", "a/b/c", "gone/x", "p/q"]);
    assert_eq!(lsub("a/%"), ["a/b \\Noselect"]);
}

#[test]
fn subscribed_names_need_no_mailbox() {
    let mut list = asked(&["*"]);
    list.only.subscribed = true;
    let all = [
        "INBOX \\Subscribed \\HasNoChildren",
        "a/b/c \\Subscribed \\HasNoChildren",
        "gone/x \\NonExistent \\Subscribed",
        "p/q \\Subscribed \\HasNoChildren \\Junk",
    ];
    assert_eq!(told(&list), all);
    // Told of those that are there, if nothing else is asked for.
    list.only.subscribed = false;
    list.tell.subscribed = true;
    let subscribed: Vec<String> = told(&list).into_iter().filter(|line| line.contains("Subscribed")).collect();
    assert_eq!(subscribed, [all[0], all[1], all[3]]);
    assert_eq!(told(&list).len(), 8);
}

#[test]
fn recursivematch_tells_of_those_above() {
    let mut list = asked(&["%"]);
    list.only = ListOnly { subscribed: true, recursive: true, special_use: false };
    assert_eq!(
        told(&list),
        [
            "INBOX \\Subscribed \\HasNoChildren",
            "a \\Noselect \\HasChildren (SUBSCRIBED)",
            "gone \\NonExistent (SUBSCRIBED)",
            "p \\HasChildren (SUBSCRIBED)",
        ]
    );
    list = List { only: list.only, ..asked(&["gone*"]) };
    assert_eq!(told(&list), ["gone/x \\NonExistent \\Subscribed"], "what is below is told itself");
    list = List { only: ListOnly { subscribed: false, special_use: true, recursive: true }, ..asked(&["p"]) };
    assert_eq!(told(&list), ["p \\HasChildren (SPECIAL-USE)"]);
    list.only.subscribed = true;
    assert_eq!(told(&list), ["p \\HasChildren (SUBSCRIBED) (SPECIAL-USE)"]);
}

#[test]
fn counts_are_told_of_mailboxes_that_were_asked_for() {
    let (mailboxes, subscriptions) = world();
    let mut asked = asked(&["%"]);
    let with_counts = |asked: &List| -> Vec<String> {
        let lines = block_on(list(&mailboxes, &subscriptions, asked, &mut Slices::default()));
        lines.filter(|l| l.mailbox.is_some()).map(|l| l.name.to_owned()).collect()
    };
    assert_eq!(with_counts(&asked), ["INBOX", "Sent", "p"]);
    asked.only = ListOnly { subscribed: true, recursive: true, special_use: false };
    assert_eq!(with_counts(&asked), ["INBOX"], "p is told for what is below it");
}

#[test]
fn a_special_use_keeps_its_number() {
    assert_eq!(SpecialUse::ALL.map(|u| use_code(Some(u))), [1, 2, 3, 4, 5, 6, 7]);
    assert!(SpecialUse::ALL.iter().all(|u| use_of(use_code(Some(*u))) == Some(*u)));
    assert_eq!((use_of(0), use_of(8)), (None, None));
}

fn rename(names: &[&str], from: &str, to: &str) -> Result<Vec<String>, No> {
    let mailboxes: Vec<MailboxInfo> = names.iter().zip(1..).map(|(name, id)| mailbox(id, name, 0)).collect();
    let renamed = renamed(&mailboxes, &Name::of(from).unwrap(), &Name::of(to).unwrap())?;
    assert!(renamed.iter().all(|r| r.from == names[r.mailbox.0 as usize - 1]));
    Ok(renamed.into_iter().map(|r| format!("{} {}", r.from, r.to)).collect())
}

#[test]
fn a120_children_follow_and_nothing_is_renamed_over() {
    let names = ["INBOX", "a", "a/b", "a/b/c", "ab", "x/y"];
    assert_eq!(rename(&names, "a", "z").unwrap(), ["a z", "a/b z/b", "a/b/c z/b/c"]);
    assert_eq!(rename(&names, "a/b", "INBOX/b").unwrap(), ["a/b INBOX/b", "a/b/c INBOX/b/c"]);
    assert_eq!(rename(&names, "a", "x").unwrap()[0], "a x", "a level is no mailbox");
    assert_eq!(rename(&names, "x", "z").unwrap(), ["x/y z/y"], "a level goes with what is below it");
    assert_eq!(rename(&names, "a", "ab"), Err(No::AlreadyExists));
    assert_eq!(rename(&["p/q", "z/q"], "p", "z"), Err(No::AlreadyExists), "below");
    assert_eq!(rename(&names, "nosuch", "z"), Err(No::NonExistent));
    assert_eq!(rename(&["a", "a/b"], "a", &"x".repeat(999)), Err(No::Cannot), "a child's name would be too long");
}

#[test]
fn a_mailbox_may_take_the_place_of_its_parent() {
    // The old name of one is the new name of another, which waits until it is free.
    let names = ["a/b/b/b", "a/b/b", "a/b"];
    assert_eq!(rename(&names, "a/b", "a").unwrap(), ["a/b a", "a/b/b a/b", "a/b/b/b a/b/b"]);
}

#[test]
fn a117_a_great_many_deep_names_are_listed_in_slices() {
    use crate::mailbox::slices::SLICE_WORK;
    use crate::observe::{self, Peak};

    let deep = |id: u32| mailbox(id, &format!("{id}{}", "/abcdefghij".repeat(31)), 0);
    let mailboxes: Vec<MailboxInfo> = (1..=60).map(deep).collect();
    let asked = asked(&[&"*a%".repeat(40), "*/abcdefghij"]);
    let lines = block_on(list(&mailboxes, &[], &asked, &mut Slices::default())).count();
    assert_eq!(lines, 60 * 31, "each level below the first is told once");
    let most = observe::highest_here(Peak::SliceWork);
    assert!((SLICE_WORK / 2..=SLICE_WORK).contains(&most), "a slice of {most}");
}
