//! Certificates for a test, made and made anew, with the configuration that lists them.

#![allow(dead_code, reason = "each test binary uses its own part of the safe")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Certificates of a test, each in two files of its name.
pub struct Safe {
    dir: tempfile::TempDir,
}

pub const RSA: &rcgen::SignatureAlgorithm = &PKCS_RSA_SHA256;
pub const ECDSA: &rcgen::SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;

impl Safe {
    pub fn new() -> Safe {
        Safe { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes `FILE.pem` and `FILE.key` for these names, or makes them anew.
    pub fn make(&self, file: &str, algorithm: &'static rcgen::SignatureAlgorithm, names: &[&str]) {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        // OpenSSL looks for whom it trusts by this name.
        params.distinguished_name.push(DnType::CommonName, file);
        let cert = params.self_signed(&key).expect("a certificate");
        let place = self.path(&format!("{file}.key"));
        fs::write(&place, key.serialize_pem()).expect("writing");
        fs::set_permissions(place, fs::Permissions::from_mode(0o600)).expect("a key of one's own");
        fs::write(self.path(&format!("{file}.pem")), cert.pem()).expect("writing");
    }

    /// Writes a configuration that lists these files, and returns its path.
    pub fn list(&self, files: &[&str]) -> String {
        let entry = |file: &&str| format!("[[certificate]]\ncert = \"{file}.pem\"\nkey = \"{file}.key\"\n");
        let path = self.path("ringpost.toml");
        fs::write(&path, files.iter().map(entry).collect::<String>()).expect("writing");
        path.to_str().expect("a plain path").to_owned()
    }

    /// As it is on the wire.
    pub fn der(&self, file: &str) -> Vec<u8> {
        let path = self.path(&format!("{file}.pem"));
        CertificateDer::from_pem_file(path).expect("a certificate").to_vec()
    }
}
