//! How a command's end is told: the tagged line, with the response code that its answer earns.
//!
//! APPENDUID and COPYUID: RFC 4315 §3, of a MOVE in an untagged line: RFC 6851 §4.3. MODIFIED: RFC 7162 §3.1.3.

use super::ask::Answer;
use super::response::number;
use super::set::Set;

/// `tag OK [APPENDUID …] APPEND completed`: the tagged line of a command that was carried out, with what its answer has to
/// say. False, and nothing appended, if the answer is of another kind.
#[must_use]
pub fn completed(out: &mut Vec<u8>, tag: &[u8], name: &str, answer: &Answer) -> bool {
    let begin = out.len();
    out.extend_from_slice(tag);
    out.extend_from_slice(b" OK ");
    match answer {
        Answer::Done => {}
        Answer::Appended { uidvalidity, uids } => {
            out.extend_from_slice(b"[APPENDUID ");
            number(out, u64::from(*uidvalidity));
            out.push(b' ');
            uids.write(out);
            out.extend_from_slice(b"] ");
        }
        Answer::Copied { uidvalidity, from, to } => {
            copy_uid(out, *uidvalidity, from, to);
            out.push(b' ');
        }
        Answer::Modified { left_alone } => {
            out.extend_from_slice(b"[MODIFIED ");
            left_alone.write(out);
            out.extend_from_slice(b"] Some were left alone: ");
        }
        Answer::ModifiedAndGone { left_alone } => {
            out.truncate(begin + tag.len());
            out.extend_from_slice(b" NO [MODIFIED ");
            left_alone.write(out);
            out.extend_from_slice(b"] Some of the messages no longer exist\r\n");
            return true;
        }
        _ => {
            out.truncate(begin);
            return false;
        }
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b" completed\r\n");
    true
}

/// `* OK [COPYUID …]`: what a MOVE has moved, told before its EXPUNGE lines (RFC 6851 §4.3).
pub fn moved(out: &mut Vec<u8>, uidvalidity: u32, from: &Set, to: &Set) {
    out.extend_from_slice(b"* OK ");
    copy_uid(out, uidvalidity, from, to);
    out.extend_from_slice(b" Moved\r\n");
}

/// `[COPYUID uidvalidity from to]` (RFC 4315 §3)
pub fn copy_uid(out: &mut Vec<u8>, uidvalidity: u32, from: &Set, to: &Set) {
    out.extend_from_slice(b"[COPYUID ");
    number(out, u64::from(uidvalidity));
    out.push(b' ');
    from.write(out);
    out.push(b' ');
    to.write(out);
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_said_with_its_code() {
        let said = |answer: &Answer| {
            let mut out = Vec::new();
            let said = completed(&mut out, b"a1", "DEED", answer);
            assert_eq!(said, !out.is_empty());
            String::from_utf8(out).expect("ASCII")
        };
        let (from, to) = (Set::of_rising(42..=69), Set::of_rising([1_202, 1_203]));
        assert_eq!(said(&Answer::Done), "a1 OK DEED completed\r\n");
        let copied = Answer::Copied { uidvalidity: 432_432, from: from.clone(), to: to.clone() };
        assert_eq!(said(&copied), "a1 OK [COPYUID 432432 42:69 1202:1203] DEED completed\r\n");
        let appended = Answer::Appended { uidvalidity: 7, uids: to.clone() };
        assert_eq!(said(&appended), "a1 OK [APPENDUID 7 1202:1203] DEED completed\r\n");
        let modified = Answer::Modified { left_alone: to.clone() };
        assert_eq!(said(&modified), "a1 OK [MODIFIED 1202:1203] Some were left alone: DEED completed\r\n");
        let gone = Answer::ModifiedAndGone { left_alone: to.clone() };
        assert_eq!(said(&gone), "a1 NO [MODIFIED 1202:1203] Some of the messages no longer exist\r\n");
        assert_eq!(said(&Answer::Go), "");
        let mut out = Vec::new();
        moved(&mut out, 1, &from, &to);
        assert_eq!(out, b"* OK [COPYUID 1 42:69 1202:1203] Moved\r\n");
    }
}
