//! MIG: whether a GPU is split, and its instances, which are known by the number of their GPU instance: it
//! stays the same for as long as the instance exists.

use std::sync::Arc;
use std::time::Instant;

use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::{Device, Nvml};

use super::calls::Calls;
use super::fast::memory_once;
use super::gpm::{Gpm, Part};
use crate::nvidia::snapshot::{Mig, MigInstance};

/// Instances of one GPU; today's have seven.
const MOST_INSTANCES: u32 = 16;

/// What is kept of a GPU's instances between readings.
#[derive(Default)]
pub struct Instances(Vec<(u32, Gpm)>);

/// Reads all of it.
pub fn read(
    nvml: &Arc<Nvml>,
    device: &Device<'_>,
    uuid: &str,
    calls: &mut Calls,
    kept: &mut Instances,
    now: Instant,
) -> Mig {
    let mode = calls.ask(uuid, "nvmlDeviceGetMigMode", || device.mig_mode());
    let enabled = mode.map(|mode| mode.current != 0);
    if enabled != Some(true) {
        kept.0.clear();
        return Mig {
            enabled,
            instances: vec![],
        };
    }
    let most = calls.ask(uuid, "nvmlDeviceGetMaxMigDeviceCount", || {
        device.mig_device_count()
    });
    let mut instances: Vec<MigInstance> = vec![];
    for index in 0..most.unwrap_or(0).min(MOST_INSTANCES) {
        // An index without an instance is the normal end of a list with holes.
        let Ok(part) = device.mig_device_by_index(index) else {
            continue;
        };
        let Ok(gpu_instance) = gpu_instance(&part) else {
            continue;
        };
        // Compute instances of one GPU instance share its memory.
        if instances
            .iter()
            .any(|known| known.gpu_instance == gpu_instance)
        {
            continue;
        }
        let place = match kept.0.iter().position(|(known, _)| *known == gpu_instance) {
            Some(place) => place,
            None => {
                kept.0.push((gpu_instance, Gpm::default()));
                kept.0.len() - 1
            }
        };
        let gpm = &mut kept.0[place].1;
        let target = Part::Instance(gpu_instance);
        instances.push(MigInstance {
            gpu_instance,
            uuid: part.uuid().unwrap_or_default(),
            name: part.name().unwrap_or_default(),
            memory: memory_once(&part),
            bar1_bytes: part
                .bar1_memory_info()
                .ok()
                .map(|bar1| (bar1.free, bar1.used)),
            activity: gpm.read(nvml, device, target, uuid, calls, now).activity,
        });
    }
    kept.0
        .retain(|(known, _)| instances.iter().any(|there| there.gpu_instance == *known));
    Mig { enabled, instances }
}

fn gpu_instance(part: &Device<'_>) -> Result<u32, NvmlError> {
    let call = nvml_sym(part.nvml().lib().nvmlDeviceGetGpuInstanceId.as_ref())?;
    let mut id = 0;
    // SAFETY: the handle comes from this library, still initialised; `id` is a live integer.
    nvml_try(unsafe { call(part.handle(), &mut id) })?;
    Ok(id)
}
