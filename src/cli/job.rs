//! Work in the background, from its beginning to its end: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal as _;
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::desk::{self, Session};
use crate::admin::{Request, Response};
use crate::office::jobs::{Job, State};

/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Asks for something that takes long and waits until it has ended.
pub(super) fn follow(session: &mut Session, request: &Request) -> Result<(), String> {
    let number = match session.ask(request, &[])?.0 {
        Response::Begun { job } => job,
        other => return Err(desk::strange(&other)),
    };
    let bar = std::io::stderr().is_terminal().then(bar);
    loop {
        let job = look(session, number)?;
        if let Some(bar) = &bar {
            bar.set_length(job.total);
            bar.set_position(job.done);
            bar.set_prefix(job.what.clone());
        }
        match job.state {
            State::Running => thread::sleep(LOOK_EVERY),
            State::Done => return Ok(()),
            State::Failed(why) => return Err(why),
        }
    }
}

fn look(session: &mut Session, number: u64) -> Result<Job, String> {
    match session.ask(&Request::Jobs {}, &[])?.0 {
        Response::Jobs { jobs } => jobs.into_iter().find(|job| job.id == number).ok_or_else(|| {
            "the server does not remember the job: `ringpost volume list` shows what became of it".to_owned()
        }),
        other => Err(desk::strange(&other)),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
