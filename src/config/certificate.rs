//! Certificates beside the first: for other names, or for the same names with another kind of key.
//!
//! ```toml
//! [tls]                                  # the first: shown to whoever asks for no name that is known
//! cert = "mx.example.org/fullchain.pem"
//! key = "mx.example.org/privkey.pem"
//!
//! [[certificate]]
//! cert = "mail.example.net/fullchain.pem"
//! key = "mail.example.net/privkey.pem"
//! ```
//!
//! Without `[tls]` the first of the list is the first, and no certificate of our own is made.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::TlsPaths;
use super::mistake::{Source, nearest};
use super::value::{Kind, Value};

/// Certificates in one configuration, beside the first. More: refused. Each is read at the start and at every reload.
pub const CERTIFICATES_MAX: usize = 1_000;

/// A certificate and its key that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Where they are.
    pub paths: TlsPaths,
    /// Where the table begins.
    pub from: Source,
    /// Where the certificate is named.
    pub cert_at: Source,
    /// Where the key is named.
    pub key_at: Source,
}

/// One `[[certificate]]`. Hands each mistake to `wrong`: where (octets; `None`: the table) and what to do. `folder`: what paths
/// are relative to. `place`: of an octet.
pub fn from_table(
    table: &DeTable<'_>,
    from: Source,
    folder: Option<&Path>,
    place: &dyn Fn(usize) -> Source,
    wrong: &mut dyn FnMut(Option<Range<usize>>, String),
) -> Option<Certificate> {
    let (mut cert, mut key) = (None, None);
    let mut said = (false, false);
    for (name, value) in table.iter() {
        let mut path = |given: &mut bool, found: &DeValue<'_>| -> Option<(PathBuf, Source)> {
            *given = true;
            match Kind::Path.read(found) {
                Ok(Value::Path(path)) => {
                    Some((folder.map_or(path.clone(), |folder| folder.join(&path)), place(value.span().start)))
                }
                Ok(_) => None,
                Err(wrongs) => {
                    for one in wrongs {
                        wrong(Some(value.span()), format!("{}: {}", name.get_ref(), one.why));
                    }
                    None
                }
            }
        };
        match name.get_ref().as_ref() {
            "cert" => cert = path(&mut said.0, value.get_ref()),
            "key" => key = path(&mut said.1, value.get_ref()),
            unknown => {
                let hint = match nearest(unknown, ["cert", "key"].into_iter()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "it has cert and key".to_owned(),
                };
                wrong(Some(name.span()), format!("`{unknown}` is not a setting of a certificate: {hint}"));
            }
        }
    }
    if !said.0 {
        wrong(None, "it has no file: write cert = \"fullchain.pem\", for example".to_owned());
    }
    if !said.1 {
        wrong(None, "it has no private key: write key = \"privkey.pem\", for example".to_owned());
    }
    let ((cert, cert_at), (key, key_at)) = (cert?, key?);
    Some(Certificate { paths: TlsPaths { cert, key }, from, cert_at, key_at })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{Asked, Effective, load, read, show};

    /// Every mistake of form, as `LINE:COLUMN: …`.
    fn wrong(text: &str) -> Vec<String> {
        let of = |mistake: &crate::config::Mistake| match &mistake.at {
            Source::File(place) => format!("{}:{}: {}", place.line, place.column, mistake.why),
            other => panic!("{other:?}"),
        };
        let mut mistakes = read::text(text.as_bytes(), None).mistakes;
        mistakes.sort_by(|a, b| (&a.at, &a.why).cmp(&(&b.at, &b.why)));
        mistakes.iter().map(of).collect()
    }

    #[test]
    fn every_mistake_is_told_with_line_and_column() {
        let said = wrong(
            "[[certificate]]\ncert = 5\nkey = \"k.pem\"\n[[certificate]]\ncret = \"c.pem\"\nkey = \"k.pem\"\n[[certificate]]\n",
        );
        for (said, begins) in said.iter().zip([
            "2:8: certificate: cert: this is a whole number",
            "4:1: certificate: it has no file",
            "5:1: certificate: `cret` is not a setting of a certificate: did you mean `cert`?",
            "7:1: certificate: it has no file",
            "7:1: certificate: it has no private key",
        ]) {
            assert!(said.starts_with(begins), "{said} should begin with {begins}");
        }
        assert_eq!(said.len(), 5, "{said:?}");
        assert!(wrong("[certificate]\ncert = \"c\"\n")[0].contains("write [[certificate]], in double brackets"));
        assert!(wrong("certificate = [1]\n")[0].contains("a certificate is a table"));
        assert!(wrong("[[certificates]]\n")[0].contains("did you mean [[certificate]]?"));
        let many = "[[certificate]]\ncert = \"c\"\nkey = \"k\"\n".repeat(CERTIFICATES_MAX + 1);
        assert!(wrong(&many)[0].contains("more than 1000 certificates"));
    }

    /// A folder with three certificates: `a` and `b`, and `ip`, which holds for no name.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, name) in [("a", "a.test"), ("b", "b.test"), ("ip", "192.0.2.1")] {
            let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
            fs::write(dir.path().join(format!("{file}.pem")), made.cert.pem()).unwrap();
            let key = dir.path().join(format!("{file}.key"));
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        dir
    }

    fn loaded(dir: &Path, text: &str) -> Result<Effective, String> {
        let file = dir.join("f");
        fs::write(&file, text).unwrap();
        load(&Asked { file: Some(file), ..Asked::default() }).map_err(|mistakes| mistakes.to_string())
    }

    const A: &str = "[[certificate]]\ncert = \"a.pem\"\nkey = \"a.key\"\n";
    const B: &str = "[[certificate]]\ncert = \"b.pem\"\nkey = \"b.key\"\n";

    #[test]
    fn the_one_of_tls_comes_first_else_the_first_of_the_list_and_ours_is_not_made() {
        let dir = folder();
        let files = |settings: &Effective| -> Vec<String> {
            let name = |paths: TlsPaths| paths.cert.file_name().unwrap().to_str().unwrap().to_owned();
            settings.tls().into_iter().map(name).collect()
        };
        let alone = loaded(dir.path(), "data = \"d\"\n").unwrap();
        assert_eq!(files(&alone), ["cert.pem"]);
        let list = loaded(dir.path(), &format!("data = \"d\"\n{A}{B}")).unwrap();
        assert_eq!(files(&list), ["a.pem", "b.pem"]);
        let tls = "[tls]\ncert = \"b.pem\"\nkey = \"b.key\"\n";
        let both = loaded(dir.path(), &format!("data = \"d\"\n{tls}{A}")).unwrap();
        assert_eq!(files(&both), ["b.pem", "a.pem"]);
        // What is shown is a configuration that means the same.
        for settings in [alone, list, both] {
            for text in [show::effective(&settings), show::given(&settings)] {
                let again = dir.path().join("again");
                fs::create_dir_all(&again).unwrap();
                assert_eq!(files(&loaded(&again, &text).unwrap()), files(&settings), "{text}");
            }
        }
    }

    #[test]
    fn a101_each_file_that_a_start_would_refuse_is_a_mistake_at_its_place() {
        let dir = folder();
        let said = loaded(dir.path(), &format!("data = \"d\"\n{A}{B}").replace("b.pem", "none.pem")).unwrap_err();
        assert!(said.contains("f:6:8: certificate: cert: ") && said.contains("none.pem: No such file"), "{said}");
        let said = loaded(dir.path(), &format!("data = \"d\"\n{A}{B}").replace("b.key", "a.key")).unwrap_err();
        assert!(said.contains("f:6:8: certificate: cert: ") && said.contains("cannot be used together"), "{said}");
        fs::set_permissions(dir.path().join("b.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let said = loaded(dir.path(), &format!("data = \"d\"\n{A}{B}")).unwrap_err();
        assert!(said.contains("f:7:7: certificate: key: everybody may read") && said.lines().count() == 1, "{said}");
        let ip = A.replace("a.", "ip.");
        assert!(loaded(dir.path(), &format!("data = \"d\"\n{ip}")).is_ok(), "the first may hold for no name");
        let said = loaded(dir.path(), &format!("data = \"d\"\n{A}{ip}")).unwrap_err();
        assert!(said.contains("f:6:8: certificate: cert: ") && said.contains("holds for no DNS name"), "{said}");
    }
}
