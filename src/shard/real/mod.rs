//! The real world (stub).
#![allow(unused_variables, clippy::unused_async)]
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringpost_storage::disk::Bytes;

use super::{MeshError, Moment, Peer, ShardId, SideError};

const LATER: &str = "being built";
pub fn id() -> ShardId {
    unreachable!("{LATER}")
}
pub fn count() -> ShardId {
    unreachable!("{LATER}")
}
pub fn now() -> Moment {
    unreachable!("{LATER}")
}
pub fn wall_ms() -> u64 {
    unreachable!("{LATER}")
}
pub fn random(into: &mut [u8]) {
    unreachable!("{LATER}")
}
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + 'static) {
    unreachable!("{LATER}")
}
pub async fn sleep(time: Duration) {
    unreachable!("{LATER}")
}
pub async fn run_dry() {
    unreachable!("{LATER}")
}
pub async fn side<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, SideError> {
    unreachable!("{LATER}")
}
pub async fn stop_requested() {
    unreachable!("{LATER}")
}
pub fn request_stop() {
    unreachable!("{LATER}")
}
pub struct Listener;
impl Listener {
    pub fn tcp(at: SocketAddr) -> io::Result<Self> {
        unreachable!("{LATER}")
    }
    pub fn local(path: &Path) -> io::Result<Self> {
        unreachable!("{LATER}")
    }
    pub async fn accept(&mut self) -> io::Result<Stream> {
        unreachable!("{LATER}")
    }
    pub fn local_addr(&self) -> Peer {
        unreachable!("{LATER}")
    }
}
pub struct Stream;
impl Stream {
    pub fn peer(&self) -> Peer {
        unreachable!("{LATER}")
    }
    pub async fn recv(&mut self) -> io::Result<Chunk> {
        unreachable!("{LATER}")
    }
    pub async fn send(&mut self, bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        unreachable!("{LATER}")
    }
    pub fn set_deadline(&mut self, at: Option<Moment>) {
        unreachable!("{LATER}")
    }
    pub async fn close(self) {
        unreachable!("{LATER}")
    }
    pub fn reset(self) {
        unreachable!("{LATER}")
    }
    pub async fn detach(self) -> io::Result<Detached> {
        unreachable!("{LATER}")
    }
}
pub struct Detached;
impl Detached {
    pub fn attach(self) -> Stream {
        unreachable!("{LATER}")
    }
}
pub type Chunk = Vec<u8>;
#[derive(Clone)]
pub struct Disk;
impl Disk {
    pub fn open(folder: &Path) -> io::Result<Self> {
        unreachable!("{LATER}")
    }
    pub async fn list(&self) -> io::Result<Vec<String>> {
        unreachable!("{LATER}")
    }
    pub async fn create(&self, name: &str, len: u64) -> io::Result<DiskFile> {
        unreachable!("{LATER}")
    }
    pub async fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        unreachable!("{LATER}")
    }
    pub async fn remove(&self, name: &str) -> io::Result<()> {
        unreachable!("{LATER}")
    }
    pub fn free_bytes(&self) -> io::Result<u64> {
        unreachable!("{LATER}")
    }
}
#[derive(Clone)]
pub struct DiskFile;
impl DiskFile {
    pub fn len(&self) -> u64 {
        unreachable!("{LATER}")
    }
    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        unreachable!("{LATER}")
    }
    pub async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        unreachable!("{LATER}")
    }
}
pub struct Mesh<Q, R>(std::marker::PhantomData<(Q, R)>);
impl<Q, R> Clone for Mesh<Q, R> {
    fn clone(&self) -> Self {
        unreachable!("{LATER}")
    }
}
impl<Q: Send + 'static, R: Send + 'static> Mesh<Q, R> {
    pub async fn call(&self, to: ShardId, request: Q, body_bytes: u64) -> Result<R, MeshError> {
        unreachable!("{LATER}")
    }
    pub fn serve<H, Fut>(&self, handler: H)
    where
        H: Fn(ShardId, Q) -> Fut + Clone + 'static,
        Fut: Future<Output = R> + 'static,
    {
        unreachable!("{LATER}")
    }
}
pub fn run<Q, R, F, Fut>(plan: super::Plan, main: F) -> Result<(), super::StartError>
where
    Q: Send + 'static,
    R: Send + 'static,
    F: Fn(super::Mesh<Q, R>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), super::StartError>> + 'static,
{
    unreachable!("{LATER}")
}
