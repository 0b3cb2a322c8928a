//! The letter, as pure functions of bytes: addresses, dates, trace fields, the header walk, its structure and what it says.
//!
//! Nothing here knows a protocol, a socket, a clock or a disk. What comes from outside is parsed once into a
//! type that cannot hold a wrong value; what goes out is written so that nothing can be injected.

pub mod address;
pub mod date;
pub mod header;
pub mod trace;

pub mod content;
pub mod envelope;
pub mod mime;
pub mod section;
pub mod structure;
pub mod summary;
pub mod words;
