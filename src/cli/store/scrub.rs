//! `ringpost store scrub`: everything is read now, while the server runs.

use std::io::IsTerminal as _;
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::{At, desk, say};
use crate::admin::{Request, Response};
use crate::office::tools::VolumeSpace;

/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Read all that is in use and hold it against its checksums, while the server runs.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost store scrub                      begins one, or goes on with one, and waits for its end
  ringpost store scrub --no-wait            the same, and leaves it to itself
  ringpost stats | grep scrub

A running server does this by itself every `store.scrub_period_s`, at `store.scrub_rate` octets a second. What is damaged
is said in its log, once, and counted in volume_scrub_errors_total. `ringpost store check` names the messages, of a stopped
store or a backup.

Exit code: 0 nothing new was found, or it was not waited for; 1 something was, or it could not be done.")]
pub(super) struct ScrubArgs {
    /// Do not wait for its end.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: &ScrubArgs) -> Result<(), String> {
    let Some(mut session) = desk::running(&args.at.data)? else {
        let data = args.at.data.display();
        return Err(format!("no server is running on {data}: look at a stopped store with `ringpost store check`"));
    };
    let mut ask = |request| match session.ask(&request, &[])? {
        (Response::Volumes { volumes }, _) => Ok::<Vec<VolumeSpace>, String>(volumes),
        (other, _) => Err(desk::strange(&other)),
    };
    let before = ask(Request::StoreStat {})?;
    ask(Request::StoreScrub {})?;
    if args.no_wait {
        say("a scrub is on its way\n");
        return Ok(());
    }
    let bar = std::io::stderr().is_terminal().then(bar);
    let passes = |of: &[VolumeSpace]| of.iter().map(|of| of.scrub_passes).collect::<Vec<_>>();
    let errors = |of: &[VolumeSpace]| of.iter().map(|of| of.scrub_errors).sum::<u64>();
    loop {
        let now = ask(Request::StoreStat {})?;
        if let Some(bar) = &bar {
            bar.set_length(now.iter().map(|of| u64::from(of.last_segment)).sum());
            bar.set_position(now.iter().map(|of| u64::from(of.scrub_next.unwrap_or(0))).sum());
        }
        // A volume that was made meanwhile is none of ours.
        if passes(&now).iter().zip(passes(&before)).all(|(now, before)| *now > before) {
            bar.iter().for_each(ProgressBar::finish_and_clear);
            return match errors(&now) - errors(&before) {
                0 => {
                    say("scrubbed: nothing is damaged that was not known\n");
                    Ok(())
                }
                found => Err(format!("{found} damaged places were found; the server's log says where")),
            };
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("scrub {wide_bar} {pos}/{len} segments, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
