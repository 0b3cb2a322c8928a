//! (room to be furnished)

use std::path::Path;

use crate::admin;
use crate::shard::StartError;

/// Carries out one admin request on a data directory whose server is stopped.
///
/// # Errors
/// Why the store cannot be opened.
pub fn offline(_data: &Path, _request: admin::Request) -> Result<admin::Response, StartError> {
    Err(StartError::Setting("the store cannot be opened yet".to_owned()))
}
