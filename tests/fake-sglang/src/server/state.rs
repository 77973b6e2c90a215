//! What the main process knows and counts.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::ServerConfig;
use crate::faults::Faults;
use crate::http;
use crate::replay::{Capture, Gauges, Load, Moment, Page, Progress};
use crate::tree::Report;

/// Most paths counted apart; the rest share one entry.
const MAX_PATHS: usize = 64;

/// The state all threads share.
pub struct Server {
    pub config: ServerConfig,
    pub faults: Faults,
    capture: Capture,
    helpers: Vec<Report>,
    started: Instant,
    started_unix: f64,
    scene: Mutex<Scene>,
    requests: Mutex<BTreeMap<String, u64>>,
    connections: AtomicU64,
}

/// What can be changed while it runs.
pub struct Scene {
    pub load: Load,
    pub gauges: Gauges,
    pub page: Page,
    /// Where the load was when a long prefill began.
    pub prefill_since: Option<Progress>,
}

impl Server {
    /// A server that starts now.
    ///
    /// # Errors
    /// If the capture cannot be read.
    pub fn new(config: ServerConfig, helpers: Vec<Report>) -> Result<Self> {
        let capture = Capture::load(
            &config.capture,
            config.model.as_deref(),
            &config.gauge_ranges,
        )?;
        let load = Load::new(config.load, config.growth);
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            scene: Mutex::new(Scene {
                load,
                gauges: config.gauges,
                page: Page::Live,
                prefill_since: None,
            }),
            config,
            faults: Faults::default(),
            capture,
            helpers,
            started: Instant::now(),
            started_unix: since_epoch.as_secs_f64(),
            requests: Mutex::default(),
            connections: AtomicU64::new(0),
        })
    }

    /// Seconds since the start.
    pub fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The model as shown to clients.
    pub fn model(&self) -> &str {
        &self.capture.model
    }

    /// What can be changed.
    pub fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page of `/metrics` now.
    pub fn page(&self) -> String {
        let (moment, page) = {
            let scene = self.scene();
            let now = self.elapsed();
            let moment = Moment {
                progress: scene.load.progress(now),
                prefill_since: scene.prefill_since,
                swing: (scene.gauges == Gauges::Swing).then(|| scene.load.swing(now)),
                from_zero: self.config.from_zero,
                unrounded: self.config.unrounded,
            };
            (moment, scene.page)
        };
        let (withheld, set) = (self.faults.withhold.prefixes(), self.faults.set.values());
        let starts = |head: &str, prefix: &String| head.starts_with(prefix.as_str());
        self.capture.render(
            page,
            &moment,
            |head| withheld.iter().any(|prefix| starts(head, prefix)),
            |head| {
                set.iter()
                    .find(|(prefix, _)| starts(head, prefix))
                    .map(|(_, value)| *value)
            },
        )
    }

    /// Listens from now on, if it did not.
    ///
    /// # Errors
    /// If it listens already, or the port is taken.
    pub fn listen(self: &Arc<Self>) -> Result<(), String> {
        let at = SocketAddr::new(self.config.host, self.config.port);
        let listener =
            TcpListener::bind(at).map_err(|error| format!("listening on {at}: {error}"))?;
        let server = Arc::clone(self);
        thread::spawn(move || http::serve(&listener, &server));
        Ok(())
    }

    /// What the captured server answered on `path`, if that was captured.
    pub fn captured(&self, path: &str) -> Option<String> {
        let name = path.trim_matches('/').replace('/', "_");
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(plain)
            || matches!(name.as_str(), "v1_models" | "model_info" | "get_model_info")
        {
            return None;
        }
        let file = self.config.capture.join(format!("{name}_load_t0.json"));
        fs::read_to_string(file).ok()
    }

    /// Counts a request.
    pub fn count(&self, path: &str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let known = requests.contains_key(path) || requests.len() < MAX_PATHS;
        let path = if known { path } else { "(other)" };
        *requests.entry(path.to_owned()).or_default() += 1;
    }

    /// Counts a connection to a scheduler's port.
    pub fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests by path.
    pub fn requests(&self) -> Value {
        json!(*self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Pids by role, and the ports no one should connect to.
    pub fn processes(&self) -> Value {
        let mut pids: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut ports: Vec<u16> = Vec::new();
        pids.insert("server", vec![std::process::id()]);
        for helper in &self.helpers {
            let Report::Ready { title, pid, port } = helper else {
                continue;
            };
            let role = match title.strip_prefix("sglang::") {
                Some("detokenizer") => "detokenizer",
                Some("data_parallel_controller") => "controller",
                Some(_) => "schedulers",
                None => "tracker",
            };
            pids.entry(role).or_default().push(*pid);
            ports.extend(Some(*port).filter(|port| *port != 0));
        }
        pids.values_mut().for_each(|pids| pids.sort_unstable());
        json!({"pids": pids, "scheduler_ports": ports})
    }

    /// Everything that decides the next page.
    pub fn describe(&self) -> Value {
        let scene = self.scene();
        let elapsed = self.elapsed();
        json!({
            "elapsed": elapsed,
            "started": self.started_unix,
            "growth": scene.load.growth(),
            "progress": scene.load.progress(elapsed).total(),
            "load": self.config.load,
            "paused": scene.load.paused(),
            "gauges": scene.gauges,
            "page": format!("{:?}", scene.page).to_lowercase(),
            "from_zero": self.config.from_zero,
            "unrounded": self.config.unrounded,
            "model": self.model(),
            "metrics": self.config.metrics,
            "hang": self.faults.hang.is_on(),
            "status": self.faults.status.forced().unwrap_or(200),
            "late": scene.load.late(),
            "prefill": scene.prefill_since.is_some(),
            "set": self.faults.set.values(),
            "slow_ms": u64::try_from(self.faults.slow.delay().as_millis()).unwrap_or_default(),
            "spoilt": self.faults.spoil.way(),
            "withheld": self.faults.withhold.prefixes(),
            "scheduler_connections": self.connections.load(Ordering::Relaxed),
        })
    }
}
