//! `dovecot-uidlist`: the UIDs of a Maildir folder, its UIDVALIDITY and UIDNEXT, and POP3 unique ids.
//!
//! ```text
//!   3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
//!   25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,
//!   25017 W2481 P0000a1b2 :1276533073.M242911P3632.kurkku:2,F
//! ```
//!
//! Version 3 as above; version 1 is `1 UIDVALIDITY UIDNEXT` and then `UID filename`. Fields other than `V`, `N` and `P` mean
//! nothing here. The flags in a name are those of some time ago: a name counts up to its `:`. A UID that is given twice, or a line
//! that cannot be read, is complained of; the message is then one without a UID.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use super::{Complaint, lines};

/// The file beside `cur`.
pub const NAME: &str = "dovecot-uidlist";
/// A unique id of POP3, octets (RFC 1939 §7).
pub const UIDL_BYTES_MAX: usize = 70;

/// What a folder's list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uidlist {
    /// Not 0.
    pub uidvalidity: u32,
    /// Above every UID.
    pub uidnext: u32,
    /// By base name, see [`base_name`].
    pub entries: HashMap<String, Entry>,
}

/// A message of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Not 0.
    pub uid: u32,
    /// What POP3 was told, where that is not made of the UID.
    pub uidl: Option<Box<str>>,
}

/// A message's name without its flags: up to the `:2,`.
#[must_use]
pub fn base_name(file: &str) -> &str {
    file.split(':').next().unwrap_or(file)
}

/// Reads a folder's list; `None` where there is none that can be read.
#[must_use]
pub fn read(folder: &Path, complaints: &mut Vec<Complaint>) -> Option<Uidlist> {
    let file = folder.join(NAME);
    let mut lines = lines(&file, complaints)?.into_iter();
    let header = lines.next().map(|(_, line)| line).unwrap_or_default();
    let Some((version, mut list)) = head(&header) else {
        complaints.push(Complaint::at(&file, 1, "no uidlist of version 1 or 3: messages get new UIDs"));
        return None;
    };
    let mut last = 0;
    for (number, line) in lines {
        match entry(version, &line) {
            // Dovecot's rise; in another order one of two is wrong.
            Some((name, entry)) if entry.uid > last && entry.uid < u32::MAX => {
                last = entry.uid;
                list.entries.insert(name.to_owned(), entry);
            }
            Some((_, entry)) => {
                complaints.push(Complaint::at(&file, number, format!("UID {} does not follow {last}", entry.uid)));
            }
            None => complaints.push(Complaint::at(&file, number, "no message of a uidlist")),
        }
    }
    list.uidnext = list.uidnext.max(last + 1);
    Some(list)
}

fn head(line: &str) -> Option<(u8, Uidlist)> {
    let mut fields = line.split_ascii_whitespace();
    let version = fields.next()?;
    let (mut uidvalidity, mut uidnext) = (None, None);
    match version {
        "1" => (uidvalidity, uidnext) = (fields.next(), fields.next()),
        "3" => {
            for field in fields {
                match field.split_at_checked(1)? {
                    ("V", value) => uidvalidity = Some(value),
                    ("N", value) => uidnext = Some(value),
                    _ => {}
                }
            }
        }
        _ => return None,
    }
    let uidvalidity = uidvalidity?.parse().ok().filter(|v| *v > 0)?;
    let uidnext = uidnext.and_then(|n| n.parse().ok()).unwrap_or(1).max(1);
    Some((if version == "1" { 1 } else { 3 }, Uidlist { uidvalidity, uidnext, entries: HashMap::new() }))
}

fn entry(version: u8, line: &str) -> Option<(&str, Entry)> {
    let (uid, rest) = line.split_once(' ')?;
    let uid = uid.parse().ok().filter(|uid| *uid > 0)?;
    if version == 1 {
        return Some((base_name(rest), Entry { uid, uidl: None }));
    }
    let (fields, name) = rest.split_once(':')?;
    let uidl = fields.split_ascii_whitespace().find_map(|field| field.strip_prefix('P')).filter(|uidl| is_uidl(uidl));
    Some((base_name(name), Entry { uid, uidl: uidl.map(Into::into) }))
}

/// True for what POP3 can say as a unique id: 1 to 70 graphic characters (RFC 1939 §7).
#[must_use]
pub fn is_uidl(text: &str) -> bool {
    (1..=UIDL_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The text of a list in version 3: messages by rising UID, with what POP3 is told and their file names.
#[must_use]
pub fn text<'a>(
    uidvalidity: u32,
    uidnext: u32,
    messages: impl IntoIterator<Item = (u32, Option<&'a str>, &'a str)>,
) -> String {
    let mut text = format!("3 V{uidvalidity} N{uidnext}\n");
    for (uid, uidl, name) in messages {
        // Writing to a String cannot fail.
        let _ = match uidl {
            Some(uidl) => writeln!(text, "{uid} P{uidl} :{name}"),
            None => writeln!(text, "{uid} :{name}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(text: &str) -> (Option<Uidlist>, Vec<Complaint>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), text).unwrap();
        let mut complaints = Vec::new();
        (read(folder.path(), &mut complaints), complaints)
    }

    #[test]
    fn uids_validity_and_pop3_ids_are_read() {
        let (list, complaints) = list_of(
            "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n\
             25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n\
             25017 W2481 P0000a1b2 :1276533073.M242911P3632.kurkku:2,F\n",
        );
        let list = list.unwrap();
        assert_eq!((list.uidvalidity, list.uidnext, complaints.len()), (1_275_660_208, 25_022, 0));
        assert_eq!(list.entries["1276528487.M364837P9451.kurkku,S=1355,W=1394"], Entry { uid: 25_006, uidl: None });
        let uidl = list.entries["1276533073.M242911P3632.kurkku"].uidl.as_deref();
        assert_eq!(uidl, Some("0000a1b2"));
    }

    #[test]
    fn the_first_version_is_read_too() {
        let (list, _) = list_of("1 1085968521 9\n3 one.file:2,S\n8 another\n");
        let list = list.unwrap();
        assert_eq!((list.uidvalidity, list.uidnext), (1_085_968_521, 9));
        assert_eq!((list.entries["one.file"].uid, list.entries["another"].uid), (3, 8));
    }

    #[test]
    fn what_does_not_fit_is_complained_of_and_the_rest_counts() {
        let (list, complaints) = list_of("3 V5 N4\n2 :b\n1 :a\nx :y\n2 :c\n9 :d\n4294967295 :e\n");
        let list = list.unwrap();
        assert_eq!((list.entries.len(), list.uidnext), (2, 10));
        assert_eq!(complaints.iter().map(|c| c.line.unwrap()).collect::<Vec<_>>(), [3, 4, 5, 7]);
        for text in ["", "2 V1 N1\n", "3 N5\n", "3 V0 N1\n", "hello\n"] {
            let (list, complaints) = list_of(text);
            assert!(list.is_none() && complaints.len() == 1, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (list, complaints) = list_of(&text(7, 12, [(3, None, "a:2,S"), (9, Some("x-1"), "b:2,")]));
        assert!(complaints.is_empty());
        let list = list.unwrap();
        assert_eq!((list.uidvalidity, list.uidnext, list.entries.len()), (7, 12, 2));
        assert_eq!(list.entries["b"], Entry { uid: 9, uidl: Some("x-1".into()) });
    }
}
