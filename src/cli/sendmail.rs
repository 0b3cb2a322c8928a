//! `ringpost sendmail`: what cron and web hosts call to hand in a letter, as they call Sendmail's.
//!
//! - The letter goes to the running server through its admin socket and is durable there when this ends with 0. So whoever calls it
//!   must be allowed to open that socket: the user that runs the server, and root.
//! - Nothing is kept here: where the server does not run this ends with `EX_TEMPFAIL`.
//! - Called by the name `sendmail`, through a link, it is this verb. Options that only tune Sendmail are taken and ignored.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use super::desk;
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

Options: -t; -i or -oi; -f ADDRESS or -r ADDRESS (<> is the null sender); -bm. -F, -N, -R, -V, -B, -o…, -e…, -d…, -v, -n, -m and -U are taken and
ignored. --data DIR, or RINGPOST_DATA in the environment, says whose server it is.
It ends with 0 when the message is durable, else as sysexits.h has it: 64 usage, 65 a bad address or no recipient, 67 no such
user, 69 refused, 74 the input cannot be read, 75 try again later, 77 the server's socket may not be opened. Then nothing was sent.")]
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
    data: Option<PathBuf>,
    recipients: Vec<String>,
}

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
    let mut given = Vec::new();
    let read = std::io::stdin().lock().take(limits::MESSAGE_BYTES_MAX + 1).read_to_end(&mut given);
    read.map_err(|why| (EX_IOERR, format!("reading the message: {why}")))?;
    let message = canonical(&given, wish.dots_stay);
    drop(given);
    let mut recipients: BTreeSet<String> = wish.recipients.into_iter().collect();
    if wish.from_header {
        recipients.extend(addressed(&message)?);
    }
    if recipients.is_empty() {
        return Err((EX_DATAERR, "nobody to send it to: name recipients, or write To and give -t".to_owned()));
    }
    let user = rustix::process::getuid().as_raw();
    let sender = wish.sender.unwrap_or_else(|| login_name(user));
    let data = wish.data.or_else(|| std::env::var_os("RINGPOST_DATA").map(PathBuf::from));
    let data = data.unwrap_or_else(|| PathBuf::from("ringpost-data"));
    let request =
        Request::Post { sender, recipients: recipients.into_iter().collect(), octets: message.len() as u64, user };
    let session = desk::running(&data).map_err(|why| {
        let code = if why.contains("permission denied") { EX_NOPERM } else { EX_TEMPFAIL };
        (code, why)
    })?;
    let Some(mut session) = session else {
        return Err((EX_TEMPFAIL, format!("no server is running on {}", data.display())));
    };
    match session.ask(&request, &[&message]).map_err(|why| (EX_TEMPFAIL, why))?.0 {
        Response::Posted { posted } => settled(posted),
        other => Err((EX_TEMPFAIL, desk::strange(&other))),
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
            Some(rest) if rest.starts_with(['f', 'r']) => {
                let sender = value(&rest[1..])?;
                let bare = sender.trim_start_matches('<').trim_end_matches('>');
                wish.sender = Some(bare.to_owned());
            }
            Some(rest) if rest.starts_with(['F', 'N', 'R', 'V', 'B', 'O', 'X', 'L', 'h', 'C']) => {
                value(&rest[1..])?;
            }
            Some(rest) if rest.starts_with(['o', 'e', 'd']) => {}
            Some(rest) if rest.starts_with('b') => {
                return Err(usage(format!("-{rest} is not done here: -bm alone is")));
            }
            Some(_) => return Err(usage(format!("{arg} is not known"))),
        }
    }
    Ok(wish)
}

/// With CRLF line ends; up to a line with a dot alone, unless that is no end.
fn canonical(given: &[u8], dots_stay: bool) -> Vec<u8> {
    let mut message = Vec::with_capacity(given.len() + given.len() / 32);
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

/// Whoever calls, as the environment has it; the server believes it, because it believes whoever can ask.
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
        for bad in ["-bs", "-bd", "-q", "-f", "--what", "-t -z"] {
            assert_eq!(read(bad), Err(EX_USAGE), "{bad}");
        }
    }

    #[test]
    fn a_dot_ends_a_message_unless_it_may_stay() {
        assert_eq!(canonical(b"a\nb\r\n.\nc", false), b"a\r\nb\r\n");
        assert_eq!(canonical(b"a\n.\n..\nc\r\0", true), b"a\r\n.\r\n..\r\nc\r\n");
        assert_eq!(canonical(b"", true), b"");
    }

    #[test]
    fn recipients_stand_in_the_header() {
        let message = b"To: Alice <alice@a.test>, team: bob@a.test;\r\nCc: root\r\nBcc: x@b.test\r\nFrom: me@a.test\r\n\r\nTo: no@a.test\r\n";
        assert_eq!(addressed(message).unwrap(), ["alice@a.test", "bob@a.test", "root", "x@b.test"]);
    }
}
