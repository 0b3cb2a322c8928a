//! Accounts as people see them: a mailbox's view, its letters, its name among others, and what is found in it.
//!
//! Above the volume, below the doors. What is shown is durable; what a session was told and what is true are kept apart
//! here, so that no client ever counts messages that moved under it.

pub mod anew;
pub mod letter;
pub mod names;
pub mod search;
pub mod slices;
pub mod uidls;
pub mod view;
