//! GPU Performance Monitoring: how busy the parts of a GPU were between two samples (Hopper and later).
//! Whether a board has it is asked once; nothing is switched on for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{
    NVML_GPM_METRICS_GET_VERSION, nvmlGpmMetric_t, nvmlGpmMetric_t__bindgen_ty_1,
    nvmlGpmMetricsGet_t, nvmlGpmSample_t,
};

use super::calls::Calls;
use crate::nvidia::snapshot::Activity;

/// Samples closer together than this make no metrics.
const CLOSEST: Duration = Duration::from_millis(100);

/// Samples further apart than this say little about now.
const FURTHEST: Duration = Duration::from_secs(60);

/// `NVML_GPM_METRIC_*`, in the order in which they are asked for.
const METRICS: [u32; 8] = [2, 3, 5, 10, 20, 21, 60, 61];

/// Throughputs come in MiB/s.
const MIB: f64 = 1_048_576.0;

/// What is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole GPU.
    Gpu,
    /// One of its MIG instances, by the number of its GPU instance.
    Instance(u32),
}

/// What GPM says of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Shares of time.
    pub activity: Activity,
    /// Bytes per second sent to the host.
    pub pcie_tx: Option<f64>,
    /// Received from it.
    pub pcie_rx: Option<f64>,
    /// Bytes per second sent over all NVLinks.
    pub nvlink_tx: Option<f64>,
    /// Received over them.
    pub nvlink_rx: Option<f64>,
}

/// One GPU's or instance's samples.
#[derive(Default)]
pub struct Gpm {
    probed: Option<bool>,
    newest: Option<(Sample, Instant)>,
    spare: Option<Sample>,
}

/// A buffer of the driver's, freed with this.
struct Sample {
    nvml: Arc<Nvml>,
    handle: nvmlGpmSample_t,
}

// SAFETY: NVML is thread-safe, and a sample is used by one thread at a time.
unsafe impl Send for Sample {}

impl Sample {
    fn new(nvml: &Arc<Nvml>) -> Result<Self, NvmlError> {
        let call = nvml_sym(nvml.lib().nvmlGpmSampleAlloc.as_ref())?;
        let mut handle: nvmlGpmSample_t = std::ptr::null_mut();
        // SAFETY: the library is initialised; `handle` is a live pointer for it to fill.
        nvml_try(unsafe { call(&mut handle) })?;
        Ok(Self {
            nvml: Arc::clone(nvml),
            handle,
        })
    }

    fn take(&self, device: &Device<'_>, part: Part) -> Result<(), NvmlError> {
        let lib = self.nvml.lib();
        // SAFETY: handle and sample come from this library, still initialised.
        nvml_try(unsafe {
            match part {
                Part::Gpu => nvml_sym(lib.nvmlGpmSampleGet.as_ref())?(device.handle(), self.handle),
                Part::Instance(id) => {
                    nvml_sym(lib.nvmlGpmMigSampleGet.as_ref())?(device.handle(), id, self.handle)
                }
            }
        })
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if let Ok(call) = nvml_sym(self.nvml.lib().nvmlGpmSampleFree.as_ref()) {
            // SAFETY: it was allocated by this library, still initialised, and is freed once.
            unsafe { call(self.handle) };
        }
    }
}

impl Gpm {
    /// Takes a sample and compares it with the previous one. Unknown where GPM is not there, at the first
    /// sample, and when the samples are too close or too far apart.
    pub fn read(
        &mut self,
        nvml: &Arc<Nvml>,
        device: &Device<'_>,
        part: Part,
        uuid: &str,
        calls: &mut Calls,
        now: Instant,
    ) -> Metrics {
        if self.probed.is_none() {
            self.probed = calls.ask(uuid, "nvmlGpmQueryDeviceSupport", || device.gpm_support());
        }
        if self.probed != Some(true) {
            return Metrics::default();
        }
        let before = self
            .newest
            .as_ref()
            .map(|(_, at)| now.saturating_duration_since(*at));
        if before.is_some_and(|before| before < CLOSEST) {
            return Metrics::default();
        }
        // Each has its own name: one that is refused says nothing about the other.
        let call = match part {
            Part::Gpu => "nvmlGpmSampleGet",
            Part::Instance(_) => "nvmlGpmMigSampleGet",
        };
        let taken = calls.ask(uuid, call, || {
            let sample = self.spare.take().map_or_else(|| Sample::new(nvml), Ok)?;
            sample.take(device, part).map(|()| sample)
        });
        let Some(sample) = taken else {
            self.newest = None;
            return Metrics::default();
        };
        let Some((older, _)) = self.newest.replace((sample, now)) else {
            return Metrics::default();
        };
        let metrics = match (&self.newest, before) {
            (Some((newer, _)), Some(before)) if before <= FURTHEST => {
                calls.ask(uuid, "nvmlGpmMetricsGet", || compare(&older, newer))
            }
            _ => None,
        };
        self.spare = Some(older);
        metrics.unwrap_or_default()
    }
}

fn compare(older: &Sample, newer: &Sample) -> Result<Metrics, NvmlError> {
    let nothing = nvmlGpmMetric_t {
        metricId: 0,
        nvmlReturn: 0,
        value: 0.0,
        metricInfo: nvmlGpmMetric_t__bindgen_ty_1 {
            shortName: std::ptr::null_mut(),
            longName: std::ptr::null_mut(),
            unit: std::ptr::null_mut(),
        },
    };
    let mut request = nvmlGpmMetricsGet_t {
        version: NVML_GPM_METRICS_GET_VERSION,
        numMetrics: METRICS.len() as u32,
        sample1: older.handle,
        sample2: newer.handle,
        metrics: [nothing; 210],
    };
    for (metric, id) in request.metrics.iter_mut().zip(METRICS) {
        metric.metricId = id;
    }
    let call = nvml_sym(newer.nvml.lib().nvmlGpmMetricsGet.as_ref())?;
    // SAFETY: both samples come from this library, still initialised; `request` is live and says its version.
    nvml_try(unsafe { call(&mut request) })?;
    let answer = |place: usize| {
        let metric = &request.metrics[place];
        (metric.nvmlReturn == 0 && metric.value.is_finite()).then_some(metric.value)
    };
    let share = |place| answer(place).filter(|value| (0.0..=100.5).contains(value));
    let bytes = |place| {
        answer(place)
            .filter(|value| *value >= 0.0)
            .map(|mib| mib * MIB)
    };
    Ok(Metrics {
        activity: Activity {
            sm: share(0),
            occupancy: share(1),
            tensor: share(2),
            dram: share(3),
        },
        pcie_tx: bytes(4),
        pcie_rx: bytes(5),
        nvlink_rx: bytes(6),
        nvlink_tx: bytes(7),
    })
}
