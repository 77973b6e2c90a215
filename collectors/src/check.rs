//! `--check`: reads every configuration file and says each mistake, without running anything.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::config::Source;
use crate::modules::MODULES;

/// What to print, and whether everything is in order.
#[must_use]
pub fn check(source: &Source) -> (String, bool) {
    let known: Vec<_> = MODULES.iter().map(|module| module.name).collect();
    let mut problems = source.problems_of_dirs();
    problems.extend(source.plugin(&known).1);
    problems.extend(source.hosts().1);
    for module in MODULES {
        problems.extend((module.config.check)(source));
    }
    // Each module reads the virtual nodes again, and finds the same mistakes in them.
    let mut lines = BTreeSet::new();
    let mut text = String::new();
    for problem in problems {
        let line = problem.to_string();
        if lines.insert(line.clone()) {
            let _ = writeln!(text, "{line}");
        }
    }
    match lines.len() {
        0 => {
            for (name, file) in source.in_use(&known) {
                let from = file.map_or("built-in defaults".to_owned(), |file| {
                    file.display().to_string()
                });
                let _ = writeln!(text, "{name:20} {from}");
            }
            let _ = writeln!(text, "no mistakes");
        }
        1 => text += "1 mistake\n",
        more => {
            let _ = writeln!(text, "{more} mistakes");
        }
    }
    (text, lines.is_empty())
}
