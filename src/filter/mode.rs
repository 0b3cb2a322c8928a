//! From what a filter found to what is done about it.

use crate::proto::smtp::Reply;

/// What is done about what a filter finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is not asked.
    #[default]
    Off,
    /// It is logged and counted.
    DryRun,
    /// The letter says so in a header field.
    Tag,
    /// Refused for now.
    Defer,
    /// Refused for good.
    Reject,
}

impl Mode {
    /// What may be written in the configuration, in the order of the enum.
    pub const WORDS: &'static [&'static str] = &["off", "dry-run", "tag", "defer", "reject"];

    /// The mode of that word; any other word: off.
    #[must_use]
    pub fn named(word: &str) -> Mode {
        match word {
            "dry-run" => Mode::DryRun,
            "tag" => Mode::Tag,
            "defer" => Mode::Defer,
            "reject" => Mode::Reject,
            _ => Mode::Off,
        }
    }

    /// True if the filter is asked.
    #[must_use]
    pub fn is_on(self) -> bool {
        self != Mode::Off
    }
}

/// What came of asking a filter, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has nothing to say.
    Pass,
    /// It would have refused.
    DryRun,
    /// The letter is tagged.
    Tag,
    /// Refused for now.
    Defer,
    /// Refused for good.
    Reject,
    /// It could not tell.
    Error,
}

impl Verdict {
    /// The word in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::DryRun => "dry_run",
            Verdict::Tag => "tag",
            Verdict::Defer => "defer",
            Verdict::Reject => "reject",
            Verdict::Error => "error",
        }
    }
}

/// Something found against a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it is refused for good.
    pub reply: Reply,
    /// What was found: for log and tag. Printable ASCII, see [`Finding::new`].
    pub why: String,
}

impl Finding {
    /// Octets of `why`. Longer: cut.
    pub const WHY_BYTES_MAX: usize = 240;

    /// What was found, in words that may hold what outsiders wrote: anything but printable ASCII becomes `?`.
    #[must_use]
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<String>, why: &str) -> Finding {
        Finding { reply: Reply::new(code, enhanced, text.into()), why: printable(why, Finding::WHY_BYTES_MAX) }
    }

    /// What a mode makes of it: how it is counted, and what the client is told.
    #[must_use]
    pub fn under(&self, mode: Mode) -> (Verdict, Option<Reply>) {
        match mode {
            Mode::Off => (Verdict::Pass, None),
            Mode::DryRun => (Verdict::DryRun, None),
            Mode::Tag => (Verdict::Tag, None),
            Mode::Defer => (Verdict::Defer, Some(for_now(&self.reply))),
            Mode::Reject if self.reply.is_permanent() => (Verdict::Reject, Some(self.reply.clone())),
            Mode::Reject => (Verdict::Defer, Some(self.reply.clone())),
        }
    }
}

/// The same for now: 450, and its class in the enhanced code.
fn for_now(reply: &Reply) -> Reply {
    let (_, subject, detail) = reply.enhanced;
    let code = if reply.is_permanent() { 450 } else { reply.code };
    Reply { code, enhanced: (4, subject, detail), text: reply.text.clone() }
}

/// `text` as printable ASCII of at most so many octets.
#[must_use]
pub fn printable(text: &str, bytes_max: usize) -> String {
    text.chars().take(bytes_max).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_decides_what_a_finding_costs() {
        let finding = Finding::new(550, (5, 7, 27), "no", "null MX\r\nBcc: x");
        assert_eq!(finding.why, "null MX??Bcc: x");
        assert_eq!(finding.under(Mode::DryRun), (Verdict::DryRun, None));
        assert_eq!(finding.under(Mode::Tag), (Verdict::Tag, None));
        assert_eq!(finding.under(Mode::Reject), (Verdict::Reject, Some(Reply::new(550, (5, 7, 27), "no"))));
        assert_eq!(finding.under(Mode::Defer), (Verdict::Defer, Some(Reply::new(450, (4, 7, 27), "no"))));
        let only_now = Finding::new(451, (4, 4, 3), "later", "");
        for mode in [Mode::Defer, Mode::Reject] {
            assert_eq!(only_now.under(mode), (Verdict::Defer, Some(Reply::new(451, (4, 4, 3), "later"))));
        }
    }

    #[test]
    fn the_words_of_the_configuration_name_the_modes() {
        let modes = [Mode::Off, Mode::DryRun, Mode::Tag, Mode::Defer, Mode::Reject];
        let named: Vec<Mode> = Mode::WORDS.iter().map(|word| Mode::named(word)).collect();
        assert_eq!(named, modes);
    }
}
