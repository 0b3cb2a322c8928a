//! `ringpost-loadtest timing`: does the time of an answer tell whether a name exists? (RELIABILITY's row R24.)
//!
//! One login at a time, each on a connection of its own, all with a wrong password: by chance of a name that exists, or of one that
//! does not. What is timed is from the last octet of the client to the answer's line end; of SCRAM both answers. Welch's t says
//! whether the two means differ by more than chance: beyond 4.5 (the bound that dudect uses) they do. It is computed of all
//! times, and of those within the fastest nineteen in twenty, because a few slow ones hide a small difference.
//!
//! The server has to exempt the client from per-address limits (`limits.exempt_networks`), or it puts off each answer, and to let it
//! log in without TLS. It looks at each name [`FAILURES_EACH`] times and a few more (`office::attempts`), exempt or not: so many names
//! there have to be. A small `login.argon2_memory_kib` makes two thousand hashes affordable; the difference to look for
//! does not depend on it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Beyond this the means differ.
const T_MAX: f64 = 4.5;
/// Wrong passwords of one name, at most about so many: fewer than the server refuses to look at.
const FAILURES_EACH: usize = 35;
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of `timing`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where mail programs hand in mail.
    #[arg(long, value_name = "ADDRESS:PORT")]
    submission: Option<SocketAddr>,
    /// IMAP.
    #[arg(long, value_name = "ADDRESS:PORT")]
    imap: Option<SocketAddr>,
    /// POP3.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pop3: Option<SocketAddr>,
    /// Names that exist: `address password` lines, as `ringpost-loadtest accounts` writes them. Others are made from them.
    #[arg(long, value_name = "FILE")]
    accounts: PathBuf,
    /// Logins for each way to log in, both kinds together.
    #[arg(long, default_value_t = 2_000)]
    logins: usize,
    /// The order of names.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A way to log in.
#[derive(Clone, Copy, Debug)]
enum Way {
    SmtpPlain,
    SmtpScram,
    ImapLogin,
    ImapScram,
    Pop3Pass,
    Pop3Scram,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::SmtpPlain => "SMTP  AUTH PLAIN",
            Way::SmtpScram => "SMTP  AUTH SCRAM-SHA-256",
            Way::ImapLogin => "IMAP  LOGIN",
            Way::ImapScram => "IMAP  AUTHENTICATE SCRAM-SHA-256",
            Way::Pop3Pass => "POP3  USER, PASS",
            Way::Pop3Scram => "POP3  AUTH SCRAM-SHA-256",
        }
    }
}

/// Times of one answer, seconds: to unknown names and to known ones.
type Times = [Vec<f64>; 2];

/// Runs the measure. `Ok(true)`: nothing tells them apart.
///
/// # Errors
/// What stood in the way.
pub fn run(args: &Args) -> Result<bool, String> {
    let text = std::fs::read_to_string(&args.accounts).map_err(|e| format!("{}: {e}", args.accounts.display()))?;
    let known: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    if known.is_empty() {
        return Err(format!("{} names no account", args.accounts.display()));
    }
    let doors = [
        (args.submission, [Way::SmtpPlain, Way::SmtpScram]),
        (args.imap, [Way::ImapLogin, Way::ImapScram]),
        (args.pop3, [Way::Pop3Pass, Way::Pop3Scram]),
    ];
    let ways = 2 * doors.iter().filter(|(server, _)| server.is_some()).count();
    let needed = (args.logins * ways / 2).div_ceil(FAILURES_EACH);
    if known.len() < needed {
        return Err(format!(
            "{} accounts are too few: a name is not looked at for ever. {} logins each way need {needed} of them",
            known.len(),
            args.logins
        ));
    }
    let mut well = true;
    let mut chance = SmallRng::seed_from_u64(args.seed);
    println!("{:<34} {:>7} {:>12} {:>12} {:>7} {:>8}", "", "answer", "unknown", "known", "t", "t (95 %)");
    for (server, ways) in doors {
        let Some(server) = server else { continue };
        for way in ways {
            let answers = measure(args, way, server, &known, &mut chance)
                .map_err(|e| format!("{} at {server}: {e}", way.name()))?;
            for (at, times) in answers.iter().enumerate() {
                let (all, most) = (welch(times), welch(&fastest(times)));
                let bad = all.abs() > T_MAX || most.abs() > T_MAX;
                well &= !bad;
                let [unknown, is_known] = times.each_ref().map(|times| mean(times) * 1e6);
                println!(
                    "{:<34} {:>7} {unknown:>9.1} µs {is_known:>9.1} µs {all:>7.2} {most:>8.2}{}",
                    way.name(),
                    at + 1,
                    if bad { "  differ" } else { "" }
                );
            }
        }
    }
    Ok(well)
}

fn measure(
    args: &Args,
    way: Way,
    server: SocketAddr,
    known: &[&str],
    chance: &mut SmallRng,
) -> std::io::Result<Vec<Times>> {
    let mut answers: Vec<Times> = Vec::new();
    // A few before, so that what happens once is over.
    let warmup = args.logins / 20;
    for n in 0..warmup + args.logins {
        let exists = chance.random_bool(0.5);
        let (local, domain) = known[chance.random_range(0..known.len())].split_once('@').unwrap_or(("", ""));
        // Names of the same length, and none that a table of the server has seen before.
        let mark = if exists { None } else { Some(chance.random_range(0..1_000_000_u32)) };
        let name = match mark {
            None => format!("{local}@{domain}"),
            Some(mark) => {
                let marked = format!("{mark:06}{local}");
                format!("{}@{domain}", &marked[..local.len().max(3)])
            }
        };
        let took = login(way, server, &name, chance.random())?;
        if n < warmup {
            continue;
        }
        answers.resize_with(took.len().max(answers.len()), Times::default);
        for (answer, time) in answers.iter_mut().zip(took) {
            answer[usize::from(exists)].push(time.as_secs_f64());
        }
    }
    Ok(answers)
}

/// A login that fails; how long each answer took.
fn login(way: Way, server: SocketAddr, name: &str, nonce: u64) -> std::io::Result<Vec<Duration>> {
    let mut talk = Talk::with(server)?;
    let plain = STANDARD.encode(format!("\0{name}\0wrong-{nonce:016x}"));
    let first = STANDARD.encode(format!("n,,n={name},r={nonce:016x}"));
    match way {
        Way::SmtpPlain | Way::SmtpScram => {
            talk.hear("220")?;
            talk.say("EHLO client.test")?;
            while talk.hear("250")?.as_bytes().get(3) == Some(&b'-') {}
        }
        Way::ImapLogin | Way::ImapScram => drop(talk.hear("* OK")?),
        Way::Pop3Pass | Way::Pop3Scram => drop(talk.hear("+OK")?),
    }
    match way {
        Way::SmtpPlain => Ok(vec![talk.timed(&format!("AUTH PLAIN {plain}"), "535")?.0]),
        Way::ImapLogin => Ok(vec![talk.timed(&format!("a LOGIN \"{name}\" wrong-{nonce:016x}"), "a NO")?.0]),
        Way::Pop3Pass => {
            talk.say(&format!("USER {name}"))?;
            talk.hear("+OK")?;
            Ok(vec![talk.timed(&format!("PASS wrong-{nonce:016x}"), "-ERR [AUTH]")?.0])
        }
        Way::SmtpScram => talk.scram(&format!("AUTH SCRAM-SHA-256 {first}"), "334 ", "535"),
        Way::ImapScram => talk.scram(&format!("a AUTHENTICATE SCRAM-SHA-256 {first}"), "+ ", "a NO"),
        Way::Pop3Scram => {
            talk.say("AUTH SCRAM-SHA-256")?;
            talk.hear("+ ")?;
            talk.scram(&first, "+ ", "-ERR [AUTH]")
        }
    }
}

struct Talk {
    reader: BufReader<TcpStream>,
}

impl Talk {
    fn with(server: SocketAddr) -> std::io::Result<Talk> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Talk { reader: BufReader::new(stream) })
    }

    fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.reader.get_mut().write_all(format!("{line}\r\n").as_bytes())
    }

    fn hear(&mut self, expected: &str) -> std::io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        if line.starts_with(expected) {
            Ok(line)
        } else {
            Err(std::io::Error::other(format!("{expected}… expected: {line:?}")))
        }
    }

    fn timed(&mut self, line: &str, expected: &str) -> std::io::Result<(Duration, String)> {
        self.say(line)?;
        let began = Instant::now();
        let answer = self.hear(expected)?;
        Ok((began.elapsed(), answer))
    }

    /// Both answers of SCRAM, to a proof that is none.
    fn scram(&mut self, line: &str, challenge: &str, refusal: &str) -> std::io::Result<Vec<Duration>> {
        let (first, answer) = self.timed(line, challenge)?;
        let said = STANDARD.decode(answer[challenge.len()..].trim()).map_err(std::io::Error::other)?;
        let said = String::from_utf8(said).map_err(std::io::Error::other)?;
        let nonce = said.split(',').next().unwrap_or_default();
        let last = STANDARD.encode(format!("c=biws,{nonce},p={}", STANDARD.encode([7; 32])));
        Ok(vec![first, self.timed(&last, refusal)?.0])
    }
}

fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / times.len().max(1) as f64
}

/// Those within the fastest nineteen in twenty of both together.
fn fastest(times: &Times) -> Times {
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let most = all.get(all.len() * 19 / 20).copied().unwrap_or(f64::MAX);
    times.each_ref().map(|times| times.iter().copied().filter(|time| *time <= most).collect())
}

/// Welch's t of two samples.
fn welch(times: &Times) -> f64 {
    let [(mean_a, var_a), (mean_b, var_b)] = times.each_ref().map(|times| {
        let mean = mean(times);
        let var = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (times.len().max(2) - 1) as f64;
        (mean, var / times.len().max(1) as f64)
    });
    (mean_b - mean_a) / (var_a + var_b).sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_is_large_where_means_differ_and_small_where_chance_does() {
        let mut chance = SmallRng::seed_from_u64(7);
        let mut sample = |mean: f64| (0..1_000).map(|_| mean + chance.random_range(-0.1..0.1)).collect::<Vec<f64>>();
        assert!(welch(&[sample(1.0), sample(1.0)]).abs() < T_MAX);
        assert!(welch(&[sample(1.0), sample(1.05)]) > T_MAX);
        assert!(welch(&[sample(1.05), sample(1.0)]) < -T_MAX);
        // By hand: means 2 and 4, variances 1 and 4, three of each: 2 / sqrt(1/3 + 4/3).
        let t = welch(&[vec![1.0, 2.0, 3.0], vec![2.0, 4.0, 6.0]]);
        assert!((t - 2.0 / (5.0_f64 / 3.0).sqrt()).abs() < 1e-12, "{t}");
    }

    #[test]
    fn the_slowest_twentieth_is_left_out() {
        let times = [(1..=10).map(f64::from).collect(), (11..=20).map(f64::from).collect()];
        let kept = fastest(&times);
        assert_eq!((kept[0].len(), kept[1].len()), (10, 10));
        let times: Times = [vec![1.0; 99], vec![1.0, 1_000.0]];
        assert_eq!(fastest(&times)[1], [1.0]);
    }
}
