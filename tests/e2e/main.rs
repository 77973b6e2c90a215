//! The whole thing on real parts: the real plugin under the real Netdata inside the real Apptainer, started
//! by the launcher as an ordinary user. GPUs are simulated behind NVML's own interface, servers replay what
//! real ones sent. Run by `make test`, which provides what `Place::prepare` asks for.

mod again;
mod agreement;
mod alerts;
mod binaries;
mod cost;
mod energy;
mod faults;
mod gpus;
mod host_probe;
mod hostile;
mod isolation;
mod lab;
mod life_cycle;
mod log_lines;
mod no_gpu;
mod notify;
mod permits;
mod ports;
mod prometheus;
mod reality;
mod servers;
mod sglang;
mod streaming;
mod tarball;
mod timings;
mod two_users;
mod updates;
mod withheld;

use std::sync::{Arc, LazyLock};

use harness::place::Place;
use libtest_mimic::{Arguments, Failed, Trial};

use again::Failures;
use lab::Lab;
use permits::Permits;
use sglang::{Scene, catalogue, restart, secrets, states, throughput};

/// A test on an instance of its own.
type Alone = fn(&Place) -> anyhow::Result<()>;
/// A test on an instance that several share.
type On<T> = fn(&T) -> anyhow::Result<()>;

/// Tests with an instance of their own that run at once: more of them, and two cores are so busy that no reading
/// comes in time. Those on shared instances all run side by side: they do little but wait.
const ALONE_AT_ONCE: usize = 5;

/// A test that nothing may disturb.
const FIRST: &[(&str, Alone)] = &[("start_status_and_stop_keep_their_times", timings::are_kept)];

const ALONE: &[(&str, Alone)] = &[
    (
        "every_alert_is_raised_and_cleared",
        alerts::raised_and_cleared,
    ),
    (
        "benign_twins_of_alerts_that_page_stay_silent",
        alerts::twins_are_silent,
    ),
    (
        "what_the_launcher_binds_needs_no_newer_glibc_than_2_28",
        binaries::need_glibc_2_28,
    ),
    (
        "a_machine_without_gpu_gets_everything_else",
        no_gpu::gets_everything_else,
    ),
    (
        "stop_leaves_nothing_behind",
        life_cycle::stop_leaves_nothing,
    ),
    (
        "stop_leaves_nothing_after_the_outer_process_was_killed",
        life_cycle::outer_killed,
    ),
    (
        "stop_leaves_nothing_after_netdata_was_killed",
        life_cycle::netdata_killed,
    ),
    ("start_and_stop_may_be_said_twice", life_cycle::said_twice),
    (
        "update_restarts_on_a_newer_image_alone_and_shell_opens_one",
        updates::restart_on_what_is_newer,
    ),
    (
        "an_update_to_a_broken_image_comes_back_with_history_and_identity",
        updates::broken_is_taken_back,
    ),
    (
        "a_registrys_digest_is_kept_and_a_missing_tag_is_told",
        updates::digest_and_missing_tag,
    ),
    (
        "an_alert_is_told_once_each_time_and_no_process_shows_where",
        notify::told_once_and_nowhere_shown,
    ),
    (
        "stop_leaves_nothing_whichever_process_was_killed",
        faults::each_process_killed,
    ),
    ("a_clock_that_jumps_confuses_nobody", faults::clock_jumps),
    (
        "a_pid_file_with_a_foreign_pid_harms_nobody",
        life_cycle::foreign_pid,
    ),
    (
        "a_pid_file_from_before_a_reboot_is_stale",
        life_cycle::reboot,
    ),
    ("a_taken_port_is_named_with_its_holder", ports::taken),
    (
        "the_host_probe_answers_its_user_alone_and_may_die",
        host_probe::beside_the_container,
    ),
    (
        "a_hostile_process_injects_nothing_into_the_agent",
        hostile::injects_nothing,
    ),
    (
        "endpoints_are_charted_and_a_crowded_page_keeps_within_its_cap",
        prometheus::endpoints,
    ),
    (
        "the_container_reads_no_secret_and_writes_to_its_state_only",
        isolation::of_the_container,
    ),
    (
        "two_users_on_one_machine_do_not_collide",
        two_users::side_by_side,
    ),
    (
        "another_user_sees_no_secret",
        isolation::no_secret_for_others,
    ),
    (
        "uninstall_leaves_what_was_there_before",
        isolation::uninstall_leaves_nothing,
    ),
    (
        "a_parent_shows_the_charts_of_two_children",
        streaming::parent_and_two_children,
    ),
    (
        "a_child_reaches_its_parent_through_tls",
        streaming::encrypted,
    ),
    (
        "the_tarball_runs_where_it_is_unpacked",
        tarball::runs_where_it_is_unpacked,
    ),
    (
        "a_start_in_the_foreground_ends_with_its_signal_and_with_netdata",
        life_cycle::foreground,
    ),
];

/// On the same, while no other test's servers are on its GPUs, and nothing else keeps the machine busy.
const UNDISTURBED: &[(&str, On<Lab>)] = &[
    (
        "energy_of_a_board_is_all_charted_somewhere",
        energy::of_boards_is_all_charted,
    ),
    (
        "independent_readers_agree_with_what_was_charted",
        agreement::independent_readers,
    ),
    (
        "a_tick_of_eight_gpus_costs_a_fifth_of_a_millisecond_and_a_third_of_the_process_lists",
        |lab| cost::of_eight_gpus(&lab.place),
    ),
];

/// On four simulated GPUs and three servers.
const SHARED: &[(&str, On<Lab>)] = &[
    ("the_parts_are_real", reality::parts_are_real),
    (
        "every_chart_is_there_within_ten_seconds",
        lab::charts_within_ten_seconds,
    ),
    ("every_chart_is_documented", lab::every_chart_is_documented),
    (
        "moving_gpu_charts_move_and_constant_ones_equal_their_source",
        gpus::move_or_hold,
    ),
    (
        "a_record_of_the_gpus_names_nobody_and_plays_back",
        gpus::are_recorded_and_played_back,
    ),
    ("moving_server_charts_move", servers::charts_move),
    (
        "a_server_without_metrics_has_its_state_and_processes",
        servers::without_metrics,
    ),
    (
        "rates_percentiles_and_usage_equal_what_the_capture_implies",
        servers::equal_the_capture,
    ),
    (
        "a_dimension_withheld_for_ten_ticks_returns_without_a_spike",
        withheld::returns_without_spike,
    ),
    (
        "energy_per_token_is_that_of_a_known_ramp_and_known_counters",
        energy::of_a_known_ramp,
    ),
    (
        "nobody_contacts_a_schedulers_socket_or_polls_health",
        servers::only_metrics_is_asked_for,
    ),
    (
        "the_error_log_holds_only_what_it_may",
        log_lines::only_allowed,
    ),
];

/// On SGLang servers in every state.
const PLAYED: &[(&str, On<Scene>)] = &[
    (
        "sglang: gauges_left_behind_by_a_load_are_never_a_stall",
        states::gauges_left_behind,
    ),
    (
        "sglang: a_long_prefill_a_long_load_and_a_planned_stop_are_never_a_stall",
        states::benign_stillness,
    ),
    (
        "sglang: stopped_schedulers_under_load_are_a_stall_within_75_seconds",
        states::stopped_schedulers,
    ),
    (
        "sglang: a_server_killed_under_load_and_started_again_is_a_gap_and_a_restart",
        restart::is_a_gap_and_a_count,
    ),
    ("sglang: every_chart_of_0.4.6_is_there_and_right", |scene| {
        catalogue::is_there_and_right(scene, 0)
    }),
    (
        "sglang: every_chart_of_0.5.12_is_there_and_right",
        |scene| catalogue::is_there_and_right(scene, 1),
    ),
    (
        "sglang: every_chart_of_0.5.23_is_there_and_right",
        |scene| catalogue::is_there_and_right(scene, 2),
    ),
    (
        "sglang: every_chart_of_two_replicas_with_keys_is_there_and_right",
        |scene| catalogue::is_there_and_right(scene, 3),
    ),
    (
        "sglang: tokens_of_a_minute_are_those_that_the_servers_counted",
        throughput::of_a_minute,
    ),
    (
        "sglang: keys_of_servers_appear_nowhere",
        secrets::appear_nowhere,
    ),
    ("sglang: every_metric_stands_in_the_table_of_charts", |_| {
        catalogue::table_is_whole()
    }),
];

fn main() {
    let mut arguments = Arguments::from_args();
    arguments
        .test_threads
        .get_or_insert(SHARED.len() + PLAYED.len() + ALONE_AT_ONCE);
    if arguments.list {
        let all = alone(FIRST, None)
            .chain(undisturbed(None))
            .chain(trials(None));
        libtest_mimic::run(&arguments, all.collect()).exit();
    }
    let place = match Place::prepare() {
        Ok(place) => Arc::new(place),
        Err(error) => {
            eprintln!("the end-to-end tests cannot run: {error:#}");
            std::process::exit(1);
        }
    };
    let lab = {
        let place = Arc::clone(&place);
        Arc::new(Setting {
            place: Arc::clone(&place),
            places: Permits::of(ALONE_AT_ONCE),
            failures: Failures::default(),
            scene: {
                let place = Arc::clone(&place);
                LazyLock::new(Box::new(move || {
                    Scene::start(&place).map_err(|error| format!("{error:#}"))
                }))
            },
            lab: LazyLock::new(Box::new(move || {
                Lab::start(&place).map_err(|error| format!("{error:#}"))
            })),
        })
    };
    let first = libtest_mimic::run(&arguments, alone(FIRST, Some(&lab)).collect());
    let undisturbed = libtest_mimic::run(&arguments, undisturbed(Some(&lab)).collect());
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&lab)));
    let failed = lab.failures.all();
    drop(lab);
    if again::is_due(&failed) {
        again::alone(failed).exit();
    }
    first.exit_if_failed();
    undisturbed.exit_if_failed();
    conclusion.exit();
}

/// What is started when the first test asks for it.
type Once<T> = LazyLock<Result<T, String>, Box<dyn FnOnce() -> Result<T, String> + Send>>;

/// The place, and the shared instances.
struct Setting {
    place: Arc<Place>,
    lab: Once<Lab>,
    scene: Once<Scene>,
    /// Tests that may still begin.
    places: Permits,
    /// Those that failed.
    failures: Failures,
}

fn failed(error: &anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}

/// Tests on an instance that they share.
fn side_by_side<T: 'static>(
    tests: &'static [(&'static str, On<T>)],
    setting: Option<&Arc<Setting>>,
    instance: fn(&Setting) -> &Once<T>,
) -> impl Iterator<Item = Trial> {
    tests.iter().map(move |(name, test)| {
        let setting = setting.map(Arc::clone);
        Trial::test(*name, move || {
            let setting = setting.ok_or("no place")?;
            setting.failures.noting(name, || {
                let started = instance(&setting).as_ref();
                test(started.map_err(|error| Failed::from(error.as_str()))?)
                    .map_err(|error| failed(&error))
            })
        })
    })
}

fn undisturbed(setting: Option<&Arc<Setting>>) -> impl Iterator<Item = Trial> {
    side_by_side(UNDISTURBED, setting, |setting| &setting.lab)
}

fn trials(setting: Option<&Arc<Setting>>) -> Vec<Trial> {
    let shared = side_by_side(SHARED, setting, |setting| &setting.lab);
    let played = side_by_side(PLAYED, setting, |setting| &setting.scene);
    shared.chain(played).chain(alone(ALONE, setting)).collect()
}

/// Tests that each have an instance of their own.
fn alone(
    tests: &'static [(&'static str, Alone)],
    setting: Option<&Arc<Setting>>,
) -> impl Iterator<Item = Trial> {
    tests.iter().map(move |(name, test)| {
        let setting = setting.map(Arc::clone);
        Trial::test(*name, move || {
            let setting = setting.ok_or("no place")?;
            let run = || test(&setting.place).map_err(|error| failed(&error));
            let run = || setting.failures.noting(name, run);
            setting.places.within(run)
        })
    })
}
