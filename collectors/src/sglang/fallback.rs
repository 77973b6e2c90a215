//! Servers without metrics: what their log says, and where that says nothing, slowly, what they answer. Only of
//! our own user's servers, and only as far as a source really says it.

mod loads;
mod log;

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;

use super::charts::cache::KV_CACHE_USAGE;
use super::charts::requests::{HEADROOM, REQUESTS_IN_FLIGHT};
use super::charts::tokens::TOKEN_THROUGHPUT;
use super::record::requests_usage;
use crate::engine::Tree;
use crate::host_probe::{Cursor, HostProbe, ProcessId};
use crate::http::Scheme;
use crate::inference_status;
use loads::Api;
use log::Log;

/// Longest key read from a file.
const MAX_KEY: u64 = 4096;

/// Where figures come from: the label `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The lines of its batches.
    Log,
    /// `/v1/loads` and its predecessors.
    Api,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Api => "api",
        }
    }
}

/// What is known of a server without metrics, over all data-parallel ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Who says so.
    pub source: Source,
    /// Requests in the running batch.
    pub running: Option<f64>,
    /// Requests that wait for it.
    pub queued: Option<f64>,
    /// Share of the KV cache that requests hold, 0 to 1.
    pub usage: Option<f64>,
    /// Requests that may run at once.
    pub max_running: Option<f64>,
    /// Prompt tokens computed per second.
    pub prefill_compute: Option<f64>,
    /// Prompt tokens found in the prefix cache per second.
    pub prefill_cache: Option<f64>,
    /// Tokens generated per second.
    pub decode: Option<f64>,
}

impl Figures {
    fn of(source: Source) -> Self {
        Self {
            source,
            running: None,
            queued: None,
            usage: None,
            max_running: None,
            prefill_compute: None,
            prefill_cache: None,
            decode: None,
        }
    }
}

impl Figures {
    /// Fills a row for functions with what is known.
    pub fn complete(&self, row: &mut inference_status::Reading) {
        row.running = self.running;
        row.queued = self.queued;
        row.tokens_per_second = self.decode;
        row.kv_cache_pct = self.usage.map(|share| share * 100.0);
    }
}

/// The sources of one server, and what its process said so far.
#[derive(Debug)]
pub struct Fallback {
    host_probe: Arc<HostProbe>,
    key_file: Option<PathBuf>,
    process: Option<ProcessId>,
    cursor: Option<Cursor>,
    log: Log,
    api: Api,
    instance: Option<(Instance, Source, Arc<Instance>)>,
}

impl Fallback {
    /// Knows nothing yet. The API key, if one is needed, is the text of `key_file`.
    #[must_use]
    pub fn new(host_probe: Arc<HostProbe>, key_file: Option<PathBuf>) -> Self {
        Self {
            host_probe,
            key_file,
            process: None,
            cursor: None,
            log: Log::default(),
            api: Api::new(),
            instance: None,
        }
    }

    /// What is known of the server of `tree`. It is not asked for its load without an address `at` which it answers
    /// in HTTP: where asking its scheduler would hang.
    pub fn read(
        &mut self,
        tree: &Tree,
        at: Option<(Scheme, SocketAddr)>,
        now: Instant,
    ) -> Option<Figures> {
        let process = ProcessId {
            pid: tree.pid,
            start_ticks: tree.start_ticks,
        };
        if self.process != Some(process) {
            self.process = Some(process);
            self.cursor = None;
            self.log = Log::default();
            self.api = Api::new();
        }
        match self
            .host_probe
            .log(process, &self.cursor.unwrap_or_default())
        {
            Some(tail) => {
                // The first look only finds the end of the file.
                if self.cursor.replace(tail.cursor).is_some() {
                    self.log.take(&tail, now);
                }
            }
            None => {
                self.cursor = None;
                self.log.miss();
            }
        }
        let figures = self.log.figures(now);
        if figures.is_some() {
            return figures;
        }
        let key = self.key_file.as_deref().and_then(key);
        self.api.figures(at?, key.as_deref(), now)
    }

    /// Records figures on the charts of the server that has the labels of `base`.
    pub fn record(&mut self, figures: &Figures, base: &Instance, frame: &mut Frame) {
        let known = self.instance.take();
        let known = known.filter(|(of, source, _)| of == base && *source == figures.source);
        let (_, _, instance) = self.instance.insert(known.unwrap_or_else(|| {
            let labelled = base.clone().label("source", figures.source.name());
            (base.clone(), figures.source, Arc::new(labelled))
        }));
        frame
            .chart(&REQUESTS_IN_FLIGHT, instance)
            .set("running", figures.running)
            .set("queued", figures.queued);
        frame
            .chart(&TOKEN_THROUGHPUT, instance)
            .set("prefill_compute", figures.prefill_compute)
            .set("prefill_cache", figures.prefill_cache)
            .set("decode", figures.decode);
        let usage = figures.usage.map(|share| share * 100.0);
        frame.chart(&KV_CACHE_USAGE, instance).set("usage", usage);
        frame
            .chart(&HEADROOM, instance)
            .set(
                "requests",
                requests_usage(figures.running, figures.max_running),
            )
            .set("kv", usage);
    }
}

/// The key in a file, without the line break at its end. A file that is not there yet may come.
fn key(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(MAX_KEY)
        .read_to_string(&mut text)
        .ok()?;
    let key = text.trim();
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_text_of_its_file_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert_eq!(key(&path), None);
        for (text, expected) in [("s3cret\n", Some("s3cret")), ("\n", None), ("a\nb", None)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(key(&path).as_deref(), expected, "{text:?}");
        }
    }
}
