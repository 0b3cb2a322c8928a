//! Values of an IMAP reply (RFC 9051 §9): atoms, quoted strings, literals, NIL and lists.

/// Lists inside lists accepted in a reply. Deeper: not understood.
const NESTING_MAX: usize = 32;

/// A stretch of a reply: text up to a literal's announcement, or the literal.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    Text(Vec<u8>),
    Literal(Vec<u8>),
}

/// One value of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Unquoted, `BODY[…]` with its brackets included.
    Atom(String),
    /// A quoted string or a literal.
    Text(Vec<u8>),
    Nil,
    List(Vec<Value>),
}

impl Value {
    /// The atom's text.
    #[must_use]
    pub fn atom(&self) -> Option<&str> {
        match self {
            Value::Atom(text) => Some(text),
            _ => None,
        }
    }
}

/// The octets announced at the end of `line`: `{n}`.
#[must_use]
pub fn literal_bytes(line: &[u8]) -> Option<usize> {
    let open = memchr::memrchr(b'{', line)?;
    let digits = line[open + 1..].strip_suffix(b"}")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The one value that `parts` hold after the first `skip` bytes. `None`: anything else.
#[must_use]
pub fn values(parts: &[Part], skip: usize) -> Option<Value> {
    let mut reader = Reader { parts, part: 0, at: skip };
    let value = reader.value(0)?;
    reader.at_end().then_some(value)
}

struct Reader<'a> {
    parts: &'a [Part],
    part: usize,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        match self.parts.get(self.part)? {
            Part::Text(text) => text.get(self.at).copied(),
            Part::Literal(_) => None,
        }
    }

    fn at_end(&self) -> bool {
        self.part + 1 == self.parts.len() && self.peek().is_none()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.peek()? {
            b'(' if depth < NESTING_MAX => self.list(depth),
            b'"' => self.quoted(),
            b'{' => self.literal(),
            _ => self.atom(),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            match self.peek()? {
                b')' => {
                    self.at += 1;
                    return Some(Value::List(values));
                }
                b' ' if !values.is_empty() => self.at += 1,
                _ => values.push(self.value(depth + 1)?),
            }
        }
    }

    fn quoted(&mut self) -> Option<Value> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Some(Value::Text(text)),
                b'\\' => {
                    text.push(self.peek()?);
                    self.at += 1;
                }
                _ => text.push(byte),
            }
        }
    }

    fn literal(&mut self) -> Option<Value> {
        // The announcement is the end of its part: `response` cut it there.
        let Some(Part::Literal(bytes)) = self.parts.get(self.part + 1) else { return None };
        let Some(Part::Text(text)) = self.parts.get(self.part) else { return None };
        literal_bytes(&text[self.at..])?;
        self.part += 2;
        self.at = 0;
        Some(Value::Text(bytes.clone()))
    }

    fn atom(&mut self) -> Option<Value> {
        let mut text = Vec::new();
        let mut bracket = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' => bracket = true,
                b']' => bracket = false,
                b' ' | b'(' | b')' if !bracket => break,
                b'"' | b'{' => return None,
                _ => {}
            }
            text.push(byte);
            self.at += 1;
        }
        let text = String::from_utf8(text).ok().filter(|t| !t.is_empty())?;
        Some(if text.eq_ignore_ascii_case("NIL") { Value::Nil } else { Value::Atom(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(text: &str) -> Value {
        Value::Atom(text.into())
    }

    #[test]
    fn a_list_of_all_kinds_is_read() {
        let parts = [
            Part::Text(b"x (UID 1 FLAGS (\\A \\B) N NIL Q \"a\\\"b\" BODY[HEADER.FIELDS (TO)] {3}".to_vec()),
            Part::Literal(b")\r\n".to_vec()),
            Part::Text(b" Z 2)".to_vec()),
        ];
        let flags = Value::List(vec![atom("\\A"), atom("\\B")]);
        let want = vec![
            atom("UID"),
            atom("1"),
            atom("FLAGS"),
            flags,
            atom("N"),
            Value::Nil,
            atom("Q"),
            Value::Text(b"a\"b".to_vec()),
            atom("BODY[HEADER.FIELDS (TO)]"),
            Value::Text(b")\r\n".to_vec()),
            atom("Z"),
            atom("2"),
        ];
        assert_eq!(values(&parts, 2), Some(Value::List(want)));
    }

    #[test]
    fn unbalanced_trailing_or_too_deep_is_not_understood() {
        for bad in ["(", "(a", "(a))", "(a) b", "", "(\"a)", "(a{3)"] {
            assert_eq!(values(&[Part::Text(bad.into())], 0), None, "{bad}");
        }
        let deep = "(".repeat(NESTING_MAX + 2) + &")".repeat(NESTING_MAX + 2);
        assert_eq!(values(&[Part::Text(deep.into())], 0), None);
    }

    #[test]
    fn only_a_whole_announcement_at_the_end_is_a_literal() {
        assert_eq!(literal_bytes(b"x {12}"), Some(12));
        for other in ["x {12} ", "x {}", "x {-1}", "x {1+}", "x"] {
            assert_eq!(literal_bytes(other.as_bytes()), None, "{other}");
        }
    }
}
