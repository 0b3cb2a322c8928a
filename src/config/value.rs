//! What a setting's value may be, and the sentences for those that may not.

use std::path::PathBuf;

use toml::de::DeValue;

use crate::net::census::Cidr;

/// Networks in one list. More: refused. Each connection is held against them one by one.
pub const NETWORKS_MAX: usize = 1_000;
/// Names in one list. More: refused.
pub const NAMES_MAX: usize = 100;
/// Octets of one text. More: refused.
const TEXT_BYTES_MAX: usize = 4_096;

/// A setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// True or false.
    Switch(bool),
    /// A number in the setting's unit.
    Number(u64),
    /// Text.
    Text(String),
    /// A file or folder.
    Path(PathBuf),
    /// Networks.
    Networks(Vec<Cidr>),
    /// Names.
    Names(Vec<String>),
}

/// What may be written.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
        /// And which of these.
        fit: Fit,
    },
    /// Text that a function accepts; its error says what to write.
    Text(fn(&str) -> Result<(), String>),
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// A file or folder. In a file relative to the file's folder.
    Path,
    /// A list of networks.
    Networks,
    /// A list of names, each of which a function accepts; its error says what to write.
    Names(fn(&str) -> Result<(), String>),
}

/// Which numbers of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// All.
    Any,
    /// Powers of two.
    PowerOfTwo,
    /// Multiples of this.
    MultipleOf(u64),
}

impl Kind {
    /// Holds a value against the kind.
    ///
    /// # Errors
    /// What to write instead.
    pub fn check(self, value: &Value) -> Result<(), String> {
        match (self, value) {
            (Kind::Switch, Value::Switch(_)) => Ok(()),
            (Kind::Number { least, most, fit }, Value::Number(n)) => {
                let fits = match fit {
                    Fit::Any => true,
                    Fit::PowerOfTwo => n.is_power_of_two(),
                    Fit::MultipleOf(of) => n.is_multiple_of(of),
                };
                if fits && (least..=most).contains(n) { Ok(()) } else { Err(format!("choose {}", self.wanted())) }
            }
            (Kind::Text(_), Value::Text(t)) if t.len() > TEXT_BYTES_MAX || t.contains(char::is_control) => {
                Err(format!("write at most {TEXT_BYTES_MAX} octets, without control characters"))
            }
            (Kind::Text(accepts), Value::Text(t)) => accepts(t),
            (Kind::OneOf(words), Value::Text(t)) if words.contains(&t.as_str()) => Ok(()),
            (Kind::Path, Value::Path(p)) => {
                let name = p.as_os_str().as_encoded_bytes();
                let sound = !name.is_empty() && name.len() < TEXT_BYTES_MAX && !name.contains(&0);
                if sound { Ok(()) } else { Err("write the path of a file or folder".to_owned()) }
            }
            (Kind::Networks, Value::Networks(n)) if n.len() > NETWORKS_MAX => {
                Err(format!("{} networks are too many: write at most {NETWORKS_MAX}", n.len()))
            }
            (Kind::Networks, Value::Networks(_)) => Ok(()),
            (Kind::Names(_), Value::Names(n)) if n.len() > NAMES_MAX => {
                Err(format!("{} names are too many: write at most {NAMES_MAX}", n.len()))
            }
            (Kind::Names(accepts), Value::Names(n)) => n.iter().try_for_each(|name| accepts(name)),
            _ => Err(format!("choose {}", self.wanted())),
        }
    }

    /// What is wanted, as in "choose …".
    #[must_use]
    pub fn wanted(self) -> String {
        match self {
            Kind::Switch => "true or false".to_owned(),
            Kind::Number { least, most, fit } => match fit {
                Fit::Any => format!("a whole number from {least} to {most}"),
                Fit::PowerOfTwo => format!("a power of two from {least} to {most}"),
                Fit::MultipleOf(of) => format!("a multiple of {of} from {least} to {most}"),
            },
            Kind::Text(_) => "text in quotes".to_owned(),
            Kind::OneOf(words) => words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "),
            Kind::Path => "the path of a file or folder, in quotes".to_owned(),
            Kind::Names(_) => "a list of names, as [\"mx.example.org\"]".to_owned(),
            Kind::Networks => "a list of networks, as [\"192.0.2.0/24\", \"2001:db8::/32\"]".to_owned(),
        }
    }

    /// Reads what a file says. Each error is a byte range of the file (`None`: the whole value) and a sentence.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read(self, value: &DeValue<'_>) -> Result<Value, Vec<Wrong>> {
        let whole = |why: String| vec![Wrong { span: None, why }];
        let read = match (self, value) {
            (Kind::Switch, DeValue::Boolean(b)) => Value::Switch(*b),
            (Kind::Number { .. }, DeValue::Integer(i)) => match u64::from_str_radix(i.as_str(), i.radix()) {
                Ok(n) => Value::Number(n),
                // Negative, or beyond 64 bits.
                Err(_) => return Err(whole(format!("choose {}", self.wanted()))),
            },
            (Kind::Text(_) | Kind::OneOf(_), DeValue::String(s)) => Value::Text(s.to_string()),
            (Kind::Path, DeValue::String(s)) => Value::Path(s.as_ref().into()),
            (Kind::Networks, DeValue::Array(list)) => {
                let mut networks = Vec::new();
                let mut wrong = Vec::new();
                for entry in list.iter() {
                    let read = match entry.get_ref() {
                        DeValue::String(s) => s.parse(),
                        other => Err(format!("a network is text in quotes, not {}", named(other))),
                    };
                    match read {
                        Ok(network) => networks.push(network),
                        Err(why) => wrong.push(Wrong { span: Some(entry.span()), why }),
                    }
                }
                if !wrong.is_empty() {
                    return Err(wrong);
                }
                Value::Networks(networks)
            }
            (Kind::Names(accepts), DeValue::Array(list)) => {
                let mut names = Vec::new();
                let mut wrong = Vec::new();
                for entry in list.iter() {
                    let read = match entry.get_ref() {
                        DeValue::String(name) => accepts(name).map(|()| name.to_string()),
                        other => Err(format!("a name is text in quotes, not {}", named(other))),
                    };
                    match read {
                        Ok(name) => names.push(name),
                        Err(why) => wrong.push(Wrong { span: Some(entry.span()), why }),
                    }
                }
                if !wrong.is_empty() {
                    return Err(wrong);
                }
                Value::Names(names)
            }
            (_, other) => return Err(whole(format!("this is {}: write {}", named(other), self.wanted()))),
        };
        self.check(&read).map_err(whole)?;
        Ok(read)
    }
}

/// A mistake in a value.
pub struct Wrong {
    /// Where in the file, octets; `None`: the whole value.
    pub span: Option<std::ops::Range<usize>>,
    /// What to do.
    pub why: String,
}

/// A TOML value's type, with its article.
pub fn named(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// As it is written in a file.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Switch(b) => write!(f, "{b}"),
            Value::Number(n) => write!(f, "{n}"),
            Value::Text(t) => write!(f, "{}", quoted(t)),
            Value::Path(p) => write!(f, "{}", quoted(&p.to_string_lossy())),
            Value::Networks(list) => {
                let list: Vec<_> = list.iter().map(|n| quoted(&n.to_string())).collect();
                write!(f, "[{}]", list.join(", "))
            }
            Value::Names(list) => {
                let list: Vec<_> = list.iter().map(|n| quoted(n)).collect();
                write!(f, "[{}]", list.join(", "))
            }
        }
    }
}

/// Text as TOML writes it.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
