//! `ringpost serve`: run the server.

use clap::Args;

use crate::shard::StartError;

/// Run the server until Ctrl-C or SIGTERM.
#[derive(Args, Debug)]
pub struct ServeArgs {}

/// Runs it.
///
/// # Errors
/// Why it does not start.
pub fn run(_args: ServeArgs) -> Result<(), StartError> {
    Err(StartError::Setting("the server is not put together yet".to_owned()))
}
