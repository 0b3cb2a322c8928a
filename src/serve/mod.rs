//! (room to be furnished)

pub mod pop3;
