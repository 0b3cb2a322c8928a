//! The whole-node simulation, tested (R10): stories that find a mistake of the node, by name. These are some that do. `tests/bugs`
//! ran lib, contract, transcripts, cli, live, sim_world, sim and sim_doors with each of the thirteen, and `tests/bugs.tsv` has
//! all that found one: nine only the simulation of the whole node does. Interop was not run with them.

use ringpost::bugs::Bug;

use crate::seeded::{Row, Story, examine, story};
use crate::{disk_trouble, imap_idle, imap_kept, node, quota, transfers};

const SEEDS: Story = ("node::acknowledged_mail_survives_whatever_the_seed", seeds);
const ALL: Story = story!(transfers::a_letter_for_several_volumes_is_taken_at_once_and_reaches_all);
const CUTS: Story =
    story!(transfers::a_power_cut_at_any_moment_leaves_each_copy_once_or_none_of_a_letter_without_a_verdict);
const HANGS: Story = story!(transfers::copies_for_a_volume_that_hangs_or_is_full_wait_and_survive_what_comes_between);
const IDLE: Story = story!(imap_idle::what_one_reader_does_is_pushed_to_another_that_idles);
const KEPT: Story = story!(imap_kept::what_was_answered_is_so_after_a_power_cut);
const ROOM: Story = story!(quota::a197_room_for_a_letter_on_its_way_is_kept_through_a_power_cut);
const UNKNOWN: Story = story!(disk_trouble::a056_deletions_by_pop3_nobody_vouches_for_get_no_verdict);

const TABLE: &[Row] = &[
    Row { bug: Bug::EarlyYes, by: &[SEEDS, CUTS], within: 300_000, passes: &[KEPT] },
    Row { bug: Bug::SettleEarly, by: &[HANGS], within: 40_000, passes: &[ALL, IDLE, KEPT] },
    Row { bug: Bug::ForgetCourier, by: &[ALL], within: 5_000, passes: &[IDLE, KEPT] },
    Row { bug: Bug::EarlyExpunge, by: &[IDLE, KEPT], within: 5_000, passes: &[ALL] },
    Row { bug: Bug::SkipUnanswered, by: &[HANGS], within: 40_000, passes: &[ALL, IDLE, KEPT] },
    Row { bug: Bug::ForgetExpected, by: &[ROOM], within: 50_000, passes: &[ALL, IDLE, KEPT] },
    Row { bug: Bug::UnknownIsRefused, by: &[UNKNOWN], within: 5_000, passes: &[ALL, IDLE, KEPT] },
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
