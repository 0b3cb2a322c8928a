//! `ringpost-loadtest`: see `README.md` beside this crate, or `--help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringpost_loadtest::ended::{Ended, SKIPPED};
use ringpost_loadtest::{accept, accounts, broken, cut, figures, full, kill, overload, slow, timing};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load generator for mail servers, with its own SMTP, POP3 and IMAP clients.
#[derive(Parser)]
#[command(name = "ringpost-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures SMTP into the mailbox: rate, latency, server CPU, syncs; then reads everything back.
    Accept(Box<accept::Args>),
    /// Writes a file of accounts for `ringpost account add --from-file`.
    Accounts(accounts::Args),
    /// Measures all that is promised of receiving, with servers that it starts, and prints it beside what was promised.
    Figures(Box<figures::every::Args>),
    /// Measures the process memory of an idle logged-in IMAP connection.
    Idle(Box<figures::idle::Args>),
    /// Measures the server's CPU for a login and a SELECT over IMAP.
    Login(Box<figures::login::Args>),
    /// Measures how long a logged-in connection takes to the shard of its account.
    Handoff(Box<figures::handoff::Args>),
    /// Measures TLS handshakes: rate and server CPU, full and resumed.
    Handshake(Box<figures::handshake::Args>),
    /// Offers many times what the server can do, and measures what is left of its work.
    Overload(Box<overload::Args>),
    /// Measures what honest senders notice of crowds that are slow on purpose.
    Slow(Box<slow::Args>),
    /// Says whether the time of an answer tells which names exist.
    Timing(timing::Args),
    /// Kills the server under load again and again and holds it to what it acknowledged.
    Kill(Box<kill::Args>),
    /// Cuts the power under load again and again: what the disk was not told to flush is lost. For root.
    Cut(Box<cut::Args>),
    /// Lets the disk of one volume fail under load: the other goes on. For root.
    Broken(Box<broken::Args>),
    /// Fills a small disk, kills the server, goes on, and makes room again. For root.
    Full(Box<full::Args>),
}

fn main() -> ExitCode {
    // A crowd is thousands of files, and the soft limit is seldom more than one.
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    let outcome = match Cli::parse().command {
        Command::Accept(args) => accept::run(&args).map(Ended::of),
        Command::Accounts(args) => accounts::run(&args).map(|()| Ended::Well).map_err(|e| e.to_string()),
        Command::Figures(args) => figures::every::run(&args).map(Ended::of),
        Command::Idle(args) => figures::idle::run(&args).map(Ended::of),
        Command::Login(args) => figures::login::run(&args).map(Ended::of),
        Command::Handoff(args) => figures::handoff::run(&args).map(Ended::of),
        Command::Handshake(args) => figures::handshake::run(&args).map(Ended::of),
        Command::Overload(args) => overload::run(&args).map(Ended::of),
        Command::Slow(args) => slow::run(&args).map(Ended::of),
        Command::Timing(args) => timing::run(&args).map(Ended::of),
        Command::Kill(args) => kill::run(&args).map(Ended::of),
        Command::Cut(args) => cut::run(&args),
        Command::Broken(args) => broken::run(&args),
        Command::Full(args) => full::run(&args),
    };
    match outcome {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Broken) => ExitCode::from(1),
        Ok(Ended::Skipped) => ExitCode::from(SKIPPED),
        Err(reason) => {
            eprintln!("ringpost-loadtest: {reason}");
            ExitCode::from(2)
        }
    }
}
