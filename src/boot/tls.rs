//! The certificates: the operator's, or one that the first start makes for itself.
//!
//! - The one made here is signed by nobody but itself, names `localhost`, `127.0.0.1`, `::1` and this host's name, and
//!   holds for ten years: enough to try Ringpost with a mail program that is told to trust this file.
//! - A key that others on this host can read is refused (A193); a certificate that does not fit its key is refused
//!   (A101); one that does not hold now is complained of in the log and shown among the figures. There is no start that quietly goes without TLS.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use crate::config::TlsPaths;
use crate::mail::date;
use crate::net::Acceptors;
use crate::net::certificates::{Certificates, Identity, Reader};
use crate::net::validity::Validity;
use crate::shard::StartError;

/// Days that a certificate made here holds.
const VALID_DAYS: i64 = 3_650;
/// Days before its end from which a certificate is complained of at the start.
const EXPIRY_WARNED_DAYS: i64 = 14;

/// What the doors shake hands with, the default first. `own`: the folder in which the only one is made, for `hostname`, while
/// there is nothing in it.
///
/// # Errors
/// A sentence that names the file and says what to do.
pub fn acceptors(
    paths: &[TlsPaths],
    own: Option<&Path>,
    hostname: &str,
    reader: Reader,
) -> Result<Acceptors, StartError> {
    if let Some(folder) = own
        && !is_used(folder).map_err(|why| io_error("looking into", folder, why))?
    {
        make(folder, hostname)?;
        tracing::info!(folder = %folder.display(), "made a certificate that nobody but itself vouches for");
    }
    let certificates = certificates(paths).map_err(StartError::Setting)?;
    complain(&certificates, own, OffsetDateTime::now_utc().unix_timestamp());
    Acceptors::renewable(certificates, reader).map_err(|why| StartError::Setting(format!("no TLS can be had: {why}")))
}

/// Reads the certificates of a running server, and says what is to be said of them.
///
/// # Errors
/// A sentence that names the file and says what to do.
pub fn read_anew(paths: &[TlsPaths], data: &Path) -> Result<Certificates, String> {
    let certificates = certificates(paths)?;
    let own = paths.first().is_some_and(|first| first.are_own(data)).then(|| data.join("tls"));
    complain(&certificates, own.as_deref(), OffsetDateTime::now_utc().unix_timestamp());
    tracing::info!(target: "tls", certificates = certificates.all().len(), "read anew");
    Ok(certificates)
}

/// Reads certificates with their keys, the default first.
///
/// # Errors
/// A sentence that names the file and says what to do.
pub fn certificates(paths: &[TlsPaths]) -> Result<Certificates, String> {
    let read = |TlsPaths { cert, key }: &TlsPaths| {
        let mode = fs::metadata(key).map_err(|why| format!("{}: {why}", key.display()))?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(format!(
                "{}: everybody on this host may use this private key (mode {:04o}): chmod 600 it",
                key.display(),
                mode & 0o7777
            ));
        }
        Identity::read(cert, key)
    };
    Certificates::of(paths.iter().map(read).collect::<Result<_, _>>()?)
}

/// Says in the log which certificates do not hold now, or not for long (A101). `own`: the folder, if the first is one that
/// we make. Nothing is refused for it: mail that clients may yet take is better than none.
fn complain(certificates: &Certificates, own: Option<&Path>, now_s: i64) {
    for (nth, one) in certificates.all().iter().enumerate() {
        complain_of(one, own.filter(|_| nth == 0), now_s);
    }
}

fn complain_of(one: &Identity, own: Option<&Path>, now_s: i64) {
    let file = one.file().display();
    let Some(Validity { from_s, until_s }) = one.validity() else {
        tracing::warn!(target: "tls", %file, "the dates of the certificate cannot be read: nobody will say when it ends");
        return;
    };
    let cure = match own {
        Some(folder) => format!("move {} away, and the next start makes another", folder.display()),
        None => "put the renewed one and its key in place, and run `ringpost tls reload`".to_owned(),
    };
    let (from, until) = (date::http(from_s.saturating_mul(1_000)), date::http(until_s.saturating_mul(1_000)));
    if now_s < from_s {
        tracing::error!(target: "tls", %file, from, until, "the certificate does not hold yet: set the clock right, or {cure}");
    } else if now_s > until_s {
        tracing::error!(target: "tls", %file, from, until, "the certificate has expired and clients will refuse it: {cure}");
    } else if until_s - now_s < EXPIRY_WARNED_DAYS * 86_400 {
        tracing::warn!(target: "tls", %file, until, "the certificate ends soon: {cure}");
    }
}

/// The names of the two files in a folder of our own.
pub const CERT: &str = "cert.pem";
/// See [`CERT`].
pub const KEY: &str = "key.pem";

fn is_used(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(why),
    }
}

/// Both files or none: they are written into a folder beside, which then takes the place of this one.
fn make(folder: &Path, hostname: &str) -> Result<(), StartError> {
    let made = self_signed(hostname).map_err(|why| StartError::Setting(format!("making a certificate: {why}")))?;
    let beside = folder.with_extension("new");
    let written = || -> io::Result<()> {
        match fs::remove_dir_all(&beside) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&beside)?;
        write(&beside.join(KEY), 0o600, &made.key)?;
        write(&beside.join(CERT), 0o644, &made.cert)?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, folder)?;
        fs::File::open(folder.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(|why| io_error("making", folder, why))
}

/// A certificate and its key as PEM text.
struct Made {
    cert: String,
    key: zeroize::Zeroizing<String>,
}

fn self_signed(hostname: &str) -> Result<Made, rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !names.iter().any(|n| n == hostname) && !hostname.is_empty() {
        names.push(hostname.to_owned());
    }
    let mut params = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Ringpost, vouched for by itself");
    params.distinguished_name = name;
    // A day of clocks that disagree.
    params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(VALID_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Ok(Made { cert: cert.pem(), key: key.serialize_pem().into() })
}

/// Writes a new file, with these permissions from its first octet on.
fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn io_error(doing: &str, path: &Path, why: io::Error) -> StartError {
    StartError::Io { doing: format!("{doing} {}", path.display()), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a start with its own folder says.
    fn start(folder: &Path) -> Result<(), String> {
        let paths = TlsPaths { cert: folder.join(CERT), key: folder.join(KEY) };
        let reader: Reader = Box::new(|| Err("nobody asks".to_owned()));
        acceptors(&[paths], Some(folder), "mail.example.org", reader).map(|_| ()).map_err(|why| why.to_string())
    }

    #[test]
    fn a_first_start_makes_a_certificate_and_later_ones_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tls");
        fs::create_dir(dir.path().join("tls.new")).unwrap();
        fs::write(dir.path().join("tls.new/key.pem"), "left by a crash").unwrap();
        start(&folder).unwrap();
        let made = fs::read_to_string(folder.join(CERT)).unwrap();
        assert!(made.starts_with("-----BEGIN CERTIFICATE-----"), "{made}");
        assert_eq!(fs::metadata(folder.join(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        start(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join(CERT)).unwrap(), made);
    }

    #[test]
    fn a101_a_certificate_that_does_not_fit_its_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (dir.path().join("a"), dir.path().join("b"));
        start(&ours).unwrap();
        start(&other).unwrap();
        let error = certificates(&[TlsPaths { cert: ours.join(CERT), key: other.join(KEY) }]).unwrap_err();
        assert!(error.contains("cannot be used together"), "{error}");
        fs::write(ours.join(CERT), "hello").unwrap();
        let error = start(&ours).unwrap_err();
        assert!(error.contains("no certificate in it"), "{error}");
        fs::remove_file(ours.join(CERT)).unwrap();
        let error = start(&ours).unwrap_err();
        assert!(error.contains("cert.pem"), "an operator's key is never thrown away: {error}");
    }

    #[test]
    fn a193_a_key_that_everybody_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tls");
        start(&folder).unwrap();
        fs::set_permissions(folder.join(KEY), fs::Permissions::from_mode(0o644)).unwrap();
        let error = start(&folder).unwrap_err();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
