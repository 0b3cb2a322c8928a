//! What a TLS connection exports for a login to be bound to: `tls-exporter` (RFC 9266), of TLS 1.3 alone.
//!
//! rustls has no exporter for connections without buffers, and hands the secret that exporters are made of to whoever logs
//! keys. So we log that one and nothing else, into a place of this thread, while the handshake goes on; what is kept of it is
//! the exported value (RFC 8446 §7.5). *Liberty*: nothing is exported under TLS 1.2, where it would be safe only with the
//! extended master secret (RFC 7627).

use std::cell::RefCell;
use std::fmt;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use rustls::KeyLog;
use sha2::{Digest, Sha256, Sha384};
use zeroize::Zeroizing;

use crate::proto::sasl::scram::BINDING_BYTES;

/// RFC 9266 §2.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// The name of the secret in key logs.
const SECRET: &str = "EXPORTER_SECRET";

thread_local! {
    /// What the handshake under way on this thread has exported. Taken at the end of the step that made it.
    static EXPORTED: RefCell<Option<[u8; BINDING_BYTES]>> = const { RefCell::new(None) };
}

/// Takes the secret of exporters, and lets all others go.
pub(super) struct Exporter;

impl KeyLog for Exporter {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == SECRET {
            EXPORTED.with_borrow_mut(|exported| *exported = export(secret));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == SECRET
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

/// What the step that was just taken on this thread has exported.
pub(super) fn taken() -> Option<[u8; BINDING_BYTES]> {
    EXPORTED.with_borrow_mut(Option::take)
}

/// The exported value for an empty context (RFC 8446 §7.5). The suite's hash is known by the length of its secret.
fn export(secret: &[u8]) -> Option<[u8; BINDING_BYTES]> {
    match secret.len() {
        32 => Some(export_with::<Hmac<Sha256>>(secret, &Sha256::digest(b""))),
        48 => Some(export_with::<Hmac<Sha384>>(secret, &Sha384::digest(b""))),
        _ => None,
    }
}

fn export_with<M: Mac + KeyInit>(secret: &[u8], empty: &[u8]) -> [u8; BINDING_BYTES] {
    let derived = Zeroizing::new(expand::<M>(secret, LABEL, empty, empty.len()));
    let exported = expand::<M>(&derived, b"exporter", empty, BINDING_BYTES);
    exported.try_into().expect("as long as was asked for")
}

/// HKDF-Expand-Label (RFC 8446 §7.1) of at most one block of the hash (RFC 5869 §2.3).
fn expand<M: Mac + KeyInit>(secret: &[u8], label: &[u8], context: &[u8], octets: usize) -> Vec<u8> {
    let mut mac = <M as Mac>::new_from_slice(secret).expect("HMAC takes keys of any length");
    let length = u16::try_from(octets).expect("one block");
    mac.update(&length.to_be_bytes());
    mac.update(&[6 + label.len() as u8]);
    mac.update(b"tls13 ");
    mac.update(label);
    mac.update(&[context.len() as u8]);
    mac.update(context);
    mac.update(&[1]);
    let mut block = mac.finalize().into_bytes().to_vec();
    assert!(octets <= block.len(), "one block");
    block.truncate(octets);
    block
}
