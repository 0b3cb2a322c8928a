//! The whole-node simulation, tested (R10): see `tests/sim/bugs.rs`.

use ringpost::bugs::Bug;

use crate::seeded::{Row, Story, examine, story};
use crate::{moves, pop3};

const MOVES: Story = story!(moves::an_account_moves_and_keeps_everything_a_mail_program_goes_by);
const MAIL: Story = story!(moves::letters_that_come_during_a_move_are_taken_once_or_refused);
const BOTH: Story = story!(moves::a_power_cut_before_the_old_place_is_given_up_leaves_the_account_in_the_new_one);
const SILENCE: Story =
    story!(moves::a_move_that_its_target_does_not_answer_leaves_the_account_as_it_is_and_loses_no_letter);
const AHEAD: Story = story!(pop3::commands_sent_ahead_of_the_password_survive_the_hand_over);
const QUIT: Story = story!(pop3::a140_a_crash_in_quit_leaves_all_or_none);

const TABLE: &[Row] = &[
    Row { bug: Bug::StaleHome, by: &[MOVES], within: 5_000, passes: &[AHEAD] },
    Row { bug: Bug::LoseHeld, by: &[AHEAD], within: 15_000, passes: &[QUIT] },
    Row { bug: Bug::KeepLeft, by: &[BOTH], within: 40_000, passes: &[QUIT, AHEAD] },
    Row { bug: Bug::FreezeLate, by: &[MAIL], within: 10_000, passes: &[MOVES] },
    Row { bug: Bug::ThawUnknown, by: &[SILENCE], within: 400_000, passes: &[MOVES, MAIL] },
    Row { bug: Bug::EarlyQuit, by: &[QUIT], within: 15_000, passes: &[AHEAD, MOVES] },
];

#[test]
fn each_mistake_of_the_doors_is_caught_by_name() {
    examine(TABLE);
}
