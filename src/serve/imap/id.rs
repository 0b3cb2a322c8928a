//! ID: who the client says it is, and who we are (RFC 2971).

use super::{Done, Door};
use crate::net::wire::Wire;
use crate::proto::imap::{Answer, IdField, response};

/// What we say of ourselves.
const WE_ARE: [(&str, &str); 2] = [("name", "Ringpost"), ("version", env!("CARGO_PKG_VERSION"))];
/// Octets of a client's words in the log; more are cut off.
const LOGGED_BYTES_MAX: usize = 200;

impl Door {
    pub(super) async fn id(&mut self, fields: &[IdField], wire: &mut Wire) -> Done {
        if !fields.is_empty() {
            let account = self.who.as_ref().map_or("-", |who| &who.name);
            tracing::debug!(target: "imap", account, peer = %wire.peer(), client = logged(fields), "client");
        }
        response::id(wire.queue(), &WE_ARE);
        wire.relieve().await?;
        Ok(Answer::Done)
    }
}

/// A client's words, safe in a line of the log.
fn logged(fields: &[IdField]) -> String {
    let mut text = String::new();
    for IdField { name, value } in fields.iter().filter(|f| !f.value.is_empty()) {
        let separator = if text.is_empty() { "" } else { "; " };
        text += &format!("{separator}{}={}", name.escape_debug(), value.escape_debug());
        if text.len() > LOGGED_BYTES_MAX {
            text.truncate(text.floor_char_boundary(LOGGED_BYTES_MAX));
            return text + "…";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a131_what_clients_say_is_one_short_line_of_plain_text() {
        let field = |name: &str, value: &str| IdField { name: name.into(), value: value.into() };
        assert_eq!(
            logged(&[field("name", "x\r\nERROR \x1b[2J"), field("os", ""), field("v", "ä")]),
            "name=x\\r\\nERROR \\u{1b}[2J; v=ä"
        );
        let long = logged(&[field("name", &"ä".repeat(500)), field("version", "1")]);
        assert!(long.len() <= LOGGED_BYTES_MAX + "…".len() && long.ends_with('…'), "{long}");
    }
}
