//! NVLinks: which are up, what passes over each, and their errors.

use std::time::Instant;

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};

use super::Shared;
use super::calls::Calls;
use super::fields::{Batch, Field, Numbering, Value};
use crate::nvidia::snapshot::{Link, LinkErrors, Links};
use crate::rate::Rate;

/// More links than any board has.
const MOST_LINKS: u32 = 36;

/// Scope of a field that sums all links.
const ALL: u32 = u32::MAX;

/// KiB sent and received, by link; the counters of NVLink before its fifth generation.
const TX_KIB: u32 = 138;
const RX_KIB: u32 = 139;
/// Bytes, since then.
const TX_BYTES: u32 = 202;
const RX_BYTES: u32 = 204;
const REPLAYS: u32 = 161;
const RECOVERIES: u32 = 162;
const CRC: u32 = 163;

/// The sums over all links, read on every tick.
pub const TOTALS: [Field; 2] = [
    Field {
        id: TX_KIB,
        scope: ALL,
    },
    Field {
        id: RX_KIB,
        scope: ALL,
    },
];

/// The counters of all links together.
#[derive(Debug, Default)]
pub struct Totals {
    tx: Rate,
    rx: Rate,
}

impl Totals {
    /// Bytes per second sent and received since the previous call.
    pub fn rates(
        &mut self,
        batch: &Batch,
        numbering: Numbering,
        now: Instant,
    ) -> (Option<f64>, Option<f64>) {
        let rate = |rate: &mut Rate, field| {
            let kib = batch.get(field, numbering).and_then(Value::count);
            rate.per_second(kib.map(|kib| kib as f64 * 1024.0), now)
        };
        (rate(&mut self.tx, TOTALS[0]), rate(&mut self.rx, TOTALS[1]))
    }

    /// Forgets the past: the next rates are gaps.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What is known of a GPU's links between readings.
#[derive(Default)]
pub struct NvLinks {
    states: Vec<bool>,
    throughput: Option<Batch>,
    errors: Option<Batch>,
    rates: Vec<Totals>,
}

impl NvLinks {
    /// Looks which links are up and counts their errors; every ten seconds.
    pub fn look(
        &mut self,
        device: &Device<'_>,
        uuid: &str,
        calls: &mut Calls,
        numbering: Numbering,
        links: &mut Links,
    ) {
        let states = calls.ask(uuid, "nvmlDeviceGetNvLinkState", || states(device));
        let states = states.unwrap_or_default();
        if states != self.states {
            let up = || {
                (0..)
                    .zip(&states)
                    .filter(|(_, up)| **up)
                    .map(|(link, _)| link)
            };
            let fields = |ids: &'static [u32]| {
                up().flat_map(move |scope| ids.iter().map(move |id| Field { id: *id, scope }))
            };
            self.throughput = Some(Batch::new(fields(&[TX_KIB, RX_KIB, TX_BYTES, RX_BYTES])));
            self.errors = Some(Batch::new(fields(&[REPLAYS, RECOVERIES, CRC])));
            self.rates.clear();
            self.rates.resize_with(states.len(), Totals::default);
            self.states.clone_from(&states);
        }
        let Some(batch) = &mut self.errors else {
            links.each.clear();
            return;
        };
        batch.read(device, uuid, calls, numbering);
        let count = |id, scope| {
            batch
                .get(Field { id, scope }, numbering)
                .and_then(Value::count)
        };
        links.each.resize_with(states.len(), Link::default);
        for ((link, up), number) in links.each.iter_mut().zip(states).zip(0..) {
            link.up = up;
            link.errors = LinkErrors {
                replays: count(REPLAYS, number),
                recoveries: count(RECOVERIES, number),
                crc: count(CRC, number),
            };
            if up && link.errors == LinkErrors::default() {
                link.errors = older_errors(device, uuid, calls, number);
            }
        }
    }

    /// Reads what passed over each link; every few seconds.
    pub fn read(
        &mut self,
        device: &Device<'_>,
        uuid: &str,
        calls: &mut Calls,
        shared: &Shared,
        links: &mut Links,
    ) {
        let numbering = shared.numbering;
        let Some(batch) = &mut self.throughput else {
            return;
        };
        batch.read(device, uuid, calls, numbering);
        let now = shared.clock.now();
        let bytes = |kib, whole, scope| {
            let value = |id| {
                batch
                    .get(Field { id, scope }, numbering)
                    .and_then(Value::count)
            };
            let kib = value(kib).map(|kib| kib as f64 * 1024.0);
            kib.or_else(|| value(whole).map(|bytes| bytes as f64))
        };
        for ((link, rates), number) in links.each.iter_mut().zip(&mut self.rates).zip(0..) {
            link.tx = rates.tx.per_second(bytes(TX_KIB, TX_BYTES, number), now);
            link.rx = rates.rx.per_second(bytes(RX_KIB, RX_BYTES, number), now);
        }
    }

    /// Forgets the counters: their next rates are gaps.
    pub fn reset(&mut self) {
        self.rates.iter_mut().for_each(Totals::reset);
    }
}

/// Whether each link is up. A link that was never connected is down; what a board could have is not asked.
fn states(device: &Device<'_>) -> Result<Vec<bool>, NvmlError> {
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetNvLinkState.as_ref())?;
    let mut states = Vec::new();
    for link in 0..MOST_LINKS {
        let mut up = 0;
        // SAFETY: the handle comes from this library, still initialised; `up` is a live integer.
        match nvml_try(unsafe { call(device.handle(), link, &mut up) }) {
            Ok(()) => states.push(up != 0),
            // The first number that the board does not have.
            Err(NvmlError::InvalidArg | NvmlError::NotSupported) if link > 0 => break,
            Err(NvmlError::InvalidArg) => return Err(NvmlError::NotSupported),
            Err(error) => return Err(error),
        }
    }
    Ok(states)
}

/// `nvmlDeviceGetNvLinkErrorCounter`: replays, recoveries, and both kinds of check sums.
fn older_errors(device: &Device<'_>, uuid: &str, calls: &mut Calls, link: u32) -> LinkErrors {
    let mut counter = |number| {
        calls.ask(uuid, "nvmlDeviceGetNvLinkErrorCounter", || {
            let lib = device.nvml().lib();
            let call = nvml_sym(lib.nvmlDeviceGetNvLinkErrorCounter.as_ref())?;
            let mut count = 0;
            // SAFETY: the handle comes from this library, still initialised; `count` is a live integer.
            nvml_try(unsafe { call(device.handle(), link, number, &mut count) })?;
            Ok(count)
        })
    };
    LinkErrors {
        replays: counter(0),
        recoveries: counter(1),
        crc: counter(2)
            .zip(counter(3))
            .map(|(flit, data)| flit.saturating_add(data)),
    }
}
