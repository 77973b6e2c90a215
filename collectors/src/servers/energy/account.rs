//! One server's account: what it uses now, what it has used, and the labels of its charts.

use std::sync::Arc;

use netdata_plugin::chart::Instance;

use super::Server;
use super::split::{Attribution, Part};
use super::window::{Total, Window};
use crate::gpu_usage::Gpu;

/// A server and its account.
#[derive(Debug)]
pub struct Account {
    /// Who.
    pub server: Server,
    /// What it uses of each GPU it is on, in the order of the reading.
    pub gpus: Vec<OnGpu>,
    /// How well that is known over all of its GPUs; `None` if it is on none.
    pub attribution: Option<Attribution>,
    /// Over the last minutes.
    pub window: Window,
    /// The counters that work was last counted by.
    pub counters: Option<&'static str>,
    total: Total,
    labelled: Option<(Attribution, Option<&'static str>, Arc<Instance>)>,
    on_gpus: Vec<(Arc<str>, Arc<Instance>)>,
}

/// What a server uses of one GPU.
#[derive(Clone, Debug)]
pub struct OnGpu {
    /// Of the charts of this server and GPU.
    pub instance: Arc<Instance>,
    /// GPU memory, bytes; `None` if that of one of its processes is unknown.
    pub mem_bytes: Option<u64>,
    /// SM time, per cent; likewise.
    pub sm_pct: Option<f64>,
    /// Its part of the board's energy since the last reading, and the seconds that took; `None` without attribution, or
    /// where the counter was not read.
    pub used: Option<(Part, f64)>,
    /// Its share of the board: the whole if nobody else is on it, else by memory.
    pub share: f64,
    /// Whether the counter moved.
    pub moved: bool,
}

/// Power, W.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Watts {
    /// Above idle power; unknown while what the board draws idle is.
    pub active: Option<f64>,
    /// Idle power, likewise.
    pub idle: Option<f64>,
    /// Both, only while they are not told apart.
    pub undivided: Option<f64>,
}

impl Account {
    /// An empty one.
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self {
            server,
            gpus: Vec::new(),
            attribution: None,
            window: Window::default(),
            counters: None,
            total: Total::default(),
            labelled: None,
            on_gpus: Vec::new(),
        }
    }

    /// The same account of a server that was found again, unless it is another process by now.
    pub fn continues(&mut self, server: Server) {
        if self.server.main != server.main {
            self.window.interrupt();
        }
        if self.server.instance != server.instance {
            self.labelled = None;
            self.on_gpus.clear();
        }
        self.server = server;
    }

    /// Books what it used on each of its GPUs up to `at`.
    pub fn book(&mut self, at: std::time::Instant) {
        match self.attribution {
            None | Some(Attribution::None) => self.window.interrupt(),
            Some(_) => {
                for gpu in &self.gpus {
                    if let Some((part, seconds)) = &gpu.used {
                        self.total.part.add(*part);
                        self.total.gpu_seconds += gpu.share * seconds;
                    }
                }
                let moved = self.gpus.iter().all(|gpu| gpu.moved);
                self.total.moves += u64::from(moved);
                // What one board did not tell now it tells next time, and for both.
                if self.gpus.iter().all(|gpu| gpu.used.is_some()) {
                    self.window.used(&self.total, at);
                }
            }
        }
    }

    /// What it draws now.
    #[must_use]
    pub fn watts(&self) -> Option<Watts> {
        let (mut active, mut idle, mut undivided) = (0.0, 0.0, 0.0);
        for gpu in &self.gpus {
            let (part, seconds) = gpu.used?;
            active += watts(part.active_mj, seconds);
            idle += watts(part.idle_mj, seconds);
            undivided += watts(part.undivided_mj, seconds);
        }
        Some(if undivided > 0.0 {
            Watts {
                undivided: Some(active + idle + undivided),
                ..Watts::default()
            }
        } else {
            Watts {
                active: Some(active),
                idle: Some(idle),
                undivided: None,
            }
        })
    }

    /// The instance of its charts of energy.
    pub fn instance(&mut self) -> Option<&Arc<Instance>> {
        let (attribution, counters) = (self.attribution?, self.counters);
        let known = self.labelled.take();
        let known = known.filter(|(its, count, _)| (*its, *count) == (attribution, counters));
        let (_, _, instance) = self.labelled.insert(known.unwrap_or_else(|| {
            let mut instance =
                Instance::clone(&self.server.instance).label("attribution", attribution.name());
            if let Some(counters) = counters {
                instance = instance.label("counters", counters);
            }
            (attribution, counters, Arc::new(instance))
        }));
        Some(instance)
    }

    /// The instance of its charts on one GPU.
    pub fn instance_on(&mut self, gpu: &Gpu) -> Arc<Instance> {
        if let Some((_, known)) = self.on_gpus.iter().find(|(uuid, _)| *uuid == gpu.uuid) {
            return Arc::clone(known);
        }
        let base = &self.server.instance;
        let mut instance = Instance::new(&base.chart_type, &gpu_prefix(gpu));
        instance.labels.clone_from(&base.labels);
        let instance = Arc::new(described(instance, gpu));
        self.on_gpus
            .push((Arc::clone(&gpu.uuid), Arc::clone(&instance)));
        instance
    }
}

/// Part of the id of a chart of a GPU, as in the module `nvidia`.
#[must_use]
pub fn gpu_prefix(gpu: &Gpu) -> String {
    format!("gpu_{}_", gpu.uuid.to_ascii_lowercase())
}

/// The labels of a GPU.
#[must_use]
pub fn described(instance: Instance, gpu: &Gpu) -> Instance {
    instance
        .label("index", gpu.index.to_string())
        .label("uuid", &*gpu.uuid)
        .label("product_name", &*gpu.product_name)
}

/// Power, W.
#[must_use]
pub fn watts(energy_mj: u64, seconds: f64) -> f64 {
    // Exact: far under 2^53.
    #[allow(clippy::cast_precision_loss)]
    let joules = energy_mj as f64 / 1e3;
    joules / seconds
}
