//! The arguments of each command, one file per family. Each function begins at the space after the command's name and
//! leaves the end of the text to be checked by its caller.

pub mod append;
pub mod copy;
pub mod enable;
pub mod fetch;
pub mod flags;
pub mod id;
pub mod list;
pub mod login;
pub mod mailbox;
pub mod names;
pub mod search;
pub mod store;
