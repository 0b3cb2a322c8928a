//! (room to be furnished)

pub mod admin;
pub mod pop3;
