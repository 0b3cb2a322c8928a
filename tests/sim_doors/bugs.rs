//! The whole-node simulation, tested (R10): see `tests/sim/bugs.rs`.

use ringpost::bugs::Bug;

use crate::seeded::{Row, Story, examine};
use crate::{moves, pop3};

const MOVES: Story = (
    "moves::an_account_moves_and_keeps_everything_a_mail_program_goes_by",
    moves::an_account_moves_and_keeps_everything_a_mail_program_goes_by,
);
const AHEAD: Story = (
    "pop3::commands_sent_ahead_of_the_password_survive_the_hand_over",
    pop3::commands_sent_ahead_of_the_password_survive_the_hand_over,
);

const TABLE: &[Row] = &[
    Row { bug: Bug::StaleHome, by: &[MOVES], passes: &[AHEAD] },
    Row { bug: Bug::LoseHeld, by: &[AHEAD], passes: &[] },
];

#[test]
fn each_mistake_of_the_doors_is_caught_by_name() {
    examine(TABLE);
}
