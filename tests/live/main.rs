//! Stories with the real binary, on loopback, with real files.

mod config;
mod house;
mod letter;
mod private;
mod start;
mod trouble;
mod web;
