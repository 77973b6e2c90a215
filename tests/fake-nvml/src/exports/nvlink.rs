//! NVLinks: their state, what passed over them, and their errors.

use std::ffi::c_uint;

use crate::ffi::{Code, INVALID_ARGUMENT, NOT_SUPPORTED, Out};
use crate::gpu::{GpuNow, supported};
use crate::parts::NvLink;
use crate::signal::Signal;

/// A scope that stands for all links.
const ALL: c_uint = c_uint::MAX;

fn nvlink<'a>(gpu: &'a GpuNow<'_>) -> Result<&'a NvLink, Code> {
    supported(gpu.gpu.model.nvlink.as_ref())
}

fn links_up(gpu: &GpuNow<'_>) -> Result<c_uint, Code> {
    let nvlink = nvlink(gpu)?;
    let up = nvlink.up.as_ref().map(|up| gpu.whole(up) as c_uint);
    Ok(up.unwrap_or(nvlink.links).min(nvlink.links))
}

/// A link's data, if it exists.
fn link<'a>(gpu: &'a GpuNow<'_>, number: c_uint) -> Result<&'a NvLink, Code> {
    let nvlink = nvlink(gpu)?;
    if number < nvlink.links {
        Ok(nvlink)
    } else {
        Err(INVALID_ARGUMENT)
    }
}

/// How many there are.
pub fn count(gpu: &GpuNow<'_>) -> Result<c_uint, Code> {
    Ok(nvlink(gpu)?.links)
}

/// Bytes sent or received over a link (or all) since the driver was loaded.
pub fn bytes(gpu: &GpuNow<'_>, scope: c_uint, sent: bool) -> Result<u64, Code> {
    let up = links_up(gpu)?;
    let nvlink = nvlink(gpu)?;
    let signal = if sent {
        &nvlink.tx_mb_s
    } else {
        &nvlink.rx_mb_s
    };
    let times = match scope {
        ALL => up,
        number if number < up => 1,
        number => return link(gpu, number).and(Err(NOT_SUPPORTED)),
    };
    Ok((gpu.since_loaded(signal) * 1e6) as u64 * u64::from(times))
}

/// The fourth generation counts KiB in one set of fields, the fifth bytes in another.
pub fn kib(gpu: &GpuNow<'_>, scope: c_uint, sent: bool) -> Result<u64, Code> {
    if nvlink(gpu)?.version >= 5 {
        return Err(NOT_SUPPORTED);
    }
    Ok(bytes(gpu, scope, sent)? / 1024)
}

/// As [`bytes`], of the fifth generation, by link only.
pub fn newer_bytes(gpu: &GpuNow<'_>, scope: c_uint, sent: bool) -> Result<u64, Code> {
    if nvlink(gpu)?.version < 5 || scope == ALL {
        return Err(NOT_SUPPORTED);
    }
    bytes(gpu, scope, sent)
}

/// Errors of a link by `nvmlNvLinkErrorCounter_t`.
pub fn errors(gpu: &GpuNow<'_>, number: c_uint, counter: c_uint) -> Result<u64, Code> {
    let nvlink = link(gpu, number)?;
    let signal = match counter {
        0 => &nvlink.replays,
        1 => &nvlink.recoveries,
        2 => &nvlink.crc_errors,
        3 | 4 => return Ok(0),
        _ => return Err(INVALID_ARGUMENT),
    };
    Ok(signal.as_ref().map_or(0, |signal| gpu.whole(signal)))
}

/// MiB per second over all links between two moments.
pub fn average_mib_s(gpu: &GpuNow<'_>, sent: bool, from_s: f64, to_s: f64) -> Result<f64, Code> {
    let nvlink = nvlink(gpu)?;
    let signal: &Signal = if sent {
        &nvlink.tx_mb_s
    } else {
        &nvlink.rx_mb_s
    };
    let each = gpu.average(signal, from_s, to_s) * 1e6 / 1_048_576.0;
    Ok(each * f64::from(links_up(gpu)?))
}

device_calls! {
    fn nvmlDeviceGetNvLinkState(gpu, number: c_uint, state: Out<c_uint>) {
        link(gpu, number)?;
        state.put((number < links_up(gpu)?).into())
    }

    fn nvmlDeviceGetNvLinkVersion(gpu, number: c_uint, version: Out<c_uint>) {
        version.put(link(gpu, number)?.version)
    }

    fn nvmlDeviceGetNvLinkErrorCounter(gpu, number: c_uint, counter: c_uint, count: Out<u64>) {
        count.put(errors(gpu, number, counter)?)
    }
}
