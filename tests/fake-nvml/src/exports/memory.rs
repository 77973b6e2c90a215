//! Frame buffer and BAR1 memory, in bytes.

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::Out;

device_calls! {
    /// Version 1 counts what the driver reserves as used.
    fn nvmlDeviceGetMemoryInfo(gpu, memory: Out<sys::nvmlMemory_t>) {
        let now = gpu.memory();
        memory.put(sys::nvmlMemory_t {
            total: now.total,
            free: now.free,
            used: now.used.saturating_add(now.reserved),
        })
    }

    fn nvmlDeviceGetMemoryInfo_v2(gpu, memory: Out<sys::nvmlMemory_v2_t>) {
        memory.versioned(|memory| {
            let now = gpu.memory();
            memory.total = now.total;
            memory.reserved = now.reserved;
            memory.free = now.free;
            memory.used = now.used;
            Ok(())
        })
    }

    fn nvmlDeviceGetBAR1MemoryInfo(gpu, memory: Out<sys::nvmlBAR1Memory_t>) {
        let (total, used) = gpu.bar1()?;
        memory.put(sys::nvmlBAR1Memory_t {
            bar1Total: total,
            bar1Free: total - used,
            bar1Used: used,
        })
    }
}
