//! Who may log in, by which protocols and with which passwords of single programs; who is, and how that ends.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{Response, Secret, Trouble, deeds, respond};
use crate::directory::secrets::{
    APP_NAME_BYTES_MAX, APP_PASSWORDS_MAX, AppPassword, ENCODED_BYTES_MAX, Protocols, Secrets, has_keys,
};
use crate::directory::{Change, Home};
use crate::office::anew::today;
use crate::office::sessions::{self, SessionView};
use crate::office::words::Deed;
use crate::office::{Office, Reply, Request as Word};
use crate::proto::sasl::Speaker;
use crate::shard;

/// Times that a change is tried anew because somebody else changed the account meanwhile.
const TRIES: usize = 5;
/// All of them.
const SPEAKERS: [Speaker; 3] = [Speaker::Smtp, Speaker::Imap, Speaker::Pop3];

/// By which protocols an account may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginView {
    /// `user@domain`.
    pub address: String,
    /// Handing in mail.
    pub smtp: bool,
    /// Reading it.
    pub imap: bool,
    /// Fetching it.
    pub pop3: bool,
    /// False: another server's hash is kept until the password is seen.
    pub own_hash: bool,
    /// It has keys for SCRAM.
    pub scram: bool,
}

/// An app password, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPasswordView {
    /// As it is called.
    pub name: String,
    /// The day on which it was made, as 2026-11-23.
    pub created: String,
    /// The last day on which it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Where it is good: smtp, imap, pop3.
    pub protocols: Vec<String>,
}

/// Shows and changes by which protocols an account may log in.
pub(super) async fn switches(office: &Rc<Office>, address: &str, on: [Option<bool>; 3]) -> Response {
    respond(try_switches(office, address, on).await)
}

async fn try_switches(office: &Rc<Office>, address: &str, on: [Option<bool>; 3]) -> Result<Response, Trouble> {
    let view = |address: &str, secrets: &Secrets| LoginView {
        address: address.to_owned(),
        smtp: !secrets.closed.has(Speaker::Smtp),
        imap: !secrets.closed.has(Speaker::Imap),
        pop3: !secrets.closed.has(Speaker::Pop3),
        own_hash: !secrets.is_imported(),
        scram: secrets.scram.is_some(),
    };
    if on == [None; 3] {
        let (name, home) = super::accounts::existing(office, address)?;
        let secrets = read(office, home).await?.1.ok_or_else(unreadable)?;
        return Ok(Response::Login { login: view(&name, &secrets) });
    }
    let mut shut = Protocols::NONE;
    let (name, secrets) = change(office, address, |secrets| {
        let mut secrets = secrets.ok_or_else(unreadable)?;
        shut = Protocols::NONE;
        for (speaker, on) in SPEAKERS.into_iter().zip(on) {
            let Some(on) = on else { continue };
            secrets.closed = secrets.closed.with(speaker, !on);
            shut = shut.with(speaker, !on);
        }
        Ok(secrets)
    })
    .await?;
    if shut != Protocols::NONE {
        end(office, &name, shut).await?;
    }
    Ok(Response::Login { login: view(&name, &secrets) })
}

/// Makes an app password.
pub(super) async fn app_add(office: &Rc<Office>, address: &str, name: &str, protocols: &[String]) -> Response {
    respond(try_app_add(office, address, name, protocols).await)
}

async fn try_app_add(
    office: &Rc<Office>,
    address: &str,
    name: &str,
    protocols: &[String],
) -> Result<Response, Trouble> {
    if !AppPassword::is_name(name) {
        return Err(Trouble::Refused(format!(
            "`{}` is no name for an app password: 1 to {APP_NAME_BYTES_MAX} octets without spaces around them",
            name.escape_debug()
        )));
    }
    let protocols = protocols_of(protocols)?;
    let mut random = [0; 26];
    shard::random(&mut random);
    let (app, password) = AppPassword::make(name.to_owned(), protocols, today(), &random);
    let (address, _) = change(office, address, |secrets| {
        let mut secrets = secrets.ok_or_else(unreadable)?;
        if secrets.apps.iter().any(|app| app.name == name) {
            return Err(Trouble::Refused(format!("there is an app password `{name}` already: remove it first")));
        }
        if secrets.apps.len() >= APP_PASSWORDS_MAX {
            return Err(Trouble::Refused(format!(
                "an account has at most {APP_PASSWORDS_MAX} app passwords: remove one"
            )));
        }
        secrets.apps.push(app.clone());
        Ok(secrets)
    })
    .await?;
    Ok(Response::AppPassword { address, name: name.to_owned(), password: Secret(password) })
}

fn protocols_of(words: &[String]) -> Result<Protocols, Trouble> {
    if words.is_empty() {
        return Ok(Protocols::ALL);
    }
    let mut protocols = Protocols::NONE;
    for word in words {
        let speaker = SPEAKERS.into_iter().find(|speaker| sessions::word(*speaker) == word);
        let unknown = || Trouble::Refused(format!("`{}` is no protocol: smtp, imap or pop3", word.escape_debug()));
        protocols = protocols.with(speaker.ok_or_else(unknown)?, true);
    }
    Ok(protocols)
}

/// The app passwords of an account.
pub(super) async fn app_list(office: &Rc<Office>, address: &str) -> Response {
    respond(try_app_list(office, address).await)
}

async fn try_app_list(office: &Rc<Office>, address: &str) -> Result<Response, Trouble> {
    let (_, home) = super::accounts::existing(office, address)?;
    let secrets = read(office, home).await?.1.ok_or_else(unreadable)?;
    let view = |app: &AppPassword| AppPasswordView {
        name: app.name.clone(),
        created: date(app.created_day),
        last_used: app.used_day.map(date),
        protocols: words_of(app.protocols),
    };
    Ok(Response::AppPasswords { passwords: secrets.apps.iter().map(view).collect() })
}

fn words_of(protocols: Protocols) -> Vec<String> {
    SPEAKERS.into_iter().filter(|one| protocols.has(*one)).map(|one| sessions::word(one).to_owned()).collect()
}

fn date(day: u32) -> String {
    let since = time::Date::from_calendar_date(1970, time::Month::January, 1).expect("a date");
    since.checked_add(time::Duration::days(day.into())).map_or_else(|| day.to_string(), |date| date.to_string())
}

/// Takes an app password back. Conversations that it began end.
pub(super) async fn app_remove(office: &Rc<Office>, address: &str, name: &str) -> Response {
    respond(try_app_remove(office, address, name).await)
}

async fn try_app_remove(office: &Rc<Office>, address: &str, name: &str) -> Result<Response, Trouble> {
    let (address, _) = change(office, address, |secrets| {
        let mut secrets = secrets.ok_or_else(unreadable)?;
        let before = secrets.apps.len();
        secrets.apps.retain(|app| app.name != name);
        if secrets.apps.len() == before {
            return Err(Trouble::Refused(format!("there is no app password `{}`", name.escape_debug())));
        }
        Ok(secrets)
    })
    .await?;
    // Which of them it began nobody knows.
    end(office, &address, Protocols::ALL).await?;
    Ok(Response::Done)
}

/// Who is logged in.
pub(super) async fn who(office: &Rc<Office>, address: Option<&str>) -> Response {
    let account = match address.map(super::names::account).transpose() {
        Ok(account) => account.map(|(name, _)| name),
        Err(trouble) => return trouble.into(),
    };
    let mut all: Vec<SessionView> = Vec::new();
    for (_, reply) in office.ask_all(|| Word::Sessions { account: account.clone() }).await {
        if let Some(Reply::Sessions(sessions)) = reply {
            all.extend(sessions);
        }
    }
    all.sort_by(|a, b| (a.since_ms, &a.account, &a.peer).cmp(&(b.since_ms, &b.account, &b.peer)));
    Response::Sessions { sessions: all }
}

/// Ends the sessions of an account.
pub(super) async fn kick(office: &Rc<Office>, address: &str) -> Response {
    let name = match super::accounts::existing(office, address) {
        Ok((name, _)) => name,
        Err(trouble) => return trouble.into(),
    };
    respond(end(office, &name, Protocols::ALL).await.map(|sessions| Response::Kicked { sessions }))
}

/// Ends the sessions of an account by these protocols, on every shard; returns how many they were.
///
/// # Errors
/// When a shard did not say that it has: there, sessions may go on.
pub(super) async fn end(office: &Rc<Office>, name: &str, protocols: Protocols) -> Result<usize, Trouble> {
    let mut ended = 0;
    let mut silent = Vec::new();
    for (shard, reply) in office.ask_all(|| Word::EndSessions { account: name.to_owned(), protocols }).await {
        match reply {
            Some(Reply::SessionsEnded(count)) => ended += count,
            _ => silent.push(shard.to_string()),
        }
    }
    if silent.is_empty() {
        return Ok(ended);
    }
    let which = silent.join(", ");
    Err(Trouble::Failed(format!(
        "what was asked is done, but sessions of {name} may go on at shard {which}, which did not answer: try `ringpost kick {name}`"
    )))
}

/// Changes an account's secrets: what `make` makes of those that are there (`None`: they cannot be read) is durable and known to
/// every shard when this returns.
pub(super) async fn change(
    office: &Rc<Office>,
    address: &str,
    mut make: impl FnMut(Option<Secrets>) -> Result<Secrets, Trouble>,
) -> Result<(String, Secrets), Trouble> {
    let (name, home) = super::accounts::existing(office, address)?;
    for _ in 0..TRIES {
        let (was, secrets) = read(office, home).await?;
        let secrets = make(secrets)?;
        let encoded = secrets.encode();
        if encoded.len() > ENCODED_BYTES_MAX {
            return Err(Trouble::Refused("the account would have too much of this: remove some".to_owned()));
        }
        let keys = has_keys(&encoded);
        let deed = Deed::ReplaceSecrets { account: home.account, name: name.clone(), was, secrets: encoded };
        if deeds::replace(office, home.volume, deed).await? {
            if keys == office.directory(|d| d.is_keyless(home.account)) {
                let one = vec![home.account];
                let (with, without) = if keys { (one, Vec::new()) } else { (Vec::new(), one) };
                office.tell_all(Change::Keys { with, without }).await.map_err(deeds::untold)?;
            }
            return Ok((name, secrets));
        }
    }
    Err(Trouble::Failed(format!("{name} is being changed by others: try again")))
}

/// An account's secrets as they are stored, and read.
async fn read(office: &Rc<Office>, home: Home) -> Result<(Vec<u8>, Option<Secrets>), Trouble> {
    let Home { volume, account, .. } = home;
    match office.mesh.call(office.shard_of(volume), Word::Secrets { volume, account }, 0).await {
        Ok(Reply::Secrets(Some(encoded))) => {
            let secrets = Secrets::decode(&encoded).ok();
            Ok((encoded, secrets))
        }
        Ok(Reply::Secrets(None)) => Err(Trouble::Failed("the account went away meanwhile".to_owned())),
        _ => Err(Trouble::Failed("the account cannot be read now: the log says why".to_owned())),
    }
}

fn unreadable() -> Trouble {
    Trouble::Refused(
        "the account's secrets cannot be read: give it a new password with `ringpost account passwd`".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_shown_as_dates() {
        assert_eq!((date(0), date(20_780)), ("1970-01-01".to_owned(), "2026-11-23".to_owned()));
        assert_eq!(date(u32::MAX), u32::MAX.to_string());
    }

    #[test]
    fn protocols_are_named_by_their_words() {
        assert_eq!(protocols_of(&[]).expect("all"), Protocols::ALL);
        let two = protocols_of(&["imap".to_owned(), "pop3".to_owned()]).expect("two");
        assert_eq!(words_of(two), ["imap", "pop3"]);
        assert!(protocols_of(&["http".to_owned()]).is_err());
    }
}
