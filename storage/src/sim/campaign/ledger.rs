//! The ledger: what was looked at, at which commit, kept in a file that is committed with the code.
//!
//! A JSON array, one campaign an entry, appended to. Figures here were measured; nothing reads them back.

use std::io;
use std::path::Path;

use super::tally::Tally;

/// A campaign's entry.
pub struct Entry<'a> {
    /// Which campaign.
    pub campaign: &'a str,
    /// At which commit; `unknown` outside a working copy.
    pub commit: String,
    /// The first seed.
    pub seed: u64,
    /// Threads.
    pub jobs: usize,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// How long it took, seconds.
    pub took_s: f64,
    /// What was seen.
    pub tally: &'a Tally,
    /// What was found, in words.
    pub found: Vec<String>,
}

impl Entry<'_> {
    fn line(&self) -> String {
        let tally = self.tally;
        let found: Vec<String> = self.found.iter().map(|why| text(why)).collect();
        let fields = [
            ("campaign", text(self.campaign)),
            ("commit", text(&self.commit)),
            ("seed", self.seed.to_string()),
            ("seeds", tally.seeds.to_string()),
            ("jobs", self.jobs.to_string()),
            ("at_ms", self.at_ms.to_string()),
            ("took_s", format!("{:.1}", self.took_s)),
            ("points", tally.points.to_string()),
            ("images", tally.images.to_string()),
            ("images_at", format!("{:?}", tally.images_at)),
            ("known", tally.known.to_string()),
            ("judged", tally.judged.to_string()),
            ("whole_traces", tally.whole.to_string()),
            ("faults", tally.struck.to_string()),
            ("unsynced_mean", format!("{:.2}", tally.unsynced_mean())),
            ("doubts_mean", format!("{:.2}", tally.doubts_mean())),
            ("found", format!("[{}]", found.join(", "))),
        ];
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", fields.join(", "))
    }
}

/// A JSON string (RFC 8259 §7).
fn text(what: &str) -> String {
    let mut out = String::from('"');
    for c in what.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Appends an entry, one line each; makes the file if there is none.
///
/// # Errors
/// As the file system says; `InvalidData` when the file is no ledger (it is left as it is).
pub fn append(path: &Path, entry: &Entry) -> io::Result<()> {
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) if why.kind() == io::ErrorKind::NotFound => "[]".to_owned(),
        Err(why) => return Err(why),
    };
    let entries = before.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::trim);
    let entries = entries.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no JSON array"))?;
    let comma = if entries.is_empty() { "" } else { ",\n" };
    let fresh = path.with_extension("json.new");
    std::fs::write(&fresh, format!("[\n{entries}{comma}{}\n]\n", entry.line()))?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_one_behind_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.json");
        for seed in 1..=2 {
            let found = vec!["a \"word\"\n".to_owned()];
            let tally = &Tally::default();
            let entry =
                Entry { campaign: "crash", commit: "c".into(), seed, jobs: 1, at_ms: 0, took_s: 1.0, tally, found };
            append(&path, &entry).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("\"seed\": 1,") && text.contains("\"seed\": 2,"), "{text}");
        assert!(text.contains(r#""found": ["a \"word\"\u000a"]"#), "{text}");
        std::fs::write(&path, "no ledger").unwrap();
        let entry = |tally| Entry {
            campaign: "",
            commit: String::new(),
            seed: 1,
            jobs: 1,
            at_ms: 0,
            took_s: 1.0,
            tally,
            found: vec![],
        };
        assert!(append(&path, &entry(&Tally::default())).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "no ledger");
    }
}
