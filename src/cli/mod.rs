//! The command line: one file per verb. Every `--help` shows examples; every error is a sentence that says what to do.
//!
//! Exit codes: 0 done, 1 refused or failed (a sentence on standard error), 2 wrong usage.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::observe::log::{self, Format};
use crate::shard;

mod access;
mod account;
mod account_rules;
mod alias;
mod config;
mod desk;
mod dns;
mod domain;
mod domain_rules;
mod job;
mod logins;
mod password;
mod route;
mod rules;
mod sendmail;
pub mod serve;
mod stats;
mod stop;
mod tls;
mod undelete;
mod volume;
mod store;

/// Ringpost, a thread-per-core mail gateway: SMTP in, POP3 and IMAP out, one log per core.
#[derive(Parser, Debug)]
#[command(
    name = "ringpost",
    version,
    after_help = "\
Examples:
  ringpost serve                                   a server on loopback, with two accounts to try
  ringpost domain add example.org                  while it runs or is stopped
  ringpost account add alice@example.org           makes a password and shows it once
  ringpost account list
  ringpost store import --account alice@example.org --maildir /home/alice/Maildir

`ringpost VERB --help` shows more of each."
)]
struct Cli {
    /// How log lines look on standard error [default: human].
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as warn,login=info
    /// [default: $RINGPOST_LOG, or what the configuration file says for serve, else info, and warn for the others].
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Serve(Box<serve::ServeArgs>),
    Domain(domain::DomainArgs),
    Account(account::AccountArgs),
    Alias(alias::AliasArgs),
    Group(alias::GroupArgs),
    Route(route::RouteArgs),
    Sendmail(sendmail::SendmailArgs),
    Ban(access::BanArgs),
    Unban(access::UnbanArgs),
    Bans(access::BansArgs),
    Access(access::AccessArgs),
    Who(logins::WhoArgs),
    Kick(logins::KickArgs),
    Volume(volume::VolumeArgs),
    Store(Box<store::StoreArgs>),
    Stats(stats::StatsArgs),
    Tls(tls::TlsArgs),
    Stop(stop::StopArgs),
    Config(config::ConfigArgs),
    Dns(dns::DnsArgs),
}

/// Whose data a verb is about.
#[derive(Args, Debug)]
struct At {
    /// The data directory: that of a running server, or of a stopped one.
    #[arg(long, value_name = "DIR", default_value = "ringpost-data")]
    data: PathBuf,
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let called = words.next().map(PathBuf::from);
    if called.as_ref().and_then(|path| path.file_name()).is_some_and(|name| name == "sendmail") {
        let args = words.map(|word| word.to_string_lossy().into_owned());
        return ExitCode::from(sendmail::run(sendmail::SendmailArgs::called_so(args)));
    }
    let Cli { log_format, log_level, verb } = Cli::parse();
    let level = log_level.or_else(|| std::env::var("RINGPOST_LOG").ok().filter(|l| !l.is_empty()));
    let log = |level: &str, format| match log::start(format, level) {
        Ok(log) => Ok(log),
        Err(why) => {
            complain(&why);
            Err(ExitCode::from(2))
        }
    };
    let format = log_format.map(|format| match format {
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
    });
    if let Verb::Serve(args) = verb {
        let settings = match config::settle(&args.asked()) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        // Before the log's thread starts: it would die of a signal that asks for an orderly stop.
        shard::hold_stop_signals();
        let level = level.unwrap_or_else(|| settings.log_level().to_owned());
        return match log(&level, format.unwrap_or_else(|| settings.log_format())) {
            Ok(log) => end(serve::run(&settings, &args).map_err(|why| why.to_string()), log),
            Err(code) => code,
        };
    }
    // What an operator's verb cannot do it says itself.
    let log = match log(level.as_deref().unwrap_or("warn,admin=off"), format.unwrap_or_default()) {
        Ok(log) => log,
        Err(code) => return code,
    };
    let done = match verb {
        Verb::Sendmail(args) => {
            drop(log);
            return ExitCode::from(sendmail::run(args));
        }
        Verb::Config(args) => {
            drop(log);
            return config::run(args);
        }
        Verb::Domain(args) => domain::run(args),
        Verb::Account(args) => account::run(args),
        Verb::Alias(args) => alias::run(args),
        Verb::Group(args) => alias::run_group(args),
        Verb::Route(args) => route::run(args),
        Verb::Ban(args) => access::ban(args),
        Verb::Unban(args) => access::unban(args),
        Verb::Bans(args) => access::bans(args),
        Verb::Access(args) => access::run(args),
        Verb::Who(args) => logins::who(args),
        Verb::Kick(args) => logins::kick(args),
        Verb::Volume(args) => volume::run(args),
        Verb::Store(args) => match store::run(*args) {
            Ok(code) => {
                drop(log);
                return code;
            }
            Err(why) => Err(why),
        },
        Verb::Stats(args) => stats::run(&args),
        Verb::Dns(args) => dns::run(args),
        Verb::Tls(args) => tls::run(args),
        Verb::Stop(args) => stop::run(&args),
        Verb::Serve(_) => unreachable!("served above"),
    };
    end(done, log)
}

/// Writes the last lines of the log, and then what went wrong.
fn end(done: Result<(), String>, log: log::Log) -> ExitCode {
    drop(log);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn complain(why: &str) {
    eprintln!("error: {why}");
}

/// Writes to standard output; whoever stopped reading has read enough.
fn say(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a value as JSON on one line.
fn say_json(value: &impl serde::Serialize) -> Result<(), String> {
    let text = serde_json::to_string(value).map_err(|why| why.to_string())?;
    say(&(text + "\n"));
    Ok(())
}
