//! The account file: one `address password` a line, as `ringpost account add --from-file` reads it.
//!
//! Empty lines and lines that begin with `#` are skipped. The order of the file is the order of the
//! accounts everywhere in this crate: an account is its index.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of `ringpost-loadtest accounts`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How many accounts.
    #[arg(long, default_value_t = 1_000)]
    pub count: usize,
    /// Their domain.
    #[arg(long, default_value = "load.example")]
    pub domain: String,
    /// Where to write; standard output when left out.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// The passwords are made from it; the same seed makes the same file.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// One mailbox owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `local@domain`.
    pub address: String,
    /// As sent in LOGIN and PASS.
    pub password: String,
}

/// What is wrong with an account file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    /// A line is not `address password`.
    #[error("line {line}: want `address password`, got {text:?}")]
    Line { line: usize, text: String },
    /// No account in it.
    #[error("no account in the file")]
    Empty,
}

/// Writes the file that `args` ask for.
pub fn run(args: &Args) -> Result<(), Error> {
    let text = render(&generate(args.count, &args.domain, args.seed));
    match &args.out {
        Some(path) => fs::write(path, text).map_err(|error| Error::File { path: path.clone(), error }),
        None => std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| Error::File { path: "standard output".into(), error }),
    }
}

/// `count` accounts `u0000@domain`, `u0001@domain`, … with passwords made from `seed`.
#[must_use]
pub fn generate(count: usize, domain: &str, seed: u64) -> Vec<Account> {
    let width = count.saturating_sub(1).to_string().len().max(4);
    (0..count)
        .map(|i| {
            let address = format!("u{i:0width$}@{domain}");
            let secret = xxhash_rust::xxh3::xxh3_64_with_seed(address.as_bytes(), seed);
            Account { address, password: format!("pw-{secret:016x}") }
        })
        .collect()
}

/// The file's text.
#[must_use]
pub fn render(accounts: &[Account]) -> String {
    accounts.iter().map(|a| format!("{} {}\n", a.address, a.password)).collect()
}

/// Reads the file at `path`.
pub fn load(path: &Path) -> Result<Vec<Account>, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::File { path: path.to_owned(), error })?;
    parse(&text)
}

/// Reads the file's text. Errors: a line of another shape, no account at all.
pub fn parse(text: &str) -> Result<Vec<Account>, Error> {
    let mut accounts = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(address), Some(password), None) if address.contains('@') => {
                accounts.push(Account { address: address.into(), password: password.into() });
            }
            _ => return Err(Error::Line { line: index + 1, text: line.into() }),
        }
    }
    if accounts.is_empty() { Err(Error::Empty) } else { Ok(accounts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_reads_back_the_same() {
        let accounts = generate(1_000, "load.example", 7);
        assert_eq!(accounts[999].address, "u0999@load.example");
        assert_eq!(parse(&render(&accounts)).unwrap(), accounts);
        assert_ne!(accounts[0].password, accounts[1].password);
        assert_ne!(generate(1, "load.example", 8)[0].password, accounts[0].password);
    }

    #[test]
    fn names_stay_distinct_past_ten_thousand() {
        let accounts = generate(12_000, "x.example", 1);
        assert_eq!(accounts[0].address, "u00000@x.example");
        assert_eq!(accounts[11_999].address, "u11999@x.example");
    }

    #[test]
    fn a_line_of_another_shape_is_named_by_its_number() {
        assert!(matches!(parse("# head\n\na@b pw\na@b\n"), Err(Error::Line { line: 4, .. })));
        assert!(matches!(parse("# nobody\n"), Err(Error::Empty)));
    }
}
