//! The door for programs on this host: a Unix socket that anybody may open whom its mode lets, at which `ringpost sendmail` hands in a
//! letter. One line as at the admin socket, `{"verb":"post",…}`, the octets of one letter, one answer; then it is closed.
//!
//! - Whose program it is the kernel says (SO_PEERCRED), and not the line. Root, the user that runs the server and
//!   `sendmail.trusted_users` are believed what sender they write. Of all others the sender is their name at the first domain.
//! - Users are looked up in `/etc/passwd`, on a side thread, and nowhere else: one that is not there is called `uid-N`. Where it cannot
//!   be looked at now nobody is taken for another: the letter is to come again.
//! - Who is not trusted may send as much as an account: as the account of its name, or by its number where there is none.
//! - At once: [`PLACES_MAX`] connections, [`PLACES_PER_USER_MAX`] of one user. One more is told to come back. The line must be here
//!   within [`LINE_S`]; then silence is allowed for [`SILENCE_S`], and all of it for [`LETTER_S`]. Past any of these it is closed.
//! - Octets go into the letter as they come, and count against the shard's budget and their user's part of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{Envelope, Posted, Posting, Request, Response, forbids, note};
use crate::limits;
use crate::net::Wire;
use crate::observe::{self, Counter};
use crate::office::Office;
use crate::serve::{Rules, Service};
use crate::shard::{self, Listener, Moment, SideError, Stream};

/// Connections at once. More: told to come back.
pub const PLACES_MAX: usize = 64;
/// Those of one user. More: told to come back.
pub const PLACES_PER_USER_MAX: usize = 16;
/// The line, octets without its LF: room for all recipients. Longer: closed.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Seconds for the line. Then closed.
pub const LINE_S: u64 = 30;
/// Seconds of silence within a letter. Then closed.
pub const SILENCE_S: u64 = 60;
/// Seconds for a letter. Then closed.
pub const LETTER_S: u64 = 600;
/// Octets of `/etc/passwd` that are read. The users behind them are called `uid-N`.
const PASSWD_BYTES_MAX: u64 = 4 << 20;

/// How many connections there are, by user. Cheap to clone.
#[derive(Clone, Default)]
struct Places(Rc<RefCell<BTreeMap<u32, usize>>>);

/// A connection's place, free again when this drops.
struct Place {
    places: Places,
    user: u32,
}

impl Places {
    fn take(&self, user: u32, all_max: usize) -> Option<Place> {
        let mut by_user = self.0.borrow_mut();
        let own = by_user.get(&user).copied().unwrap_or(0);
        if by_user.values().sum::<usize>() >= all_max || own >= PLACES_PER_USER_MAX {
            return None;
        }
        by_user.insert(user, own + 1);
        Some(Place { places: self.clone(), user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_user = self.places.0.borrow_mut();
        if let Some(own) = by_user.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

/// Accepts programs for as long as it is polled.
pub(super) async fn keep_door(office: Rc<Office>, rules: Arc<Rules>, mut listener: Listener) {
    let places = Places::default();
    let places_max = PLACES_MAX.min(rules.connections_max);
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(why) => {
                tracing::error!(service = Service::Sendmail.word(), %why, "door closed: it can accept nothing more");
                return;
            }
        };
        // A Unix socket says who it is, or it is none.
        let Some(user) = stream.peer_user() else { continue };
        let place = if office.strain(true).is_none() { places.take(user, places_max) } else { None };
        let Some(place) = place else {
            observe::count(Counter::RefusedSmtp);
            stream.farewell(TOO_MANY);
            continue;
        };
        observe::count(Service::Sendmail.accepted());
        let office = office.clone();
        shard::spawn("sendmail", async move {
            if let Err(why) = attend(&office, stream, place.user).await {
                tracing::debug!(user = place.user, %why, "sendmail: connection lost");
            }
        });
    }
}

const TOO_MANY: &[u8] = b"{\"answer\":\"posted\",\"posted\":{\"later\":\"the server has too much to do\"}}\n";

/// One letter.
async fn attend(office: &Rc<Office>, stream: Stream, user: u32) -> io::Result<()> {
    let until = shard::now().after(Duration::from_secs(LETTER_S));
    let mut caller = Caller { stream, held: Vec::new(), until };
    let Some(line) = caller.line().await? else { return Ok(()) };
    let posted = match Request::read(&line) {
        Ok(Request::Post { sender, full_name, recipients, octets, .. }) => {
            let full_name = full_name.as_deref();
            let whose = whose(office, user, sender).await;
            let sender = whose.as_ref().map_or("", |(sender, _)| sender);
            let envelope = Envelope { sender, full_name, to: &recipients, octets, user };
            let trusted = whose.as_ref().map(|(_, trusted)| *trusted).map_err(|NotNow| NotNow);
            let posted = caller.letter(office, &envelope, trusted).await?;
            note(&envelope, &posted);
            posted
        }
        Ok(_) => Posted::Refused("only letters are taken here".to_owned()),
        Err(_) => Posted::BadData("this is no letter".to_owned()),
    };
    let mut answer = serde_json::to_vec(&Response::Posted { posted }).expect("strings, and memory does not fail");
    answer.push(b'\n');
    let mut wire = Wire::new(caller.stream);
    wire.queue().append(&mut answer);
    wire.flush().await?;
    wire.hang_up().await;
    Ok(())
}

struct Caller {
    stream: Stream,
    /// Received, not yet used.
    held: Vec<u8>,
    until: Moment,
}

impl Caller {
    /// The first line, without its LF. `None`: it did not say one.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.stream.set_deadline(Some(shard::now().after(Duration::from_secs(LINE_S))));
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.held) {
                let rest = self.held.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                return Ok(Some(line));
            }
            if self.held.len() > LINE_BYTES_MAX {
                return Ok(None);
            }
            let chunk = self.stream.recv().await?;
            if chunk.is_empty() {
                return Ok(None);
            }
            self.held.extend_from_slice(&chunk);
        }
    }

    /// Takes the letter behind the line. What is refused is still heard to its end: else its program would not hear why.
    async fn letter(
        &mut self,
        office: &Rc<Office>,
        envelope: &Envelope<'_>,
        trusted: Result<bool, NotNow>,
    ) -> io::Result<Posted> {
        if envelope.octets > limits::MESSAGE_BYTES_MAX {
            return Ok(Posted::Refused("the message is too large".to_owned()));
        }
        let forbidden = match trusted {
            Ok(true) => None,
            Ok(false) => forbids(office, envelope).await,
            Err(NotNow) => Some(Posted::Later("it cannot be found out now whose program this is".to_owned())),
        };
        // No address has this number: those of IPv6 end in zeros, and those of IPv4 are smaller.
        let charge = office.budget.open(Some(u128::MAX - u128::from(envelope.user)));
        let mut posting = match forbidden {
            Some(posted) => Err(posted),
            None => Posting::begin(office, envelope, charge).await,
        };
        let mut left = envelope.octets;
        let mut octets = std::mem::take(&mut self.held);
        loop {
            let took = octets.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if let Ok(posting) = &mut posting {
                posting.take(office, &octets[..took]).await;
            }
            left -= took as u64;
            if left == 0 {
                break;
            }
            let silence = shard::now().after(Duration::from_secs(SILENCE_S));
            self.stream.set_deadline(Some(silence.min(self.until)));
            let chunk = self.stream.recv().await?;
            if chunk.is_empty() {
                // Not all of it came: nothing of it is kept.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            octets.clear();
            octets.extend_from_slice(&chunk);
        }
        Ok(match posting {
            Ok(posting) => posting.end(office).await,
            Err(posted) => posted,
        })
    }
}

/// A user's name cannot be looked up now: the side threads have too much to do, or the disk does not answer.
struct NotNow;

/// The sender of a user's letter, who wrote this one, and whether he was believed.
async fn whose(office: &Office, user: u32, written: String) -> Result<(String, bool), NotNow> {
    if user == 0 || user == rustix::process::geteuid().as_raw() {
        return Ok((written, true));
    }
    let name = user_name(user).await?;
    let trusted = office.settings.trusted_users.contains(&name);
    // Of whom is not trusted the sender is not heard.
    Ok((if trusted { written } else { name }, trusted))
}

/// What a user of this host is called.
async fn user_name(user: u32) -> Result<String, NotNow> {
    let looked = shard::side(move || match passwd() {
        Ok(text) => Ok(name_in(&text, user)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    });
    match looked.await {
        Ok(Ok(name)) => Ok(name.unwrap_or_else(|| format!("uid-{user}"))),
        Ok(Err(why)) => {
            tracing::error!(%why, "/etc/passwd cannot be read: whose letters are handed in by sendmail is not known");
            Err(NotNow)
        }
        Err(SideError::Full | SideError::Panicked) => Err(NotNow),
    }
}

fn passwd() -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open("/etc/passwd")?.take(PASSWD_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// The name of a user in `/etc/passwd`: `name:password:uid:…` (passwd(5)).
fn name_in(passwd: &[u8], user: u32) -> Option<String> {
    let wanted = user.to_string();
    passwd.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?;
        let name = std::str::from_utf8(name).ok()?;
        (uid == wanted.as_bytes()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_that_passwd_gives_it() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n# 33\nwww-data:x:33:33::/var/www:/bin/false\n:x:7:7::/:\nbad:x\nother:33:34:1:::";
        let name = |user| name_in(passwd, user);
        assert_eq!(
            (name(0).as_deref(), name(33).as_deref(), name(34).as_deref()),
            (Some("root"), Some("www-data"), Some("other"))
        );
        assert_eq!((name(7), name(3), name(330)), (None, None, None));
    }

    #[cfg(feature = "sim")]
    #[test]
    fn whoever_cannot_be_looked_up_now_is_taken_for_nobody_else() {
        use crate::shard::Mesh;
        use crate::shard::sim::World;

        let world = World::new(1);
        let node = world.start(1, |_: Mesh<(), ()>| async {
            // None has this number.
            let name = "uid-54321".to_owned();
            assert_eq!(user_name(54_321).await.map_err(|NotNow| ()), Ok(name.clone()));
            let mut busy: Vec<_> = (0..limits::SIDE_QUEUE_MAX).map(|_| Box::pin(shard::side(|| ()))).collect();
            for job in &mut busy {
                assert!(futures_lite::future::poll_once(job).await.is_none());
            }
            assert!(user_name(54_321).await.is_err());
            drop(busy);
            shard::sleep(Duration::from_secs(10)).await;
            assert_eq!(user_name(54_321).await.map_err(|NotNow| ()), Ok(name));
            Ok(())
        });
        world.run_until(async { world.ended(node).await.expect("an orderly end") });
        assert_eq!(world.panics(), [""; 0]);
    }

    #[test]
    fn one_user_does_not_take_the_places_of_all() {
        let places = Places::default();
        let of_one: Vec<Place> = (0..).map_while(|_| places.take(33, PLACES_MAX)).collect();
        assert_eq!(of_one.len(), PLACES_PER_USER_MAX);
        let others: Vec<Place> = (100..).map_while(|user| places.take(user, PLACES_MAX)).collect();
        assert_eq!(others.len(), PLACES_MAX - PLACES_PER_USER_MAX);
        drop((of_one, others));
        assert!(places.0.borrow().is_empty() && places.take(33, PLACES_MAX).is_some());
    }
}
