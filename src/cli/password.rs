//! Passwords given to a verb: never on the command line, where every process of the host could read them.

use std::io::{self, BufRead, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::admin::{NewAccount, Secret};
use crate::directory::secrets::PASSWORD_BYTES_MAX;

/// A file of accounts, octets. Larger: an error.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The first line of standard input.
pub(super) fn from_stdin() -> Result<Secret, String> {
    first_line(io::stdin().lock())
}

fn first_line(input: impl BufRead) -> Result<Secret, String> {
    let mut line = Zeroizing::new(Vec::new());
    // One octet more than a CRLF would need, so that a line too long is noticed by its missing end.
    let most = PASSWORD_BYTES_MAX as u64 + 3;
    input
        .take(most)
        .read_until(b'\n', &mut line)
        .map_err(|why| format!("the password cannot be read from standard input: {why}"))?;
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    if line.is_empty() {
        return Err("standard input has no password in its first line".to_owned());
    }
    let text = std::str::from_utf8(&line).map_err(|_| "the password is not UTF-8 text".to_owned())?;
    Ok(Secret::from(text))
}

/// Accounts of a file, one `address password` a line; `-` is standard input.
pub(super) fn from_file(path: &Path) -> Result<Vec<NewAccount>, String> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    match read {
        Ok(octets) if octets as u64 == FILE_BYTES_MAX => {
            Err(format!("{} is too large: at most {} MiB", path.display(), FILE_BYTES_MAX >> 20))
        }
        Ok(_) => accounts(&text, path),
        Err(why) => Err(format!("{}: {why}", path.display())),
    }
}

/// The same where hashes stand in the place of passwords.
pub(super) fn hashes_from_file(path: &Path) -> Result<Vec<NewAccount>, String> {
    let hashed = |account: NewAccount| match account.password {
        Some(hash) => Ok(NewAccount { hash: Some(hash.0.trim_end().to_owned()), password: None, ..account }),
        None => Err(format!("{}: {} has no hash: write `user@domain hash`", path.display(), account.address)),
    };
    from_file(path)?.into_iter().map(hashed).collect()
}

fn accounts(text: &str, path: &Path) -> Result<Vec<NewAccount>, String> {
    let mut accounts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (address, password) = match line.split_once([' ', '\t']) {
            Some((address, rest)) => (address, Some(rest.trim_start_matches([' ', '\t'])).filter(|p| !p.is_empty())),
            None => (line, None),
        };
        if !address.contains('@') {
            return Err(format!("{}, line {number}: write `user@domain password`", path.display()));
        }
        accounts.push(NewAccount::with(address.to_owned(), password.map(Secret::from)));
    }
    if accounts.is_empty() {
        return Err(format!("{} names no account: write one `user@domain password` a line", path.display()));
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(input: &[u8]) -> Result<String, String> {
        first_line(input).map(|secret| secret.0.to_string())
    }

    #[test]
    fn a_password_is_the_first_line_and_nothing_of_its_end() {
        assert_eq!(given(b"two words \r\nmore"), Ok("two words ".to_owned()));
        assert_eq!(given(b"no newline"), Ok("no newline".to_owned()));
        assert!(given(b"\nsecond").is_err());
        assert!(given(b"").is_err());
        assert!(given(b"\xff\n").is_err());
        assert!(given(&[b'x'; 5_000]).is_ok_and(|p| p.len() > PASSWORD_BYTES_MAX), "so that the office refuses it");
    }

    #[test]
    fn a_file_has_an_account_a_line() {
        let text = "# people\n\na@b.test one two\r\n\tc@b.test\t three\nd@b.test\n";
        let read = accounts(text, Path::new("f")).unwrap();
        let read: Vec<_> =
            read.iter().map(|a| (a.address.as_str(), a.password.as_ref().map(|p| p.0.as_str()))).collect();
        assert_eq!(read, [("a@b.test", Some("one two")), ("c@b.test", Some("three")), ("d@b.test", None)]);
        assert!(accounts("a@b.test x\nalice y\n", Path::new("f")).unwrap_err().contains("f, line 2"));
        assert!(accounts("# nothing\n", Path::new("f")).unwrap_err().contains("names no account"));
    }
}
