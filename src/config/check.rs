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
use crate::limits::{DNS_RESOLVERS_MAX, FILTER_LISTS_MAX};
use crate::net::certificates::{self, Identity};
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
    if settings.names(Key::Mechanisms).is_empty() {
        let why = format!("{}: name at least one, or remove the line", Key::Mechanisms.path());
        wrong(settings.source(Key::Mechanisms), why);
    }
    let mut taken = BTreeMap::new();
    for listener in &settings.listeners {
        let word = listener.service.word();
        match settings.address(listener) {
            None => {
                let ports = settings.listeners.iter().filter_map(|l| l.address.net()).map(|at| at.port());
                let most = ports.map(|port| u16::MAX - port).min().unwrap_or(0);
                wrong(
                    settings.source(Key::PortOffset),
                    format!(
                        "{} {} moves the {word} port of {} beyond 65535: choose at most {most}",
                        Key::PortOffset.path(),
                        settings.number(Key::PortOffset),
                        listener.address,
                    ),
                );
            }
            Some(at) => {
                if let Some(other) = taken.insert(at.clone(), listener.service) {
                    wrong(
                        &listener.from,
                        format!("listener: {at} is given to {} already: choose another address or port", other.word()),
                    );
                }
            }
        }
        listener.contradictions().into_iter().for_each(|why| wrong(&listener.from, format!("listener: {why}")));
        if listener.asks_for_passwords_in_the_clear() && settings.networks(Key::PlaintextNetworks).is_empty() {
            wrong(
                &listener.from,
                format!(
                    "listener: {word} with tls = \"none\" lets nobody log in: remove it, or list who may in {}",
                    Key::PlaintextNetworks.path()
                ),
            );
        }
        let public = !listener.address.is_on_this_host();
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
    let resolvers = settings.names(Key::DnsResolvers).len();
    if resolvers > DNS_RESOLVERS_MAX {
        let why = format!("{}: {resolvers} are too many: name at most {DNS_RESOLVERS_MAX}", Key::DnsResolvers.path());
        wrong(settings.source(Key::DnsResolvers), why);
    }
    filters(settings, &mut wrong);
    for (one, other) in [(Key::TlsCert, Key::TlsKey), (Key::TlsKey, Key::TlsCert)] {
        if *settings.source(one) != Source::Default && *settings.source(other) == Source::Default {
            wrong(settings.source(one), format!("{} goes with {}: set both", one.path(), other.path()));
        }
    }
    let most = settings.number(Key::Memory) / 2;
    if settings.number(Key::IndexMemory) > most {
        let why = format!(
            "{}: it leaves too little of {}: choose at most {most}",
            Key::IndexMemory.path(),
            Key::Memory.path()
        );
        wrong(settings.source(Key::IndexMemory), why);
    }
    let (address, network) = (Key::ConnectionsPerAddressMax, Key::ConnectionsPerNetworkMax);
    if settings.number(address) > settings.number(network) && *settings.source(network) != Source::Default {
        let why = format!("{}: choose at least {}, as {}", network.path(), settings.number(address), address.path());
        wrong(settings.source(network), why);
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

fn filters(settings: &Effective, wrong: &mut dyn FnMut(&Source, String)) {
    let (lists, mode) = (settings.names(Key::DnsblLists).len(), Key::DnsblMode);
    if lists > FILTER_LISTS_MAX {
        let why = format!("{}: {lists} are too many: name at most {FILTER_LISTS_MAX}", Key::DnsblLists.path());
        wrong(settings.source(Key::DnsblLists), why);
    }
    if lists == 0 && settings.text(mode) != "off" {
        wrong(
            settings.source(mode),
            format!("{}: there is nobody to ask: name lists in {}", mode.path(), Key::DnsblLists.path()),
        );
    }
    let (delay, window) = (Key::GreylistDelayS, Key::GreylistWindowS);
    if settings.number(delay) >= settings.number(window) {
        let why = format!("{}: nobody could come again in time: choose more than {}", window.path(), delay.path());
        wrong(settings.source(if *settings.source(window) == Source::Default { delay } else { window }), why);
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
    let first = settings.first_tls();
    let from_list = settings.certificates.iter().map(|one| {
        (one.paths.clone(), [one.cert_at.clone(), one.key_at.clone()], ["certificate: cert", "certificate: key"], false)
    });
    let first = first.map(|paths| {
        let own = paths.are_own(data);
        let at = [Key::TlsCert, Key::TlsKey].map(|key| settings.source(key).clone());
        (paths, at, [Key::TlsCert.path(), Key::TlsKey.path()], own)
    });
    for (nth, (paths, at, words, own)) in first.into_iter().chain(from_list).enumerate() {
        certificate(&paths, own, nth == 0, &mut |of_key, why| {
            let of = usize::from(of_key);
            mistakes.push(Mistake { at: at[of].clone(), why: format!("{}: {why}", words[of]) });
        });
    }
}

/// Looks at one certificate and its key. Each mistake goes to `wrong`, with true if it is the key's. `own`: the first start makes
/// both.
fn certificate(paths: &TlsPaths, own: bool, first: bool, wrong: &mut dyn FnMut(bool, String)) {
    let TlsPaths { cert, key } = paths;
    let mut readable = true;
    for (of_key, path) in [(false, cert), (true, key)] {
        match fs::metadata(path) {
            Ok(there) if !there.is_file() => {
                readable = false;
                wrong(of_key, format!("{} is not a plain file: name a PEM file", path.display()));
            }
            Ok(there) if of_key && there.mode() & 0o007 != 0 => {
                wrong(
                    true,
                    format!("everybody may read or change {0}: take that away with `chmod o= {0}`", path.display()),
                );
            }
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::NotFound && own && is_unused(path.parent()) => readable = false,
            Err(why) => {
                readable = false;
                wrong(of_key, format!("{}: {why}: name a PEM file that Ringpost may read", path.display()));
            }
        }
    }
    match readable.then(|| Identity::read(cert, key)) {
        Some(Err(why)) => wrong(why.starts_with(&format!("{}: ", key.display())), why),
        Some(Ok(read)) if !first && read.names().is_empty() => wrong(false, certificates::nobody_asks_for(cert)),
        _ => {}
    }
}

/// True if there is nothing in the folder, or no folder.
fn is_unused(folder: Option<&Path>) -> bool {
    folder.and_then(|folder| fs::read_dir(folder).ok()).is_none_or(|mut entries| entries.next().is_none())
}
