//! The plugin as a process of its own, without Netdata: what it says line by line, whom it contacts, what it holds.
//! Run by `make test`, which provides what `Place::prepare` asks for.

mod contacts;
mod decoys;
mod keys;
mod misbehaviour;
mod process;
mod share;

use std::sync::Arc;

use harness::place::Place;
use libtest_mimic::{Arguments, Failed, Trial};

type Test = fn(&Place) -> anyhow::Result<()>;

const TESTS: &[(&str, Test)] = &[
    (
        "servers_that_die_hang_or_refuse_change_their_own_state_and_no_other_chart",
        misbehaviour::of_servers,
    ),
    (
        "pages_of_a_wrong_length_change_their_own_servers_state_and_no_other_chart",
        misbehaviour::of_lengths,
    ),
    (
        "pages_of_a_wrong_content_change_their_own_servers_charts_and_no_other",
        misbehaviour::of_contents,
    ),
    (
        "nothing_but_pages_of_metrics_and_loads_is_contacted",
        contacts::are_expected,
    ),
    (
        "scrapes_take_half_a_per_cent_of_a_servers_time_at_most",
        share::is_kept,
    ),
    ("keys_of_servers_leave_the_plugin_nowhere", keys::stay),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // They mostly wait.
    arguments.test_threads.get_or_insert(TESTS.len());
    let trials = |place: Option<&Arc<Place>>| -> Vec<Trial> {
        let trial = |(name, test): &(&str, Test)| {
            let (place, test) = (place.map(Arc::clone), *test);
            Trial::test(*name, move || {
                let place = place.ok_or("no place")?;
                let outcome = test(&place);
                outcome.map_err(|error| Failed::from(format!("{error:#}")))
            })
        };
        TESTS.iter().map(trial).collect()
    };
    if arguments.list {
        libtest_mimic::run(&arguments, trials(None)).exit();
    }
    match Place::prepare() {
        Ok(place) => libtest_mimic::run(&arguments, trials(Some(&Arc::new(place)))).exit(),
        Err(error) => {
            eprintln!("the tests of the plugin cannot run: {error:#}");
            std::process::exit(1);
        }
    }
}
