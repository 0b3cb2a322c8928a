//! (stub: being built)

/// The conversation.
pub struct Session;
