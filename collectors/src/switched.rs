//! A module as discovery sees it: nothing while rs.d.conf switches it off, and of its jobs only the one asked
//! for on the command line.

use std::sync::{Arc, Mutex, PoisonError};

use netdata_plugin::module::{Discover, Job};

use crate::config::Switches;
use crate::modules::{Context, Module};

/// A module that can be switched off and on again while the plugin runs.
pub struct Switched {
    module: &'static Module,
    context: Context,
    /// `None` where the command line names the modules.
    switches: Option<Arc<Mutex<Switches>>>,
    /// `-j`.
    only: Option<String>,
    open: Option<Box<dyn Discover>>,
    changed: bool,
}

impl Switched {
    /// `module`, opened when it is first to run.
    #[must_use]
    pub fn new(
        module: &'static Module,
        context: &Context,
        switches: Option<&Arc<Mutex<Switches>>>,
        only: Option<&str>,
    ) -> Self {
        Self {
            module,
            context: context.clone(),
            switches: switches.map(Arc::clone),
            only: only.map(str::to_owned),
            open: None,
            changed: false,
        }
    }

    fn runs(&self) -> bool {
        self.switches.as_ref().is_none_or(|switches| {
            let mut switches = switches.lock().unwrap_or_else(PoisonError::into_inner);
            switches.runs(self.module.name)
        })
    }
}

impl Discover for Switched {
    fn discover(&mut self) -> anyhow::Result<Vec<Job>> {
        if !self.runs() {
            self.changed = self.open.take().is_some();
            if self.changed {
                log::info!("switched off in rs.d.conf");
            }
            return Ok(vec![]);
        }
        let open = self
            .open
            .get_or_insert_with(|| (self.module.open)(&self.context));
        let mut jobs = open.discover()?;
        if let Some(only) = &self.only {
            jobs.retain(|job| job.name == *only);
        }
        Ok(jobs)
    }

    fn reconfigured(&mut self) -> bool {
        let inner = self.open.as_mut().is_some_and(|open| open.reconfigured());
        std::mem::take(&mut self.changed) || inner
    }
}
