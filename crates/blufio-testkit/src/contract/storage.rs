//! What every storage must do, whoever runs its work: the promises of [`Storage`], read back after the file was opened anew.
//!
//! Each case gets a file of its own; at its end the invariants of the whole file are checked.

mod audit;
mod chats;
mod facts;
mod fixture;
mod inbox;
mod joining;
mod ledger;
mod memory;
mod outbox;
mod overheard;
mod people;
mod questions;
mod schedules;
mod turns;
mod vault;

pub use fixture::{
    ACCOUNT, AT, admitted, answered, batch, channel, commit, draft, end, epoch, item, key, message, next, open_call,
    opened_together, queue, route, step, turn_opened,
};

use crate::invariants;
use blufio_core::port::Storage;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;

/// Opens a storage on a file, creating it if it is not there.
pub struct Subject<'a, S> {
    make: &'a (dyn Fn(&Path) -> S + Sync),
    path: PathBuf,
}

impl<S: Storage> Subject<'_, S> {
    /// Opens the case's file. The one opened before must be gone: dropped without [`Storage::close`], it is a crash.
    fn open(&self) -> S {
        (self.make)(&self.path)
    }
}

type Case<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Boxes the cases with their names.
macro_rules! cases {
    ($subject:ty; $($module:ident::$case:ident),* $(,)?) => {
        [$((stringify!($case), (|subject| Box::pin($module::$case(subject))) as for<'s> fn(&'s $subject) -> Case<'s>)),*]
    };
}

/// Runs every case; the first one that fails panics under its printed name.
pub async fn suite<S: Storage>(make: impl Fn(&Path) -> S + Sync) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = cases![Subject<'_, S>;
        inbox::repeats_change_nothing,
        inbox::a_reused_number_with_another_fingerprint_is_new,
        inbox::rows_wait_in_order_with_what_they_carry,
        inbox::a_full_session_refuses_with_a_note,
        inbox::a_full_inbox_takes_nothing,
        inbox::stop_drops_what_waits_and_outlives_a_restart,
        inbox::edits_reach_only_rows_that_wait,
        inbox::answered_dropped_and_unreadable_updates_are_closed,
        inbox::contents_are_kept_beside_the_words,
        joining::rows_are_answered_together,
        joining::a_turn_gets_all_its_rows_or_none,
        joining::the_last_request_is_found_again,
        overheard::words_wait_for_the_next_answer,
        overheard::reactions_to_our_messages_are_heard,
        questions::a_question_is_answered_once,
        questions::an_answer_by_command_finds_the_question_wherever_it_is,
        questions::an_answered_question_is_not_sent,
        questions::an_unanswered_question_is_closed,
        questions::the_end_of_a_turn_closes_its_questions,
        questions::a_question_that_may_not_have_arrived_is_asked_again,
        questions::a_question_ends_the_reply_before_it,
        questions::always_holds_until_it_is_taken_back,
        questions::always_is_no_answer_where_it_was_not_offered,
        audit::entries_come_with_their_commit_or_not_at_all,
        audit::details_are_forgotten_and_the_chain_stays,
        vault::rows_and_header_change_together,
        vault::a_vault_is_opened_again_as_it_was_left,
        chats::a_shut_chat_takes_nothing_until_somebody_speaks,
        chats::a_group_goes_on_under_another_id,
        people::few_strangers_get_a_code,
        people::approval_makes_the_first_one_owner,
        people::revoking_drops_what_waits,
        people::a_link_lets_in_whoever_shows_it_first,
        people::codes_of_links_cannot_be_tried_out,
        turns::a_turn_is_found_again_as_it_was,
        turns::a_commit_is_whole_or_not_at_all,
        turns::a_dropped_row_cannot_be_opened,
        turns::one_turn_runs_per_session,
        turns::epochs_replace_the_prompt,
        turns::shown_files_are_counted,
        turns::commands_and_models,
        turns::attempts_count_boots_without_progress,
        turns::a_clean_stop_is_no_attempt,
        turns::views_show_what_happened,
        turns::old_things_are_forgotten,
        turns::a_closed_storage_refuses,
        ledger::what_counts_is_summed_up,
        ledger::costs_are_summed_up_by_what_is_asked,
        ledger::the_kill_switch_stays_as_it_is,
        schedules::schedules_are_kept_as_they_were_made,
        schedules::what_cannot_be_a_schedule_is_refused,
        schedules::a_time_is_taken_once,
        schedules::what_was_said_is_followed_to_its_end,
        schedules::what_was_asked_is_followed_to_its_end,
        schedules::a_crash_after_a_claim_loses_and_repeats_nothing,
        schedules::once_is_once_and_every_goes_on,
        schedules::by_hand_changes_no_time,
        schedules::nothing_is_claimed_of_what_is_off_or_gone,
        schedules::schedules_go_with_people_and_groups,
        schedules::too_much_that_waits_delays_a_run,
        schedules::what_keeps_failing_is_turned_off,
        schedules::few_runs_are_kept,
        schedules::what_was_asked_is_known_for_longer_than_its_run,
        schedules::a_wrong_clock_silences_no_schedule,
        memory::messages_become_passages_once,
        memory::what_is_found_by_words,
        memory::nobody_finds_what_others_said,
        memory::what_is_found_by_meaning,
        memory::damaged_vectors_are_left_out,
        memory::passages_go_with_their_messages,
        facts::facts_are_kept_as_they_were_learned,
        facts::what_cannot_be_known_is_refused,
        facts::what_changes_stays_beside_what_was,
        facts::changes_are_undone_unless_something_came_after,
        facts::facts_are_found_and_standing_ones_are_in_front,
        facts::what_is_forgotten_is_gone_from_the_disk,
        outbox::one_row_per_chat_in_order,
        outbox::tries_are_counted_unless_free,
        outbox::an_uncertain_send_is_repeated_until_it_is_too_old,
        outbox::a_crash_in_a_send_is_uncertain,
        outbox::giving_up_takes_the_rest_of_the_reply,
        outbox::undelivered_rows_expire,
        outbox::a_notice_that_must_wait_holds_up_nobody,
        outbox::a_lost_file_takes_nothing_with_it,
        outbox::what_was_given_up_can_be_sent_again,
        outbox::the_same_is_told_once_in_a_while,
    ];
    for (name, case) in cases {
        println!("case {name}");
        let subject = Subject { make: &make, path: folder.path().join(name) };
        case(&subject).await;
        invariants::check(&subject.path).unwrap_or_else(|violations| panic!("{name}: {violations:#?}"));
    }
}
