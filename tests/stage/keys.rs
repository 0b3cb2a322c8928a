//! What the worlds know of names for SCRAM: alice's keys, whose password is `secret`, and nobody's. Chance is always the same.

use std::sync::OnceLock;

use ringpost::proto::sasl::scram::{BINDING_BYTES, Keys, Known, NONCE_BYTES};

const ITERATIONS: u32 = 4_096;

pub fn known(name: &[u8]) -> Box<Known> {
    static ALICE: OnceLock<Keys> = OnceLock::new();
    let keys = if name == b"alice" {
        ALICE.get_or_init(|| Keys::derive(b"secret", b"salt-of-alice-16", ITERATIONS)).clone()
    } else {
        Keys::of_nobody(b"stage", name, 16, ITERATIONS)
    };
    Box::new(Known { keys, nonce: [0x5a; NONCE_BYTES], binding: Some([7; BINDING_BYTES]) })
}

/// True if this proof was held against alice's keys.
pub fn is_alices(evidence: &ringpost::proto::sasl::Evidence) -> bool {
    match evidence {
        ringpost::proto::sasl::Evidence::Password(password) => password[..] == *b"secret",
        ringpost::proto::sasl::Evidence::Proof(proof) => proof.holds,
    }
}
