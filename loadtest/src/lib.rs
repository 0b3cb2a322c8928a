//! Ringpost's load generator: it sends mail as a crowd of clients would, reads all of it back, and says
//! what the server spent on it.
//!
//! **It shares nothing with the server.** The clients here were written from the RFCs, apart from
//! `src/proto`, so that one misreading of a standard cannot be made twice and go unseen. They are strict:
//! a reply that is not exactly what the RFC allows is a failure, and the dialogue is printed.
//!
//! Reading order: what is sent ([`letter`], which may be a `mix`, [`accounts`]), how it is said ([`tls`], [`wire`], [`smtp`], [`pop3`],
//! [`imap`]), what is remembered ([`ledger`]), what is measured ([`gauge`]), the crowd ([`load`], its connections are each a
//! [`channel`]; [`flood`], where each letter comes over its own; [`arrivals`] says when), and the commands.

pub mod accounts;
pub mod letter;
mod mix;

pub mod imap;
pub mod pop3;
pub mod smtp;
pub mod tls;
pub mod wire;

pub mod ledger;
pub mod readback;

pub mod arrivals;
pub mod channel;
pub mod gauge;
pub mod load;
pub mod flood;
pub mod report;
pub mod subject;

pub mod accept;
pub mod overload;
pub mod figures;
pub mod timing;
pub mod kill;
pub mod slow;

pub mod ended;

pub mod broken;
pub mod cut;
pub mod full;

#[cfg(test)]
mod fake;
