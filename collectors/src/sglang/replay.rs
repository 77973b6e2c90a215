//! A server's pages without a server, for fuzzing and for the soak.

use std::time::{Duration, Instant};

use netdata_plugin::frame::Frame;

use super::history::History;
use super::labels::Instances;
use super::record::{Page, Reading, record};
use super::scrape::Reader;
use super::slo::Slo;
use super::snapshot::Snapshot;
use super::state::{Finding, judge};
use crate::engine::Server;

/// Charts pages as the job of a server does.
pub struct Replay {
    server: Server,
    reader: Reader,
    snapshot: Snapshot,
    history: History,
    instances: Instances,
}

impl Replay {
    /// Of `server`, which has said nothing yet.
    pub fn of(server: Server) -> Self {
        Self {
            server,
            reader: Reader::default(),
            snapshot: Snapshot::default(),
            history: History::new(Duration::from_secs(60)),
            instances: Instances::default(),
        }
    }

    /// Charts `page`, or that there was none.
    pub fn tick(&mut self, page: Option<&[u8]>, now: Instant, frame: &mut Frame) {
        let every = Duration::from_secs(5);
        match page {
            Some(page) => {
                let History {
                    readings, unlisted, ..
                } = &mut self.history;
                self.reader
                    .read(page, &mut self.snapshot, readings, unlisted);
                self.history.take(&self.snapshot, now);
            }
            None => self.history.miss(now),
        }
        let stalled = self.history.activity.stalled(now);
        let finding = page.map_or(Finding::NoAnswer, |_| Finding::Page { stalled });
        let reading = Reading {
            server: &self.server,
            state: judge(finding, true),
            page: page.map(|_| Page {
                snapshot: &self.snapshot,
                history: &self.history,
                slo: Slo::default(),
                fresh: self.history.activity.fresh(now, every),
                at: now,
                took: Duration::from_millis(5),
                every,
            }),
        };
        record(&reading, &mut self.instances, frame);
    }
}
