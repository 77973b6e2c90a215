//! The plugin as the agent runs it, on a simulated driver that goes wrong. Tests wait most of their time, so all
//! run side by side.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod board;
mod changes;
mod hangs;
mod hangs_anywhere;
mod host;
mod lists;
mod lost;
mod opening;
mod peers;
mod plugin;
mod power;
mod replaced;
mod withheld;
mod xids;

use libtest_mimic::{Arguments, Trial};

/// Plugins and drivers beside one another, which sleep more than they do.
const AT_ONCE: usize = 64;

const TESTS: &[(&str, fn())] = &[
    (
        "one_of_eight_gpus_hangs_for_ever_and_the_other_seven_are_charted_within_fifteen_seconds",
        hangs::one_of_eight,
    ),
    (
        "a_second_gpu_that_hangs_as_well_costs_only_itself",
        hangs::a_second_one,
    ),
    (
        "after_three_ticks_without_a_reading_the_state_says_so_and_all_else_is_a_gap",
        hangs::three_ticks,
    ),
    (
        "a_call_that_hangs_for_a_second_costs_a_tick_and_no_process",
        hangs::for_a_second,
    ),
    (
        "a_call_that_hangs_for_a_minute_costs_its_gpu_that_minute",
        hangs::for_a_minute,
    ),
    (
        "a_driver_that_takes_300_ms_a_call_is_read_rarely_and_is_not_taken_for_one_that_hangs",
        hangs::slow_everywhere,
    ),
    (
        "a_call_that_takes_700_ms_stretches_the_interval",
        hangs::slow_in_one_call,
    ),
    (
        "whichever_call_hangs_is_named_and_costs_only_its_gpu",
        hangs_anywhere::any_call,
    ),
    (
        "a_gpu_whose_handle_hangs_at_the_start_costs_only_itself",
        opening::handle_hangs,
    ),
    (
        "a_library_that_hangs_at_the_start_is_told_once_and_charted_when_it_lets_go",
        opening::library_hangs,
    ),
    (
        "waiting_for_xids_that_hangs_costs_nothing_else",
        opening::events_hang,
    ),
    (
        "a_proc_that_hangs_is_not_taken_for_a_gpu_that_does",
        opening::proc_hangs,
    ),
    (
        "a_driver_replaced_underneath_ends_the_plugin_in_order_and_a_new_one_reads_on",
        replaced::replaced,
    ),
    (
        "a_driver_that_is_unloaded_and_loaded_again_is_read_again",
        replaced::reloaded,
    ),
    (
        "an_xid_is_logged_with_its_meaning_and_charted_with_the_next_tick",
        xids::at_once,
    ),
    (
        "average_power_of_a_ramp_is_within_half_a_per_cent",
        power::of_a_ramp,
    ),
    (
        "a_gpu_that_falls_off_the_bus_is_lost_and_a_gap_and_comes_back",
        lost::lost_and_back,
    ),
    (
        "a_gpu_that_is_lost_from_the_start_is_charted_as_lost_by_its_place",
        lost::lost_from_the_start,
    ),
    (
        "a_gpu_that_wants_a_reset_says_so_and_costs_the_others_nothing",
        lost::reset_required,
    ),
    (
        "permission_that_is_denied_from_the_start_is_said_once_and_charted_when_given",
        lost::permission_denied_from_the_start,
    ),
    (
        "permission_that_is_taken_while_it_runs_is_a_stale_gpu_until_it_is_given_back",
        lost::permission_denied_while_it_runs,
    ),
    (
        "one_call_that_is_denied_while_it_runs_costs_its_chart_and_returns",
        lost::one_call_denied_while_it_runs,
    ),
    (
        "a_list_that_grows_between_calls_is_read_whole",
        lists::grows_between_calls,
    ),
    (
        "a_process_that_is_gone_between_calls_is_unresolved_and_no_value_of_before",
        lists::process_gone,
    ),
    (
        "memory_of_the_largest_number_is_a_gap",
        lists::unknown_memory,
    ),
    ("garbage_samples_are_never_charted", lists::garbage),
    (
        "a_clock_of_samples_that_goes_back_is_followed",
        lists::clock_goes_back,
    ),
    (
        "counters_that_start_over_are_a_gap_and_no_spike",
        changes::counters_start_over,
    ),
    (
        "a_gpu_is_added_and_removed_while_it_runs",
        changes::comes_and_goes,
    ),
    (
        "a_gpu_that_is_split_while_it_runs_has_instances_and_no_utilisation",
        changes::split_while_it_runs,
    ),
    (
        "gpus_in_another_order_after_a_restart_keep_their_charts",
        changes::another_order,
    ),
    (
        "whatever_single_call_or_field_is_not_supported_costs_its_own_charts_and_becomes_no_0",
        withheld::any_call_or_field,
    ),
    (
        "a_straggler_in_a_tensor_parallel_group_is_behind_its_peers_and_they_are_not",
        peers::straggler,
    ),
    (
        "a_driver_of_2021_is_read_with_the_calls_it_has",
        withheld::older_driver,
    ),
];

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let trial = |(name, test): &(&'static str, fn())| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    };
    libtest_mimic::run(&arguments, TESTS.iter().map(trial).collect()).exit();
}
