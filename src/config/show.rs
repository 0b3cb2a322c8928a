//! A configuration as text that is itself a configuration file.

use std::fmt::Write;
use std::path::absolute;

use super::effective::Effective;
use super::keys::{KEYS, Key};
use super::listener::Listener;
use super::mistake::{Place, Source};
use super::value::{Kind, Value, quoted};
use crate::limits;
use crate::serve::Rules;
use crate::shard::Place as At;

/// Octets of a line of comment.
const COMMENT_COLUMNS: usize = 100;

/// What the file says, without comments; paths made absolute, so that the text means the same wherever it is put.
#[must_use]
pub fn given(settings: &Effective) -> String {
    let mut text = match &settings.file {
        Some(file) => format!("# What {} says.\n", plain(&file.display().to_string())),
        None => {
            "# There is no configuration file: every setting has its default (--effective shows them).\n".to_owned()
        }
    };
    write_settings(&mut text, settings, false);
    text
}

/// Every setting with what it means, its value, and where that comes from.
#[must_use]
pub fn effective(settings: &Effective) -> String {
    let mut text = "# Every setting of Ringpost, and behind each where its value comes from.\n".to_owned();
    write_settings(&mut text, settings, true);
    text
}

fn write_settings(text: &mut String, settings: &Effective, all: bool) {
    let mut table = "";
    for row in &KEYS {
        let (value, source) = (settings.value(row.key), settings.source(row.key));
        if !all && *source == Source::Default {
            continue;
        }
        let (group, name) = row.split();
        if group != table {
            table = group;
            *text += &format!("\n[{group}]\n");
        }
        if all {
            if !text.ends_with("]\n") {
                text.push('\n');
            }
            comment(text, row.about);
            if matches!(row.kind, Kind::Number { .. } | Kind::OneOf(_) | Kind::Switch) {
                comment(text, &format!("Choose {}.", row.kind.wanted()));
            }
        }
        let value = match value {
            Value::Path(path) => Value::Path(absolute(path).unwrap_or_else(|_| path.clone())),
            other => other.clone(),
        };
        let origin = if all { format!("  # {}", origin(settings, source)) } else { String::new() };
        // What the list of certificates stands in for is not to be taken for a wish when this is read again.
        let unused = matches!(row.key, Key::TlsCert | Key::TlsKey) && settings.first_tls().is_none();
        let out = if unused { "# " } else { "" };
        *text += &format!("{out}{name} = {value}{origin}\n");
    }
    if all {
        text.push('\n');
        comment(text, "Doors to open, on every shard. Without any: every service on loopback.");
        comment(text, "optional: a host without this address does without this door.");
        comment(
            text,
            "address: where; \"unix:/path\" is a Unix socket, for lmtp, smtp or sendmail, and mode says who may connect (\"0600\").",
        );
        comment(
            text,
            "tls: \"none\"; \"starttls\": who wants to begins it; \"required\": no mail and no password before it; \"implicit\": it comes first.",
        );
        comment(text, "connections_max: connections of this door on each shard. More are told to come back.");
        comment(
            text,
            "proxy_from: networks of your balancers, which say in front of each connection whose it is (PROXY protocol, version 1 or 2). \
             Their connections without that are closed; a header from elsewhere is no command.",
        );
        comment(
            text,
            "xclient_from: networks of neighbours that hand connections on and say whose they are (XCLIENT): smtp, submission, lmtp.",
        );
        comment(
            text,
            "hide_starttls_from: networks that are offered no STARTTLS, because they ask for it and fail. A table of broken peers.",
        );
        comment(text, "mechanisms: those of SASL that are offered here, where they are others than login.mechanisms.");
    }
    if all {
        text.push('\n');
        comment(
            text,
            "Certificates beside the first, for other names or for other kinds of keys (ECDSA, RSA): [[certificate]].",
        );
        comment(text, "Without tls.cert the first of them is shown to whoever asks for no name that is known.");
    }
    for certificate in &settings.certificates {
        let origin = all.then(|| origin(settings, &certificate.from));
        let origin = origin.map(|o| format!("  # {o}")).unwrap_or_default();
        let path = |path: &std::path::Path| Value::Path(absolute(path).unwrap_or_else(|_| path.to_path_buf()));
        *text += &format!("\n[[certificate]]{origin}\n");
        *text += &format!("cert = {}\n", path(&certificate.paths.cert));
        *text += &format!("key = {}\n", path(&certificate.paths.key));
    }
    for listener in settings.listeners.iter().filter(|l| all || l.from != Source::Default) {
        write_listener(text, listener, all.then(|| origin(settings, &listener.from)));
    }
}

fn write_listener(text: &mut String, listener: &Listener, origin: Option<String>) {
    let origin = origin.map(|o| format!("  # {o}")).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n[[listener]]{origin}");
    let _ = writeln!(text, "service = {}", quoted(listener.service.word()));
    let _ = writeln!(text, "address = {}", quoted(&listener.address.to_string()));
    if listener.optional {
        *text += "optional = true\n";
    }
    let Rules { tls, connections_max, proxy_from, xclient_from, hide_starttls_from, mechanisms } = &listener.rules;
    if let At::Local { mode, .. } = &listener.address {
        let _ = writeln!(text, "mode = \"{mode:04o}\"");
    } else {
        let _ = writeln!(text, "tls = {}", quoted(tls.word()));
    }
    if *connections_max < limits::CONNECTIONS_MAX {
        let _ = writeln!(text, "connections_max = {connections_max}");
    }
    let lists =
        [("proxy_from", proxy_from), ("xclient_from", xclient_from), ("hide_starttls_from", hide_starttls_from)];
    for (name, list) in lists {
        if !list.is_empty() {
            let _ = writeln!(text, "{name} = {}", Value::Networks(list.clone()));
        }
    }
    if let Some(mechanisms) = mechanisms {
        let _ = writeln!(text, "mechanisms = {}", Value::Names(mechanisms.names().map(str::to_owned).collect()));
    }
    if listener.wide {
        *text += "i_understand_networks_are_wide = true\n";
    }
}

fn origin(settings: &Effective, source: &Source) -> String {
    match (source, &settings.file) {
        (Source::File(Place { line, .. }), Some(file)) => format!("{}:{line}", plain(&file.display().to_string())),
        (Source::Flag(flag), _) => (*flag).to_owned(),
        _ => "default".to_owned(),
    }
}

/// A file's name may hold what ends a comment.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn comment(text: &mut String, about: &str) {
    let mut line = String::from("#");
    for word in about.split_whitespace() {
        if line.len() + word.len() >= COMMENT_COLUMNS {
            *text += &line;
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line += word;
    }
    *text += &line;
    text.push('\n');
}
