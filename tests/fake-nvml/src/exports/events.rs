//! Events: sets, registrations, and a wait that blocks as the real one does. XID errors are the
//! only events that happen here.

use std::collections::BTreeMap;
use std::ffi::c_uint;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Answer, Code, INVALID_ARGUMENT, Out, TIMEOUT};
use crate::session::{self, Device};

/// Single and double bit ECC errors, performance state, XID, clock.
const SUPPORTED: u64 = 0x1f;
const XID: u64 = 0x08;
/// How often a wait looks whether the scenario has changed; what that says is known beforehand.
const LOOK: Duration = Duration::from_secs(1);

/// An `nvmlEventSet_t`, a number that is never used again.
type Handle = usize;

/// A set, and up to when each GPU's events were delivered, Unix seconds.
#[derive(Default)]
struct Set {
    delivered_s: BTreeMap<String, f64>,
}

static SETS: Mutex<(Handle, BTreeMap<Handle, Set>)> = Mutex::new((0, BTreeMap::new()));

/// Version 1 of the event structure has no instances.
#[repr(C)]
pub struct EventV1 {
    device: Device,
    kind: u64,
    data: u64,
}

fn sets() -> MutexGuard<'static, (Handle, BTreeMap<Handle, Set>)> {
    SETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a set waits for.
enum Next {
    /// It has happened.
    Event(EventV1),
    /// It happens after this time, as far as the scenario says now.
    After(Duration),
}

/// The next event of a set.
fn next(set: Handle) -> Result<Next, Code> {
    let machine = session::machine()?;
    let now_s = machine.now_s();
    let mut sets = sets();
    let set = sets.1.get_mut(&set).ok_or(INVALID_ARGUMENT)?;
    let mut earliest: Option<(f64, &str, u64)> = None;
    for gpu in &machine.gpus {
        let Some(delivered_s) = set.delivered_s.get(&gpu.uuid) else {
            continue;
        };
        for xid in &gpu.xids {
            if let Some(at_s) = xid.next_after(*delivered_s)
                && earliest.is_none_or(|(first_s, ..)| at_s < first_s)
            {
                earliest = Some((at_s, &gpu.uuid, xid.xid));
            }
        }
    }
    let Some((at_s, uuid, xid)) = earliest else {
        return Ok(Next::After(LOOK));
    };
    if at_s > now_s {
        return Ok(Next::After(
            Duration::try_from_secs_f64(at_s - now_s).unwrap_or(LOOK),
        ));
    }
    set.delivered_s.insert(uuid.to_owned(), at_s);
    Ok(Next::Event(EventV1 {
        device: session::handle(uuid),
        kind: XID,
        data: xid,
    }))
}

fn wait(set: Handle, timeout_ms: c_uint) -> Result<EventV1, Code> {
    let until = Instant::now() + Duration::from_millis(timeout_ms.into());
    loop {
        let wait = match next(set)? {
            Next::Event(event) => return Ok(event),
            Next::After(wait) => wait,
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(TIMEOUT);
        }
        // A little more than nothing: a clock that stands still must not make this spin.
        let wait = wait.max(Duration::from_millis(1));
        thread::sleep(left.min(LOOK).min(wait));
    }
}

fn wait_v2(set: Handle, event: Out<sys::nvmlEventData_t>, timeout_ms: c_uint) -> Answer {
    let EventV1 { device, kind, data } = wait(set, timeout_ms)?;
    event.put(sys::nvmlEventData_t {
        device: device.as_ptr(),
        eventType: kind,
        eventData: data,
        gpuInstanceId: c_uint::MAX,
        computeInstanceId: c_uint::MAX,
    })
}

system_calls! {
    fn nvmlEventSetCreate(_machine, set: Out<Handle>) {
        let mut sets = sets();
        sets.0 += 1;
        let handle = sets.0;
        sets.1.insert(handle, Set::default());
        set.put(handle)
    }

    fn nvmlEventSetFree(_machine, set: Handle) {
        sets().1.remove(&set).map(|_| ()).ok_or(INVALID_ARGUMENT)
    }

    fn nvmlEventSetWait(_machine, set: Handle, event: Out<EventV1>, timeout_ms: c_uint) {
        event.put(wait(set, timeout_ms)?)
    }

    fn nvmlEventSetWait_v2(
        _machine,
        set: Handle,
        event: Out<sys::nvmlEventData_t>,
        timeout_ms: c_uint,
    ) {
        wait_v2(set, event, timeout_ms)
    }
}

device_calls! {
    fn nvmlDeviceGetSupportedEventTypes(_gpu, types: Out<u64>) {
        types.put(SUPPORTED)
    }

    fn nvmlDeviceRegisterEvents(gpu, types: u64, set: Handle) {
        if types & !SUPPORTED != 0 {
            return Err(INVALID_ARGUMENT);
        }
        let mut sets = sets();
        let set = sets.1.get_mut(&set).ok_or(INVALID_ARGUMENT)?;
        if types & XID != 0 {
            set.delivered_s.entry(gpu.gpu.uuid.clone()).or_insert(gpu.now_s);
        }
        Ok(())
    }
}
