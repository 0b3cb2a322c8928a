//! LMTP: what each recipient of a letter hears (RFC 2033 §4.2).
//!
//! A letter has one deciding batch, so who cannot have it is taken out before: whose volume failed, whose account would keep more
//! than it may, who has seen it before. The others hear what becomes of the batch. A refusal that only the batch itself finds, because somebody was
//! quicker, is temporary and heard by all: nobody has the letter then, and the client brings it again.
//!
//! Where one RCPT stands for several mailboxes, either all of them get the letter or none: its one answer must be true.

use ringpost_storage::AccountId;
use smallvec::SmallVec;

use crate::intake::{Letter, Why};
use crate::mail::trace;
use crate::office::{Office, quota};
use crate::proto::smtp::Reply;

/// The mailboxes that one RCPT stands for.
pub(super) type Asked = SmallVec<[AccountId; 1]>;

/// For each RCPT that was accepted, in their order.
#[derive(Debug, Default)]
pub(super) struct Each(Vec<Asked>);

/// Why somebody cannot have a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhyNot {
    /// Not now.
    Later(Why),
    /// He has seen it before (A050).
    Loop,
}

/// Why the mailboxes of a letter cannot have it.
type Faults = Vec<(AccountId, WhyNot)>;

impl Each {
    /// Another RCPT was accepted.
    pub(super) fn accept(&mut self, asked: Asked) {
        self.0.push(asked);
    }

    /// Takes those out of a letter who cannot have it. For each RCPT: why not, if so. When all of them are refused, the letter is
    /// nobody's.
    pub(super) async fn sift(&self, office: &Office, letter: &mut Letter) -> Vec<Option<WhyNot>> {
        let loops = letter.take_out_loops(&office.settings.hostname);
        let octets = letter.body.len();
        let mut faults: Faults = loops.into_iter().map(|account| (account, WhyNot::Loop)).collect();
        for recipient in &letter.recipients {
            let mut field = Vec::new();
            trace::delivered_to(&mut field, &recipient.name);
            if office.has_failed(recipient.home.volume) {
                faults.push((recipient.home.account, WhyNot::Later(Why::VolumeFailed)));
            } else if !quota::has_room(office, recipient.home, octets + field.len() as u64).await {
                faults.push((recipient.home.account, WhyNot::Later(Why::OverQuota)));
            }
        }
        let (whys, wanted) = self.weigh(&faults);
        // Who was asked for by nobody keeps a journal: without him nobody has the letter.
        let asked_for = |account: &AccountId| self.0.iter().any(|asked| asked.contains(account));
        letter.recipients.retain(|r| wanted.contains(&r.home.account) || !asked_for(&r.home.account));
        whys
    }

    /// For each RCPT why it is refused, and the mailboxes of those that are not.
    fn weigh(&self, faults: &Faults) -> (Vec<Option<WhyNot>>, Vec<AccountId>) {
        let fault = |account: &AccountId| faults.iter().find(|(at, _)| at == account).map(|(_, why)| *why);
        let whys: Vec<_> = self.0.iter().map(|asked| asked.iter().find_map(fault)).collect();
        let kept = self.0.iter().zip(&whys).filter(|(_, why)| why.is_none());
        (whys.clone(), kept.flat_map(|(asked, _)| asked.iter().copied()).collect())
    }
}

/// What each RCPT hears when those of them that could have the letter hear `others`.
pub(super) fn replies(whys: &[Option<WhyNot>], others: &Reply, refusal: impl Fn(WhyNot) -> Reply) -> Vec<Reply> {
    whys.iter().map(|why| why.map_or_else(|| others.clone(), &refusal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(asked: &[&[u64]]) -> Each {
        Each(asked.iter().map(|ids| ids.iter().map(|id| account(*id)).collect()).collect())
    }

    const FULL: WhyNot = WhyNot::Later(Why::OverQuota);

    fn account(id: u64) -> AccountId {
        AccountId(id)
    }

    #[test]
    fn a068_a_refusal_is_heard_by_its_recipient_alone() {
        let (whys, wanted) = each(&[&[1], &[2], &[1], &[3]]).weigh(&vec![(account(2), FULL)]);
        assert_eq!(whys, [None, Some(FULL), None, None]);
        assert_eq!(wanted, [1, 1, 3].map(account));
        let (yes, no) = (Reply::new(250, (2, 0, 0), "Ok"), Reply::new(452, (4, 2, 2), "Full"));
        let said = replies(&whys, &yes, |_| no.clone());
        assert_eq!(said, [yes.clone(), no, yes.clone(), yes]);
    }

    #[test]
    fn a_group_has_the_letter_whole_or_not_at_all() {
        let (whys, wanted) = each(&[&[1, 2], &[1], &[2, 3]]).weigh(&vec![(account(3), WhyNot::Loop)]);
        assert_eq!(whys, [None, None, Some(WhyNot::Loop)]);
        assert_eq!(wanted, [1, 2, 1].map(account), "3 has it by nobody else");
    }
}
