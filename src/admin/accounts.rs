//! Accounts: each in one volume, the emptiest at its making.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;

use ringpost_storage::{Limits, Refused, VolumeId};
use zeroize::Zeroizing;

use super::{NewAccount, Response, Secret, Trouble, deeds, domains, logins, names, quota, respond, routing};
use crate::directory::imported::Imported;
use crate::directory::secrets::{self, Argon2Cost, Password, Protocols, Secrets};
use crate::directory::{Change, Home};
use crate::office::quota::limits_of;
use crate::office::words::Deed;
use crate::office::{Deliverable, Office, Reply, Request, volumes};
use crate::shard::{self, SideError};

/// Accounts of one batch.
const ACCOUNTS_PER_BATCH: usize = 250;
/// Passwords hashed at once for an operator; the rest of the side pool's queue is for people who log in.
const HASHES_AT_ONCE: usize = 4;
/// Problems named in one answer. More are counted.
const PROBLEMS_SHOWN_MAX: usize = 10;

/// An account that may be made.
struct Fit {
    name: String,
    password: Given,
    /// Told to the operator, because it was generated.
    shown: Option<Secret>,
}

/// What an account is to be known by.
enum Given {
    Password(Password),
    /// Another server's hash of one.
    Hash(Imported),
}

pub(super) async fn add(office: &Rc<Office>, accounts: Vec<NewAccount>) -> Response {
    respond(try_add(office, accounts).await)
}

async fn try_add(office: &Rc<Office>, accounts: Vec<NewAccount>) -> Result<Response, Trouble> {
    if accounts.is_empty() {
        return Err(Trouble::Refused("no account was named".to_owned()));
    }
    let (fit, answer) = fit_all(office, accounts)?;
    let made = hash_all(office.settings.argon2, fit).await?;
    for (name, _) in &made {
        // What was said of somebody who had this name before, where a crash has left it.
        routing::forget_account(office, name).await?;
    }
    let mut by_volume: BTreeMap<VolumeId, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    let mut fewest = volumes_by_accounts(office);
    for account in made {
        let Reverse((count, volume)) = fewest.pop().ok_or_else(none_open)?;
        fewest.push(Reverse((count + 1, volume)));
        by_volume.entry(volume).or_default().push(account);
    }
    for (volume, accounts) in by_volume {
        for batch in accounts.chunks(ACCOUNTS_PER_BATCH) {
            put(office, volume, batch).await?;
        }
    }
    Ok(Response::Accounts { accounts: answer })
}

fn none_open() -> Trouble {
    Trouble::Refused("no volume takes accounts: `ringpost volume add` makes one".to_owned())
}

/// Every account must be one that can be made, or none is.
fn fit_all(office: &Office, accounts: Vec<NewAccount>) -> Result<(Vec<Fit>, Vec<NewAccount>), Trouble> {
    let mut fit = Vec::with_capacity(accounts.len());
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for account in accounts {
        match fit_one(office, account) {
            Ok(one) if seen.insert(one.name.clone()) => fit.push(one),
            Ok(one) => problems.push(format!("{} is named twice", one.name)),
            Err(problem) => problems.push(problem.into()),
        }
    }
    if !problems.is_empty() {
        // A forgotten domain is one problem, however many accounts it has.
        let mut known = BTreeSet::new();
        problems.retain(|problem| known.insert(problem.clone()));
        let more = problems.len().saturating_sub(PROBLEMS_SHOWN_MAX);
        problems.truncate(PROBLEMS_SHOWN_MAX);
        if more > 0 {
            problems.push(format!("and {more} more problems"));
        }
        return Err(Trouble::Refused(problems.join("; ")));
    }
    let answer = fit.iter().map(|f| NewAccount::with(f.name.clone(), f.shown.clone())).collect();
    Ok((fit, answer))
}

fn fit_one(office: &Office, account: NewAccount) -> Result<Fit, Trouble> {
    let (name, domain) = names::account(&account.address)?;
    domains::known(office, &domain)?;
    is_free(office, &name)?;
    fit_password(name, account.password, account.hash)
}

/// Refuses a name that somebody has.
pub(super) fn is_free(office: &Office, name: &str) -> Result<(), Trouble> {
    if office.directory(|d| d.home(name)).is_some() {
        return Err(Trouble::Refused(format!(
            "the account {name} exists already: `ringpost account passwd {name}` changes its password"
        )));
    }
    if let Some(group) = office.directory(|d| d.rules().list(name).map(|list| list.group)) {
        let (is, verb) = if group { ("a group", "group") } else { ("an alias", "alias") };
        return Err(Trouble::Refused(format!("{name} is {is}: `ringpost {verb} remove {name}` first")));
    }
    Ok(())
}

fn fit_password(name: String, given: Option<Secret>, hash: Option<String>) -> Result<Fit, Trouble> {
    if let Some(hash) = hash {
        if given.is_some() {
            return Err(Trouble::Refused(format!("{name}: give a password or its hash, not both")));
        }
        let hash = Imported::parse(&hash).map_err(|why| Trouble::Refused(format!("{name}: {why}")))?;
        return Ok(Fit { name, password: Given::Hash(hash), shown: None });
    }
    let (text, shown) = match given {
        Some(secret) => (secret.0, None),
        None => {
            let mut random = [0; 20];
            shard::random(&mut random);
            let text = Password::generate(&random);
            let shown = Secret(text.clone());
            (text, Some(shown))
        }
    };
    let password = Password::parse(Zeroizing::new(text.as_bytes().to_vec()))
        .map_err(|why| Trouble::Refused(format!("{name}: {why}")))?;
    Ok(Fit { name, password: Given::Password(password), shown })
}

/// The secrets of each, encoded, in order.
async fn hash_all(cost: Argon2Cost, fit: Vec<Fit>) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
    let total = fit.len();
    let (todo, next) = flume::bounded(total);
    for job in fit.into_iter().enumerate() {
        todo.try_send(job).expect("the channel has room for all of them");
    }
    drop(todo);
    let (done, results) = flume::bounded(total);
    for _ in 0..HASHES_AT_ONCE.min(total) {
        let (next, done) = (next.clone(), done.clone());
        shard::spawn("hash", async move {
            while let Ok((at, Fit { name, password, .. })) = next.try_recv() {
                let hashed = hash(cost, password).await;
                let failed = hashed.is_err();
                if done.try_send((at, name, hashed)).is_err() || failed {
                    return;
                }
            }
        });
    }
    drop(done);
    let mut made = Vec::with_capacity(total);
    while let Ok((at, name, hashed)) = results.recv_async().await {
        made.push((at, name, hashed?));
    }
    if made.len() < total {
        return Err(Trouble::Failed("hashing the passwords failed; see the log".to_owned()));
    }
    made.sort_unstable_by_key(|(at, ..)| *at);
    Ok(made.into_iter().map(|(_, name, secrets)| (name, secrets)).collect())
}

async fn hash(cost: Argon2Cost, given: Given) -> Result<Vec<u8>, Trouble> {
    let password = match given {
        Given::Password(password) => password,
        Given::Hash(hash) => return Ok(Secrets::import(hash).encode()),
    };
    let mut random = [0; 32];
    shard::random(&mut random);
    match shard::side(move || Secrets::make(&password, cost, &random)).await {
        Ok(Ok(secrets)) => Ok(secrets.encode()),
        Ok(Err(_)) => Err(Trouble::Failed(format!("Argon2 does not know the cost {cost:?}"))),
        Err(SideError::Full) => Err(Trouble::Failed("too many passwords are being hashed; try again".to_owned())),
        Err(SideError::Panicked) => Err(Trouble::Failed("hashing the password failed; see the log".to_owned())),
    }
}

fn volumes_by_accounts(office: &Office) -> BinaryHeap<Reverse<(usize, VolumeId)>> {
    let mut counts = vec![0_usize; usize::from(office.volume_count())];
    let closed = |volume: &VolumeId| office.directory(|d| d.is_closed(*volume));
    office.directory(|d| {
        for (_, home) in d.accounts() {
            if let Some(count) = counts.get_mut(usize::from(home.volume)) {
                *count += 1;
            }
        }
    });
    counts.into_iter().zip(0..).filter(|(_, volume)| !closed(volume)).map(Reverse).collect()
}

/// Makes a batch of accounts durable, then known to every shard.
async fn put(office: &Rc<Office>, volume: VolumeId, batch: &[(String, Vec<u8>)]) -> Result<(), Trouble> {
    // Whoever had this name before has left nothing that holds for who has it now.
    for (name, _) in batch {
        routing::forget_account(office, name).await?;
    }
    let put = |(name, secrets): (String, Vec<u8>)| {
        let limits = limits_of(&name, office.settings.new_limits);
        Deed::PutAccount { name, secrets, limits }
    };
    let asked = batch.iter().cloned().map(put).collect();
    let ids = deeds::ask(office, volume, asked).await?;
    let keyless = batch.iter().zip(&ids).filter(|((_, secrets), _)| !secrets::has_keys(secrets));
    let keyless: Vec<_> = keyless.filter_map(|(_, id)| *id).collect();
    if !keyless.is_empty() {
        office.tell_all(Change::Keys { with: vec![], without: keyless }).await.map_err(deeds::untold)?;
    }
    for ((name, _), id) in batch.iter().zip(ids) {
        let account = id.ok_or_else(|| Trouble::Failed(format!("volume {volume} gave {name} no id")))?;
        let home = Home { volume, account, generation: 0 };
        if limits_of(name, office.settings.new_limits) != Limits::NONE {
            quota::tell(office, account, true).await?;
        }
        office.tell_all(Change::AccountPut { name: name.clone(), home }).await.map_err(deeds::untold)?;
    }
    Ok(())
}

pub(super) async fn remove(office: &Rc<Office>, address: &str) -> Response {
    respond(try_remove(office, address).await)
}

async fn try_remove(office: &Rc<Office>, address: &str) -> Result<Response, Trouble> {
    let (name, home) = existing(office, address)?;
    if home.generation > 1 {
        remove_what_moves_left(office, &name, home).await?;
    }
    // First: whoever has this name next must not have its rules, and what was cut off here can be asked for again.
    routing::forget_account(office, &name).await?;
    deeds::ask(office, home.volume, vec![Deed::RemoveAccount(home.account)]).await?;
    let told = office.tell_all(Change::AccountGone { name: name.clone() }).await.map_err(deeds::untold);
    logins::end(office, &name, Protocols::ALL).await?;
    told.map(|()| Response::Done)
}

/// Removes an account that has moved from where it was before. What a move has left there is nobody as long as the account lives where
/// its generation is higher; once that is gone it would be somebody again.
async fn remove_what_moves_left(office: &Office, name: &str, home: Home) -> Result<(), Trouble> {
    for volume in volumes::live(office).filter(|volume| *volume != home.volume) {
        if office.has_failed(volume) {
            return Err(Trouble::Failed(format!(
                "volume {volume} has failed, and may hold {name} as it was before it moved, which would be there again: nothing was removed, start the server again first"
            )));
        }
        let deeds = vec![Deed::RemoveAccount(home.account)];
        match office.mesh.call(office.shard_of(volume), Request::Do { volume, deeds }, 0).await {
            // Its removal may be decided and not durable: a batch behind it is.
            Ok(Reply::Did(Err(Deliverable::Refused(Refused::NoAccount)))) => {
                deeds::ask(office, volume, Vec::new()).await?;
            }
            reply => drop(deeds::answered(volume, reply)?),
        }
    }
    Ok(())
}

pub(super) async fn passwd(office: &Rc<Office>, account: NewAccount) -> Response {
    respond(try_passwd(office, account).await)
}

async fn try_passwd(office: &Rc<Office>, account: NewAccount) -> Result<Response, Trouble> {
    let (name, _) = existing(office, &account.address)?;
    let fit = fit_password(name.clone(), account.password, account.hash)?;
    let answer = NewAccount::with(name.clone(), fit.shown.clone());
    let made = hash(office.settings.argon2, fit.password).await?;
    let made = Secrets::decode(&made).map_err(|why| Trouble::Failed(why.to_string()))?;
    let with_it = |was: Option<Secrets>| Ok(was.map_or(made.clone(), |was| was.with_password_of(made.clone())));
    logins::change(office, &name, with_it).await?;
    // Whoever is in with the old one is not any more.
    logins::end(office, &name, Protocols::ALL).await?;
    Ok(Response::Accounts { accounts: vec![answer] })
}

/// Makes an account, or gives it a new password if it exists; returns the generated password.
///
/// # Errors
/// A sentence that says what was refused.
pub async fn found_account(office: &Rc<Office>, address: &str) -> Result<String, String> {
    let account = NewAccount::with(address.to_owned(), None);
    let exists = existing(office, address).is_ok();
    let made = if exists { try_passwd(office, account).await? } else { try_add(office, vec![account]).await? };
    let Response::Accounts { mut accounts } = made else { return Err("no account was made".to_owned()) };
    let password = accounts.pop().and_then(|a| a.password).ok_or("no password was made")?;
    Ok(password.0.to_string())
}

pub(super) fn list(office: &Office, domain: Option<&str>) -> Response {
    respond(try_list(office, domain))
}

fn try_list(office: &Office, domain: Option<&str>) -> Result<Response, Trouble> {
    let domain = domain.map(names::domain).transpose()?;
    if let Some(domain) = &domain {
        domains::known(office, domain)?;
    }
    let wanted = |address: &str| domain.as_ref().is_none_or(|d| domains::lies_in(address, d));
    let mut addresses: Vec<String> = office.directory(|d| {
        d.accounts().map(|(address, _)| address).filter(|address| wanted(address)).map(str::to_owned).collect()
    });
    addresses.sort_unstable();
    let accounts = addresses.into_iter().map(|address| NewAccount::with(address, None)).collect();
    Ok(Response::Accounts { accounts })
}

pub(super) fn existing(office: &Office, address: &str) -> Result<(String, Home), Trouble> {
    let (name, _) = names::account(address)?;
    match office.directory(|d| d.home(&name)) {
        Some(home) => Ok((name, home)),
        None => {
            Err(Trouble::Refused(format!("there is no account {name}: `ringpost account list` shows those there are")))
        }
    }
}
