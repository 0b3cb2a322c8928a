//! Doors: TCP and Unix listeners.
//!
//! Sockets are built here rather than by the executor, whose listener has a fixed backlog and no SO_REUSEADDR.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{self, FileType, Mode, OFlags};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::home::{Shard, here, sleep};
use super::now;
use super::stream::Stream;
use super::work::Key;
use crate::limits;
use crate::observe::{self, Counter};
use crate::shard::{Moment, Peer};

/// Connections the kernel holds for us at each door: a shard that has no time for newcomers lets so many wait. More: their SYN is
/// dropped and sent again by the peer. (With 1,024 a flood went to SYN cookies, and who is let in by one and finds the queue full
/// waits for a greeting that nobody will say: 4,000 of 20,000 did.)
const BACKLOG: i32 = 4096;
/// How long a door pauses when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

thread_local! {
    static PAUSED: Cell<Option<Moment>> = const { Cell::new(None) };
    /// The descriptor that the last newcomer was given: the lowest that was free.
    static NEWEST: Cell<u64> = const { Cell::new(0) };
    /// How many there can be.
    static FILES_MAX: Cell<Option<u64>> = const { Cell::new(None) };
}

/// True if the last newcomer of this thread's shard was given one of the last descriptors.
pub fn descriptors_are_scarce() -> bool {
    let max = FILES_MAX.get().unwrap_or_else(|| {
        let max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        FILES_MAX.set(Some(max));
        max
    });
    NEWEST.get().saturating_add(limits::FILES_SCARCE) >= max
}

/// When a door of this thread's shard had last to pause.
pub fn accept_paused() -> Option<Moment> {
    PAUSED.get()
}

/// An open door.
pub struct Listener {
    shard: Rc<Shard>,
    fd: Option<OwnedFd>,
    key: Key,
    local: Peer,
    /// Of a Unix socket: unlinked when the door closes.
    file: Option<SocketFile>,
}

/// A socket's file, and which it was: somebody else may have put another in its place.
struct SocketFile {
    path: PathBuf,
    number: u64,
}

impl Listener {
    /// # Errors
    /// As `bind` and `listen`.
    pub fn tcp(at: SocketAddr) -> io::Result<Self> {
        let socket = tcp_socket(at)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it, which saves a call for each.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self::open(socket.into(), Peer::Net(local), None))
    }

    /// # Errors
    /// As `bind` and `listen`; `AddrInUse` when somebody answers there or the path is no socket.
    pub fn local(path: &Path, mode: u32) -> io::Result<Self> {
        let address = SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Before bind: the file is born with this mode, so there is no moment in which others may connect.
        fs::fchmod(&socket, Mode::from_raw_mode(mode & 0o600))?;
        match socket.bind(&address) {
            Err(why) if why.kind() == io::ErrorKind::AddrInUse && is_stale(path, &address)? => {
                std::fs::remove_file(path)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        socket.listen(BACKLOG)?;
        let number = open_to(path, mode)?;
        let file = SocketFile { path: path.to_owned(), number };
        Ok(Self::open(socket.into(), Peer::Local, Some(file)))
    }

    fn open(fd: OwnedFd, local: Peer, file: Option<SocketFile>) -> Self {
        let shard = here();
        let key = shard.ring().accept_open(fd.as_raw_fd());
        Listener { shard, fd: Some(fd), key, local, file }
    }

    /// The next connection.
    ///
    /// # Errors
    /// When the door can never accept again.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            match poll_fn(|cx| self.shard.ring().accept_poll(self.key, cx)).await {
                Ok(fd) => {
                    NEWEST.set(u64::try_from(fd.as_raw_fd()).unwrap_or(0));
                    if let Some(peer) = self.peer_of(&fd) {
                        return Ok(Stream::new(self.shard.clone(), fd, peer));
                    }
                }
                Err(why) => match why.raw_os_error().unwrap_or(0) {
                    libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP => return Err(why),
                    // Trouble of that one connection: the next may be better.
                    libc::ECONNABORTED | libc::EPROTO | libc::EPERM | libc::EINTR => {}
                    // EMFILE and its kin: asked again at once it would only fail again.
                    _ => {
                        observe::count(Counter::AcceptPaused);
                        PAUSED.set(Some(now()));
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// The address it is open on.
    pub fn local_addr(&self) -> Peer {
        self.local
    }

    fn peer_of(&self, fd: &OwnedFd) -> Option<Peer> {
        if self.local == Peer::Local {
            return Some(Peer::Local);
        }
        // Fails when the connection has been reset already: there is nobody to serve.
        SockRef::from(fd).peer_addr().ok()?.as_socket().map(Peer::Net)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(SocketFile { path, number }) = &self.file
            && std::fs::symlink_metadata(path).is_ok_and(|there| there.ino() == *number)
        {
            let _ = std::fs::remove_file(path);
        }
        if let Some(mut ring) = self.shard.try_ring() {
            ring.abandon(self.key);
            if let Some(fd) = self.fd.take() {
                use std::os::fd::IntoRawFd;
                ring.close_fd(fd.into_raw_fd());
            }
        }
    }
}

/// Gives a socket's file its mode, and returns which file it is. Not at its birth, where the process's mask would take bits away,
/// and not by its name, under which somebody who may write there could have put a file of another.
///
/// # Errors
/// `AddrInUse` where another file is there by now, which stays as it is.
fn open_to(path: &Path, mode: u32) -> io::Result<u64> {
    let file = fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let about = fs::fstat(&file)?;
    let is_socket = FileType::from_raw_mode(about.st_mode) == FileType::Socket;
    // A second name of it would be one of another socket of ours.
    if !is_socket || about.st_uid != rustix::process::geteuid().as_raw() || about.st_nlink != 1 {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    if mode & !0o600 != 0 {
        // The descriptor is of the file itself; its name there leads nowhere else.
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        std::fs::set_permissions(name, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(about.st_ino)
}

/// A TCP socket for `at`, not yet bound.
pub fn tcp_socket(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        // Or [::] would take the IPv4 port too, and 0.0.0.0 could not be opened beside it.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// True if a Unix socket can be opened there: nothing is there, or a socket that nobody listens on any more.
pub fn local_is_free(path: &Path) -> io::Result<bool> {
    match is_stale(path, &SockAddr::unix(path)?) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(true),
        other => other,
    }
}

/// A socket file that nobody listens on any more.
fn is_stale(path: &Path, address: &SockAddr) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    Ok(probe.connect(address).is_err_and(|why| why.kind() == io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_of_ours_is_opened_to_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let (socket, secret, link) = (dir.path().join("lmtp"), dir.path().join("secret"), dir.path().join("link"));
        let _bound = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        std::fs::write(&secret, "x").expect("a file");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        let mode = |path: &Path| std::fs::symlink_metadata(path).expect("it is there").mode() & 0o777;
        let number = open_to(&socket, 0o660).expect("a socket of ours");
        assert_eq!(number, std::fs::symlink_metadata(&socket).expect("it is there").ino());
        assert_eq!(mode(&socket), 0o660);
        // What somebody has put in its place meanwhile.
        std::os::unix::fs::symlink(&secret, &link).expect("a link");
        for other in [&secret, &link] {
            assert!(open_to(other, 0o666).is_err_and(|why| why.kind() == io::ErrorKind::AddrInUse));
        }
        std::fs::remove_file(&link).expect("it was there");
        std::fs::hard_link(&socket, &link).expect("a second name");
        assert!(open_to(&link, 0o666).is_err());
        assert_eq!((mode(&secret), mode(&socket)), (0o600, 0o660));
    }
}
