//! What no single setting shows: settings that do not go together, and those that are dangerous (A193).
//!
//! A danger is refused at the start. Where somebody may really mean it, the sentence names a key `i_understand_…`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::TlsPaths;
use super::effective::Effective;
use super::keys::Key;
use super::mistake::{Mistake, Source};
use crate::admin;
use crate::net::tls::Identity;
use crate::serve::Service;

/// Octets of a segment beside a message: trace fields, directory, headers.
const SEGMENT_SLACK_BYTES: u64 = 2 << 20;

/// Holds the settings against one another.
pub fn values(settings: &Effective, mistakes: &mut Vec<Mistake>) {
    let mut wrong = |at: &Source, why: String| mistakes.push(Mistake { at: at.clone(), why });
    for (list, understood) in [(Key::ExemptNetworks, Key::ExemptWide), (Key::PlaintextNetworks, Key::PlaintextWide)] {
        for network in settings.networks(list).iter().filter(|n| n.is_wide() && !settings.switch(understood)) {
            wrong(
                settings.source(list),
                format!(
                    "{}: {network} is half the world: name your own networks, at most /8 or /32 (IPv6), or set {} = true",
                    list.path(),
                    understood.path()
                ),
            );
        }
    }
    let mut taken = BTreeMap::new();
    for listener in &settings.listeners {
        let word = listener.service.word();
        match settings.address(listener) {
            None => {
                let most = settings.listeners.iter().map(|l| u16::MAX - l.address.port()).min().unwrap_or(0);
                wrong(
                    settings.source(Key::PortOffset),
                    format!(
                        "{} {} moves the {word} port {} beyond 65535: choose at most {most}",
                        Key::PortOffset.path(),
                        settings.number(Key::PortOffset),
                        listener.address.port(),
                    ),
                );
            }
            Some(at) => {
                if let Some(other) = taken.insert(at, listener.service) {
                    wrong(
                        &listener.from,
                        format!("listener: {at} is given to {} already: choose another address or port", other.word()),
                    );
                }
            }
        }
        let public = !listener.address.ip().is_loopback();
        if listener.service == Service::Http && public && !settings.switch(Key::HttpPublic) {
            wrong(
                &listener.from,
                format!(
                    "listener: http asks nobody for a password: open it on loopback instead of {}, or set {} = true",
                    listener.address,
                    Key::HttpPublic.path()
                ),
            );
        }
    }
    for (one, other) in [(Key::TlsCert, Key::TlsKey), (Key::TlsKey, Key::TlsCert)] {
        if *settings.source(one) != Source::Default && *settings.source(other) == Source::Default {
            wrong(settings.source(one), format!("{} goes with {}: set both", one.path(), other.path()));
        }
    }
    let need = settings.number(Key::MessageBytesMax) + SEGMENT_SLACK_BYTES;
    if settings.number(Key::SegmentBytes) < need {
        wrong(
            settings.source(Key::SegmentBytes),
            format!(
                "{}: a message must fit one: choose at least {}, or a smaller {}",
                Key::SegmentBytes.path(),
                need.next_multiple_of(ringpost_storage::SEGMENT_BYTES_MIN),
                Key::MessageBytesMax.path()
            ),
        );
    }
}

/// Looks at the files and folders that the settings name: whether they are there, fit one another, and who else may
/// touch them.
pub fn files(settings: &Effective, mistakes: &mut Vec<Mistake>) {
    let data = settings.path(Key::Data);
    if let Some(file) = &settings.file
        && fs::metadata(file).is_ok_and(|there| there.mode() & 0o002 != 0)
    {
        let why = format!("everybody may write into {0}: take that away with `chmod o-w {0}`", file.display());
        mistakes.push(Mistake { at: Source::Default, why });
    }
    let mut wrong = |key: Key, why: String| {
        mistakes.push(Mistake { at: settings.source(key).clone(), why: format!("{}: {why}", key.path()) });
    };
    let octets = data.as_os_str().len();
    let most = admin::SOCKET_PATH_BYTES_MAX - admin::SOCKET.len() - 1;
    if octets > most {
        wrong(
            Key::Data,
            format!(
                "{} has {octets} octets, too many for the socket in it: choose a path of at most {most}",
                data.display()
            ),
        );
    }
    match fs::metadata(data) {
        Ok(there) if !there.is_dir() => {
            wrong(Key::Data, format!("{} is not a directory: name one with --data DIR", data.display()));
        }
        Ok(there) if there.mode() & 0o022 != 0 => {
            wrong(
                Key::Data,
                format!("other users may write into {0}: take that away with `chmod go-w {0}`", data.display()),
            );
        }
        _ => {}
    }
    let own = settings.tls().are_own(data);
    let mut readable = true;
    for key in [Key::TlsCert, Key::TlsKey] {
        let path = settings.path(key);
        match fs::metadata(path) {
            Ok(there) if !there.is_file() => {
                readable = false;
                wrong(key, format!("{} is not a plain file: name a PEM file", path.display()));
            }
            Ok(there) if key == Key::TlsKey && there.mode() & 0o007 != 0 => {
                wrong(
                    key,
                    format!("everybody may read or change {0}: take that away with `chmod o= {0}`", path.display()),
                );
            }
            Ok(_) => {}
            // The first start makes both.
            Err(why) if why.kind() == io::ErrorKind::NotFound && own && is_unused(path.parent()) => readable = false,
            Err(why) => {
                readable = false;
                wrong(key, format!("{}: {why}: name a PEM file that Ringpost may read", path.display()));
            }
        }
    }
    let TlsPaths { cert, key } = settings.tls();
    if let Some(Err(why)) = readable.then(|| Identity::read(&cert, &key)) {
        let of_key = why.starts_with(&format!("{}: ", key.display()));
        wrong(if of_key { Key::TlsKey } else { Key::TlsCert }, why);
    }
}

/// True if there is nothing in the folder, or no folder.
fn is_unused(folder: Option<&Path>) -> bool {
    folder.and_then(|folder| fs::read_dir(folder).ok()).is_none_or(|mut entries| entries.next().is_none())
}
