//! `rs.d.conf` while the plugin runs: switches modules on and off as the file changes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::plugin::Plugin;
use super::source::Source;
use super::watch::Watch;

/// Every module asks in one pass of discovery: the file is looked at once a pass, so that two looks that find it
/// the same are seconds apart.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Which modules run now.
pub struct Switches {
    source: Source,
    known: Vec<&'static str>,
    plugin: Plugin,
    watch: Watch,
    look_at: Option<Instant>,
    told: BTreeSet<String>,
}

impl Switches {
    /// Follows the file; `known` are the modules that there are.
    #[must_use]
    pub fn new(source: &Source, known: Vec<&'static str>) -> Self {
        Self {
            watch: Watch::new(source.files_of_plugin()),
            source: source.clone(),
            known,
            plugin: Plugin::default(),
            look_at: None,
            told: BTreeSet::new(),
        }
    }

    /// Whether `module` runs. A file with a mistake changes nothing; before the first good one every module
    /// runs.
    pub fn runs(&mut self, module: &str) -> bool {
        let now = Instant::now();
        if self.look_at.is_none_or(|at| now >= at) && {
            self.look_at = Some(now + LOOK_EVERY);
            self.watch.due()
        } {
            let (plugin, problems) = self.source.plugin(&self.known);
            let lines: BTreeSet<String> = problems.iter().map(ToString::to_string).collect();
            for line in lines.difference(&self.told) {
                log::error!("{line}");
            }
            if plugin.is_none() {
                log::error!("until rs.d.conf is corrected, modules stay on and off as they are");
            }
            self.told = lines;
            self.plugin = plugin.unwrap_or_else(|| self.plugin.clone());
        }
        self.plugin.runs(module)
    }
}
