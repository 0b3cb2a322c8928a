//! Names an operator may give: stricter than what may be received, because we answer for them.

use super::Trouble;
use crate::mail::address::Address;

/// A domain name without its last dot, octets (RFC 1035 §2.3.4 less the root).
const DOMAIN_BYTES_MAX: usize = 253;
/// The local part of an account, octets (RFC 5321 §4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// A domain name in its A-label form, lower case: letters, digits and hyphens (RFC 5890 §2.3.2.1).
pub(super) fn domain(text: &str) -> Result<String, Trouble> {
    let bad = |why: &str| Err(Trouble::Refused(format!("`{}` is no domain name: {why}", text.escape_debug())));
    let name = text.to_ascii_lowercase();
    if !name.is_ascii() {
        return bad("write it in its ASCII form, which begins with xn--");
    }
    if name.is_empty() || name.len() > DOMAIN_BYTES_MAX {
        return bad("it must have 1 to 253 letters");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return bad("each part between dots must have 1 to 63 letters");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return bad("only letters, digits, hyphens and dots may occur");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return bad("a part between dots may not begin or end with a hyphen");
        }
    }
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return bad("its last part may not be a number");
    }
    Ok(name)
}

/// An account's address: lower case, and its domain.
pub(super) fn account(text: &str) -> Result<(String, String), Trouble> {
    let bad = |why: &str| Err(Trouble::Refused(format!("`{}` is no account address: {why}", text.escape_debug())));
    let Some((local, of)) = text.rsplit_once('@') else { return bad("write it as user@domain") };
    if local.len() > LOCAL_BYTES_MAX {
        return bad("at most 64 letters may stand before the @");
    }
    let of = domain(of)?;
    match Address::parse(text, false) {
        Ok(address) if !address.has_relay_trick() && !address.local().starts_with('"') => Ok((address.folded(), of)),
        _ => bad("before the @ only letters, digits, single dots and - _ + = & ' * / ? ^ { | } ~ # $ ` may stand"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_letters_digits_and_hyphens() {
        for good in ["ringpost.test", "a", "xn--bcher-kva.example", "a-b.c1"] {
            assert_eq!(domain(good), Ok(good.to_owned()));
        }
        assert_eq!(domain("RingPost.TEST"), Ok("ringpost.test".to_owned()));
        let long = format!("{}.test", "a".repeat(64));
        let longer = ["a"; 127].join(".") + ".a";
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "a b",
            "b\u{fc}cher.example",
            "1.2.3.4",
            &long,
            &longer,
        ] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn accounts_are_plain_addresses() {
        let good = |text| account(text).unwrap();
        assert_eq!(good("Alice.B+x@Ringpost.test"), ("alice.b+x@ringpost.test".to_owned(), "ringpost.test".to_owned()));
        for bad in [
            "alice",
            "@a.test",
            "a@",
            "a b@c.test",
            "\"a b\"@c.test",
            "a%b@c.test",
            "a!b@c.test",
            ".a@c.test",
            "a..b@c.test",
            "a@b@c.test",
            "a@[127.0.0.1]",
            "a\r\n@c.test",
            "\u{e4}@c.test",
            "a/../../x y@c.test",
        ] {
            assert!(account(bad).is_err(), "{bad}");
        }
        assert!(account(&format!("{}@c.test", "a".repeat(65))).is_err());
    }
}
