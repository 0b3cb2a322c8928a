//! What a client has switched on for its session (RFC 5161). One row an extension.

/// A set of extensions; it only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enabled(u8);

impl Enabled {
    /// Changes are told with their MODSEQ (RFC 7162 §3.1). Some commands switch it on without ENABLE.
    pub const CONDSTORE: Enabled = Enabled(1);

    /// What ENABLE knows.
    const TABLE: &[(&str, Enabled)] = &[("CONDSTORE", Enabled::CONDSTORE)];

    /// The extension that ENABLE knows by this word, in any case.
    #[must_use]
    pub fn of(word: &[u8]) -> Option<Enabled> {
        Self::TABLE.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, bit)| *bit)
    }

    /// Takes these in too.
    pub fn add(&mut self, more: Enabled) {
        self.0 |= more.0;
    }

    /// True if all of these are on.
    #[must_use]
    pub fn has(self, these: Enabled) -> bool {
        self.0 & these.0 == these.0
    }

    /// These without those.
    #[must_use]
    pub fn without(self, those: Enabled) -> Enabled {
        Enabled(self.0 & !those.0)
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::TABLE.iter().filter(move |(_, bit)| self.has(*bit)).map(|(name, _)| *name)
    }
}
