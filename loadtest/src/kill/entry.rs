//! An entry in the ledger of campaigns (`tests/ledger.json`): a JSON array, one campaign a line, appended to.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use serde_json::{Value, json};

use super::rounds::Summary;

/// Appends a summary, with the commit and the time. Errors: as the file system says, or the file is no ledger; it is left
/// as it is then.
pub fn append(path: &Path, summary: &Summary) -> Result<(), String> {
    let fail = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) if why.kind() == io::ErrorKind::NotFound => "[]".to_owned(),
        Err(why) => return Err(fail(&why)),
    };
    let entries = before.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::trim);
    let entries = entries.ok_or_else(|| fail(&"this is no JSON array"))?;
    let mut entry = serde_json::to_value(summary).map_err(|why| fail(&why))?;
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    if let Value::Object(fields) = &mut entry {
        fields.insert("commit".to_owned(), json!(commit()));
        fields.insert("at_ms".to_owned(), json!(u64::try_from(at_ms).unwrap_or(0)));
    }
    let comma = if entries.is_empty() { "" } else { ",\n" };
    let fresh = path.with_extension("json.new");
    fs::write(&fresh, format!("[\n{entries}{comma}{entry}\n]\n")).map_err(|why| fail(&why))?;
    fs::rename(&fresh, path).map_err(|why| fail(&why))
}

/// `unknown` outside a working copy.
fn commit() -> String {
    let asked = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let said = asked.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    said.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
