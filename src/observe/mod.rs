//! What happened, as plain values: counters that each shard keeps for itself and anyone may read.
//!
//! A shard writes its own row and nobody else's, so a count costs a load and a store on a cache line
//! that no other core writes. Readers sum the rows when asked.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub mod log;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Everything a shard counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// All counters, in order.
            pub const ALL: &'static [Counter] = &[$(Counter::$name,)*];

            /// The name as it is shown outside.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Counter::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    Connections = "connections_total",
    /// Connections refused at the door by a bound.
    ConnectionsRefused = "connections_refused_total",
    /// Commands executed, all protocols.
    Commands = "commands_total",
    /// Messages acknowledged as durable (SMTP and APPEND).
    MessagesAccepted = "messages_accepted_total",
    /// Messages refused after their body was received.
    MessagesRefused = "messages_refused_total",
    /// Messages whose fate we could not tell the client.
    MessagesUnknown = "messages_unknown_total",
    /// Bytes received from sockets.
    ReceivedBytes = "received_bytes_total",
    /// Bytes sent to sockets.
    SentBytes = "sent_bytes_total",
    /// Message body bytes copied in user space between receive and commit.
    BodyBytesCopied = "body_copied_bytes_total",
    /// Message body bytes received.
    BodyBytesReceived = "body_received_bytes_total",
    /// io_uring_enter calls of the shard's own ring.
    RingEnters = "ring_enters_total",
    /// Completions reaped from the shard's own ring.
    RingCompletions = "ring_completions_total",
    /// fdatasync completions reaped.
    RingSyncs = "ring_syncs_total",
    /// Multishot receives ended because no provided buffer was left.
    RingNoBuffers = "ring_no_buffers_total",
    /// Multishot accepts ended for want of descriptors.
    AcceptPaused = "accept_paused_total",
    /// Requests sent to another shard.
    MeshRequests = "mesh_requests_total",
    /// Requests refused for want of a slot or byte credit.
    MeshFull = "mesh_full_total",
    /// Jobs given to the side pool.
    SideJobs = "side_jobs_total",
    /// Jobs refused because the side pool's queue was full.
    SideFull = "side_full_total",
    /// Logins that succeeded.
    Logins = "logins_total",
    /// Logins that failed.
    LoginsFailed = "logins_failed_total",
    /// TLS handshakes finished with a full key exchange.
    TlsHandshakes = "tls_handshakes_total",
    /// TLS handshakes finished by resuming a session.
    TlsResumed = "tls_resumed_total",
    /// TLS handshakes that were not finished.
    TlsFailed = "tls_failed_total",
    /// Connections closed because octets came between STARTTLS and its answer.
    StartTlsInjections = "starttls_injections_total",
    /// Conversations that left for the shard of their account.
    HandoffsOut = "handoffs_out_total",
    /// Conversations that came from another shard.
    HandoffsIn = "handoffs_in_total",
    /// Tasks that panicked and were contained.
    Panics = "panics_total",
}

/// The most of something that a shard has seen since it started: what a bound is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Peak {
    /// Reply octets buffered for one connection.
    OutBufferBytes,
    /// Work done by one task while the others waited, in the units of `mailbox::slices`.
    SliceWork,
}

type Row = Arc<Vec<AtomicU64>>;

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

thread_local! {
    static ROW: RefCell<Row> = RefCell::new(new_row());
    static PEAKS: [Cell<u64>; 2] = const { [Cell::new(0), Cell::new(0)] };
}

fn new_row() -> Row {
    let row: Row = Arc::new(Counter::ALL.iter().map(|_| AtomicU64::new(0)).collect());
    ROWS.lock().expect("no holder of this lock can panic").push(row.clone());
    row
}

/// Adds one.
pub fn count(counter: Counter) {
    add(counter, 1);
}

/// Adds `n`. Only the row's own thread writes it, so load and store need no lock prefix.
pub fn add(counter: Counter, n: u64) {
    ROW.with_borrow(|row| {
        let cell = &row[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    });
}

/// The sum over all threads.
#[must_use]
pub fn total(counter: Counter) -> u64 {
    let rows = ROWS.lock().expect("no holder of this lock can panic");
    rows.iter().map(|row| row[counter as usize].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

/// Notes a value; the highest is kept.
pub fn reached(peak: Peak, value: u64) {
    PEAKS.with(|peaks| {
        let highest = &peaks[peak as usize];
        highest.set(highest.get().max(value));
    });
}

/// The highest value of this thread.
#[must_use]
pub fn highest_here(peak: Peak) -> u64 {
    PEAKS.with(|peaks| peaks[peak as usize].get())
}

/// This thread's own count.
#[must_use]
pub fn here(counter: Counter) -> u64 {
    ROW.with_borrow(|row| row[counter as usize].load(Ordering::Relaxed))
}
