//! Flags of the last start, environment and `.env`: what is wrong with them keeps every other part from working.

use super::{Check, Finding, Machine};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "settings",
    what: "the settings can be used",
    run: settings,
}];

fn settings(machine: &Machine) -> Finding {
    match &machine.wrong_setting {
        None => Finding::pass("yes"),
        Some(wrong) => Finding::fail(
            wrong.clone(),
            "launcher config shows each with its source; of the last start's flags: launcher restart with others",
        ),
    }
}
