//! The IMAP door (its builder replaces this file).
use crate::office::{Office, Visitor};
use crate::shard::Stream;
use std::rc::Rc;
pub async fn serve(_office: Rc<Office>, _stream: Stream) {}
pub async fn visit(_office: Rc<Office>, _v: Visitor) {}
