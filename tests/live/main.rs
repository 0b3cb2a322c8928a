//! Stories with the real binary, on loopback, with real files.

mod archive;
mod certificates;
mod config;
mod crossing;
mod deaf;
mod filters;
mod house;
mod keeping;
mod large;
mod letter;
mod listeners;
mod lmtp;
mod load;
mod logins;
mod private;
mod refused;
mod rename;
mod routing;
mod safe;
mod smuggling;
mod start;
mod trouble;
mod undelete;
mod volumes;
mod web;
