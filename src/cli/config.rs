//! `ringpost config`: look at the configuration file before a server does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{complain, say};
use crate::config::{self, Asked, Effective, Key, Mistakes, Value, show};

/// Check the configuration file, or show what is in force.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost config check                                      that of the data directory
  ringpost config check --config /etc/ringpost/ringpost.toml
  ringpost config show --effective > ringpost.toml           a file to begin with: every setting, explained")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Subcommand, Debug)]
enum ConfigVerb {
    /// Say all that is wrong with the configuration file, one mistake a line. Exit code 0: nothing; 1: something.
    #[command(after_help = "\
Examples:
  ringpost config check
  ringpost config check --data /var/lib/ringpost
  ringpost config check --config new.toml && mv new.toml /etc/ringpost/ringpost.toml

Mistakes are shown as FILE:LINE:COLUMN: what to do.")]
    Check {
        #[command(flatten)]
        from: From,
    },
    /// Show what the configuration file says, as a configuration file.
    #[command(after_help = "\
Examples:
  ringpost config show                                       what the file of the data directory says
  ringpost config show --effective                           every setting, its value, and where it comes from
  ringpost config show --effective --config /etc/ringpost/ringpost.toml")]
    Show {
        /// Show every setting with what it means, its value, and where that comes from (`default` or the file's line).
        #[arg(long)]
        effective: bool,
        #[command(flatten)]
        from: From,
    },
}

/// Whose configuration it is.
#[derive(Args, Debug)]
struct From {
    /// The configuration file [default: ringpost.toml in the data directory, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory [default: ringpost-data, or what the file says].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl From {
    fn asked(self) -> Asked {
        let mut asked = Asked { file: self.config, ..Asked::default() };
        asked.flag(Key::Data, "--data", self.data.map(Value::Path));
        asked
    }
}

pub(super) fn run(args: ConfigArgs) -> ExitCode {
    match args.verb {
        ConfigVerb::Check { from } => match settle(&from.asked()) {
            Ok(settings) => {
                say(&match &settings.file {
                    Some(file) => format!("{}: no mistakes\n", file.display()),
                    None => "no configuration file: every setting has its default\n".to_owned(),
                });
                ExitCode::SUCCESS
            }
            Err(code) => code,
        },
        ConfigVerb::Show { effective, from } => {
            let (settings, mistakes) = config::examine(&from.asked());
            if !mistakes.list.is_empty() {
                return show_mistakes(&mistakes);
            }
            say(&if effective { show::effective(&settings) } else { show::given(&settings) });
            ExitCode::SUCCESS
        }
    }
}

/// What is in force for a start; or all that is wrong has been said, and this is the exit code.
pub(super) fn settle(asked: &Asked) -> Result<Effective, ExitCode> {
    config::load(asked).map_err(|mistakes| show_mistakes(&mistakes))
}

/// Mistakes in a file stand alone on their lines, as compilers write them and editors read them.
fn show_mistakes(mistakes: &Mistakes) -> ExitCode {
    if mistakes.file.is_some() {
        eprintln!("{mistakes}");
    } else {
        mistakes.to_string().lines().for_each(complain);
    }
    ExitCode::FAILURE
}
