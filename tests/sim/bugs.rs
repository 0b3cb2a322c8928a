//! The whole-node simulation, tested (R10): mistakes that the store's campaigns, the contract of the sessions and the unit
//! tests cannot see, because each room for itself does what it should.

use ringpost::bugs::Bug;

use crate::seeded::{Row, Story, examine};
use crate::{imap_idle, imap_kept, node, transfers};

const SEEDS: Story = ("node::acknowledged_mail_survives_whatever_the_seed", seeds);
const ALL: Story = (
    "transfers::a_letter_for_several_volumes_is_taken_at_once_and_reaches_all",
    transfers::a_letter_for_several_volumes_is_taken_at_once_and_reaches_all,
);
const CUTS: Story = (
    "transfers::a_power_cut_at_any_moment_leaves_each_copy_once_or_none_of_a_letter_without_a_verdict",
    transfers::a_power_cut_at_any_moment_leaves_each_copy_once_or_none_of_a_letter_without_a_verdict,
);
const HANGS: Story = (
    "transfers::copies_for_a_volume_that_hangs_or_is_full_wait_and_survive_what_comes_between",
    transfers::copies_for_a_volume_that_hangs_or_is_full_wait_and_survive_what_comes_between,
);
const IDLE: Story = (
    "imap_idle::what_one_reader_does_is_pushed_to_another_that_idles",
    imap_idle::what_one_reader_does_is_pushed_to_another_that_idles,
);

const KEPT: Story =
    ("imap_kept::what_was_answered_is_so_after_a_power_cut", imap_kept::what_was_answered_is_so_after_a_power_cut);

const TABLE: &[Row] = &[
    Row { bug: Bug::EarlyYes, by: &[SEEDS, CUTS], passes: &[KEPT] },
    Row { bug: Bug::SettleEarly, by: &[HANGS], passes: &[ALL, IDLE, KEPT] },
    Row { bug: Bug::ForgetCourier, by: &[ALL], passes: &[IDLE, KEPT] },
    Row { bug: Bug::EarlyExpunge, by: &[IDLE, KEPT], passes: &[ALL] },
];

#[test]
fn each_mistake_of_the_node_is_caught_by_name() {
    examine(TABLE);
}

/// Stories of `node`, told until one is not true.
fn seeds() {
    for seed in 0..12 {
        node::tell(seed);
    }
}
