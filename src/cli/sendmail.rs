//! `ringpost sendmail`: what cron and web hosts call to hand in a letter, as they call Sendmail's.
//!
//! - The letter goes to the running server, and is durable there when this ends with 0: through the Unix socket of a listener with
//!   `service = "sendmail"`, which is for everybody its mode lets, or through the admin socket, which is for root and the user that runs
//!   the server. Whose program it is the server hears from the kernel.
//! - Nothing is kept here: where the server does not run this ends with `EX_TEMPFAIL`.
//! - Called by the name `sendmail`, through a link, it is this verb. Options that only tune Sendmail are taken and ignored.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{desk, say};
use crate::admin::{Posted, Request, Response};
use crate::limits;
use crate::mail::envelope::envelope_of;
use crate::mail::header::body_start;

/// Take a message from standard input and deliver it, as programs expect it of a command called sendmail.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  printf 'Subject: hello\\n\\nIt works.\\n' | ringpost sendmail alice@example.org
  ringpost sendmail -t -i < message              recipients from To, Cc and Bcc; a line with a dot ends nothing
  ringpost sendmail -f bounces@example.org -i alice@example.org < message
  ln -s $(command -v ringpost) /usr/sbin/sendmail

Options: -t; -i or -oi; -f ADDRESS or -r ADDRESS (<> is the null sender); -F 'Full Name' for the From that is added where there is none;
-bm; -bp (nothing ever waits here). -N, -R, -V, -B, -O, -o…, -e…, -d…, -v, -n, -m and -U are taken and ignored. A first line as mbox files
have it is left out.

The server is reached by --socket PATH or RINGPOST_SENDMAIL in the environment, else by --data DIR or RINGPOST_DATA (its admin socket: for
root and the user that runs it), else by /run/ringpost/sendmail, which is there for everybody when the configuration has
  [[listener]]
  service = \"sendmail\"
  address = \"unix:/run/ringpost/sendmail\"
  mode = \"0666\"
Root, the server's user and sendmail.trusted_users may write any sender with -f; letters of others are from their user's name at the
server's first domain, whatever they say.

It ends with 0 when the message is durable, else as sysexits.h has it: 64 usage, 65 a bad address or no recipient, 67 no such
user, 69 refused, 74 the input cannot be read, 75 try again later, 77 no socket of the server may be opened. Then nothing was sent.")]
pub(super) struct SendmailArgs {
    /// Options, then recipients.
    #[arg(value_name = "OPTION|RECIPIENT", allow_hyphen_values = true, trailing_var_arg = true)]
    args: Vec<String>,
}

/// Exit codes of sysexits.h.
const EX_USAGE: u8 = 64;
const EX_DATAERR: u8 = 65;
const EX_NOUSER: u8 = 67;
const EX_UNAVAILABLE: u8 = 69;
const EX_IOERR: u8 = 74;
const EX_TEMPFAIL: u8 = 75;
const EX_NOPERM: u8 = 77;

/// What the options say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    from_header: bool,
    dots_stay: bool,
    sender: Option<String>,
    full_name: Option<String>,
    socket: Option<PathBuf>,
    data: Option<PathBuf>,
    /// What waits is to be shown, and nothing sent.
    queue: bool,
    recipients: Vec<String>,
}

/// Where a listener for everybody is looked for.
const SOCKET: &str = "/run/ringpost/sendmail";

/// An exit code, and a sentence.
type Refusal = (u8, String);

impl SendmailArgs {
    /// Called by the name of Sendmail: all that stands behind it.
    pub(super) fn called_so(args: impl Iterator<Item = String>) -> Self {
        SendmailArgs { args: args.collect() }
    }
}

/// The exit code; what went wrong is said on standard error.
pub(super) fn run(args: SendmailArgs) -> u8 {
    match wish(args.args).and_then(send) {
        Ok(()) => 0,
        Err((code, why)) => {
            eprintln!("sendmail: {why}");
            code
        }
    }
}

fn send(wish: Wish) -> Result<(), Refusal> {
    if wish.queue {
        // As Sendmail says it: programs look for these words.
        say("Mail queue is empty\n");
        return Ok(());
    }
    let mut given = Vec::new();
    let read = std::io::stdin().lock().take(limits::MESSAGE_BYTES_MAX + 1).read_to_end(&mut given);
    read.map_err(|why| (EX_IOERR, format!("reading the message: {why}")))?;
    let message = canonical(&given, wish.dots_stay);
    drop(given);
    let mut recipients: BTreeSet<String> = wish.recipients.iter().cloned().collect();
    if wish.from_header {
        recipients.extend(addressed(&message)?);
    }
    if recipients.is_empty() {
        return Err((EX_DATAERR, "nobody to send it to: name recipients, or write To and give -t".to_owned()));
    }
    let user = rustix::process::getuid().as_raw();
    let sender = wish.sender.clone().unwrap_or_else(|| login_name(user));
    let request = Request::Post {
        sender,
        full_name: wish.full_name.clone(),
        recipients: recipients.into_iter().collect(),
        octets: message.len() as u64,
        user,
    };
    let mut session = server(&wish)?;
    match session.ask(&request, &[&message]).map_err(|why| (EX_TEMPFAIL, why))?.0 {
        Response::Posted { posted } => settled(posted),
        other => Err((EX_TEMPFAIL, desk::strange(&other))),
    }
}

/// A conversation with the server, by whichever of its sockets is meant.
fn server(wish: &Wish) -> Result<desk::Session, Refusal> {
    let path = |said: &Option<PathBuf>, key| said.clone().or_else(|| std::env::var_os(key).map(PathBuf::from));
    let data = path(&wish.data, "RINGPOST_DATA");
    let socket = match path(&wish.socket, "RINGPOST_SENDMAIL") {
        None if data.is_none() && Path::new(SOCKET).exists() => Some(PathBuf::from(SOCKET)),
        said => said,
    };
    let (found, place) = match socket {
        Some(socket) => (desk::running_at(&socket), socket),
        None => {
            let data = data.unwrap_or_else(|| PathBuf::from("ringpost-data"));
            (desk::running(&data), data)
        }
    };
    match found {
        Ok(Some(session)) => Ok(session),
        Ok(None) => Err((EX_TEMPFAIL, format!("no server is running on {}", place.display()))),
        Err(why) if why.contains("permission denied") => Err((
            EX_NOPERM,
            format!("{why}; or give the server a [[listener]] with service = \"sendmail\", which is for everybody"),
        )),
        Err(why) => Err((EX_TEMPFAIL, why)),
    }
}

fn settled(posted: Posted) -> Result<(), Refusal> {
    Err(match posted {
        Posted::Id(_) => return Ok(()),
        Posted::NoUser(why) => (EX_NOUSER, why),
        Posted::BadData(why) => (EX_DATAERR, why),
        Posted::Refused(why) => (EX_UNAVAILABLE, why),
        Posted::Later(why) => (EX_TEMPFAIL, why),
        Posted::Unknown => (EX_TEMPFAIL, "the server does not know whether it was kept".to_owned()),
    })
}

/// Reads options as Sendmail has them: letters behind one hyphen, values behind the letter or next.
fn wish(args: Vec<String>) -> Result<Wish, Refusal> {
    let usage = |why: String| (EX_USAGE, format!("{why}; `ringpost sendmail --help` shows what may be said"));
    let mut wish = Wish::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            wish.recipients.extend(args);
            break;
        }
        let mut value = |rest: &str| match rest {
            "" => args.next().ok_or_else(|| usage(format!("{arg} wants a value"))),
            rest => Ok(rest.to_owned()),
        };
        match arg.strip_prefix('-') {
            None => wish.recipients.push(arg),
            Some("t") => wish.from_header = true,
            Some("i" | "oi") => wish.dots_stay = true,
            Some("ti" | "it") => (wish.from_header, wish.dots_stay) = (true, true),
            Some("bm" | "v" | "n" | "m" | "U" | "G") => {}
            Some("-data") => wish.data = Some(PathBuf::from(value("")?)),
            Some("-socket") => wish.socket = Some(PathBuf::from(value("")?)),
            Some("bp") => wish.queue = true,
            Some(rest) if rest.starts_with('F') => wish.full_name = Some(value(&rest[1..])?),
            // `-o i` as `-oi`.
            Some("o") => wish.dots_stay |= value("")? == "i",
            Some(rest) if rest.starts_with(['f', 'r']) => {
                let sender = value(&rest[1..])?;
                let bare = sender.trim_start_matches('<').trim_end_matches('>');
                wish.sender = Some(bare.to_owned());
            }
            Some(rest) if rest.starts_with(['N', 'R', 'V', 'B', 'O', 'X', 'L', 'h', 'C']) => {
                value(&rest[1..])?;
            }
            Some(rest) if rest.starts_with(['o', 'e', 'd']) => {}
            Some(rest) if rest.starts_with('b') => {
                return Err(usage(format!("-{rest} is not done here: {}", instead(rest))));
            }
            Some(rest) if rest.starts_with('q') => {
                return Err(usage(format!(
                    "-{rest}: there is no queue to be run, what is handed in is delivered at once"
                )));
            }
            Some(_) => return Err(usage(format!("{arg} is not known"))),
        }
    }
    Ok(wish)
}

/// What to do where Sendmail has a mode that we have not.
fn instead(mode: &str) -> &'static str {
    match mode {
        "bs" => "speak SMTP to the submission listener, port 587",
        "bd" | "bD" => "`ringpost serve` is the server",
        "bi" => "aliases need no rebuilding, `ringpost alias add` makes them",
        "bv" | "bt" => "`ringpost route ADDRESS` says where a letter would go",
        _ => "-bm and -bp alone are",
    }
}

/// Without a first line as mbox files have it, which some programs leave there; with CRLF line ends; up to a line with a dot alone, unless that is no end.
fn canonical(given: &[u8], dots_stay: bool) -> Vec<u8> {
    let mut message = Vec::with_capacity(given.len() + given.len() / 32);
    let given = match given.strip_prefix(b"From ") {
        Some(rest) => memchr::memchr(b'\n', rest).map_or(&[][..], |end| &rest[end + 1..]),
        None => given,
    };
    for line in given.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !dots_stay && text == b"." {
            break;
        }
        // What is left of CR and NUL would be no line of a message.
        message.extend(text.iter().filter(|b| !matches!(b, b'\r' | b'\0')));
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// Who stands in To, Cc and Bcc.
fn addressed(message: &[u8]) -> Result<Vec<String>, Refusal> {
    let envelope = envelope_of(&message[..body_start(message)]);
    let mut all = Vec::new();
    for address in envelope.to.iter().chain(&envelope.cc).chain(&envelope.bcc) {
        let (Some(mailbox), Some(host)) = (&address.mailbox, &address.host) else { continue };
        let text = |octets: &[u8]| {
            std::str::from_utf8(octets).map(str::to_owned).map_err(|_| (EX_DATAERR, "an address is no text".to_owned()))
        };
        let (mailbox, host) = (text(mailbox.as_slice())?, text(host.as_slice())?);
        all.push(if host.is_empty() { mailbox } else { format!("{mailbox}@{host}") });
    }
    Ok(all)
}

/// Whoever calls, as the environment has it. The server believes it of those whom it believes any sender.
fn login_name(user: u32) -> String {
    let name = ["LOGNAME", "USER"].iter().find_map(|key| std::env::var(key).ok().filter(|name| !name.is_empty()));
    name.unwrap_or_else(|| if user == 0 { "root".to_owned() } else { format!("uid-{user}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Wish, u8> {
        wish(line.split(' ').map(str::to_owned).collect()).map_err(|(code, _)| code)
    }

    #[test]
    fn options_are_those_of_sendmail() {
        let wished = read("-t -oi -fbounce@a.test -FName -oem -odb -bm -v x@a.test").unwrap();
        assert!(wished.from_header && wished.dots_stay);
        assert_eq!(wished.sender.as_deref(), Some("bounce@a.test"));
        assert_eq!(wished.recipients, ["x@a.test"]);
        assert_eq!(
            read("-i -f <> --data /x -- -odd@a.test").unwrap(),
            Wish {
                dots_stay: true,
                sender: Some(String::new()),
                data: Some("/x".into()),
                recipients: vec!["-odd@a.test".to_owned()],
                ..Wish::default()
            }
        );
        let wished = read("-o i -F Cron -F- -odq -O x=y -oQ/tmp --socket /s a").unwrap();
        assert!(wished.dots_stay && !wished.queue);
        assert_eq!((wished.full_name.as_deref(), wished.socket), (Some("-"), Some("/s".into())));
        assert!(read("-bp").unwrap().queue);
        for bad in ["-bs", "-bd", "-bi", "-bv", "-q", "-q30m", "-f", "-F", "-o", "--what", "-t -z"] {
            assert_eq!(read(bad), Err(EX_USAGE), "{bad}");
        }
    }

    #[test]
    fn a_dot_ends_a_message_unless_it_may_stay() {
        assert_eq!(canonical(b"a\nb\r\n.\nc", false), b"a\r\nb\r\n");
        assert_eq!(canonical(b"a\n.\n..\nc\r\0", true), b"a\r\n.\r\n..\r\nc\r\n");
        assert_eq!(canonical(b"", true), b"");
        assert_eq!(
            canonical(b"From alice Mon Nov 23 03:00:00 2026\nFrom: a\n\nFrom b\n", true),
            b"From: a\r\n\r\nFrom b\r\n"
        );
        assert_eq!(canonical(b"From alice", true), b"");
    }

    #[test]
    fn recipients_stand_in_the_header() {
        let message = b"To: Alice <alice@a.test>, team: bob@a.test;\r\nCc: root\r\nBcc: x@b.test\r\nFrom: me@a.test\r\n\r\nTo: no@a.test\r\n";
        assert_eq!(addressed(message).unwrap(), ["alice@a.test", "bob@a.test", "root", "x@b.test"]);
    }
}
