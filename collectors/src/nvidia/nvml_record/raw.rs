//! Calls by name and by what they take and give, so that a table can list them.

use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t};

/// `NVML_ERROR_FUNCTION_NOT_FOUND`: what a driver without the function is recorded as.
pub const MISSING: u32 = 13;

/// NVML's handle of a GPU or an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub nvmlDevice_t);

/// Room for an answer: larger than every structure that is asked for, and aligned for any.
pub type Room = [u64; 32];

/// Calls a function of up to three numbers that fills up to four answers; their sizes are the caller's to know.
///
/// # Safety
/// `name` must be a function of nvml.h that takes the handle (unless there is none), `arguments` as unsigned
/// integers, and then `outs` pointers to structures of at most the size of a room.
pub unsafe fn call(
    lib: &NvmlLib,
    name: &str,
    handle: Option<Handle>,
    arguments: &[u32],
    outs: &mut [Room],
) -> u32 {
    type System1 = unsafe extern "C" fn(*mut Room) -> u32;
    type Out1 = unsafe extern "C" fn(nvmlDevice_t, *mut Room) -> u32;
    type Out2 = unsafe extern "C" fn(nvmlDevice_t, *mut Room, *mut Room) -> u32;
    type Out4 =
        unsafe extern "C" fn(nvmlDevice_t, *mut Room, *mut Room, *mut Room, *mut Room) -> u32;
    type One = unsafe extern "C" fn(nvmlDevice_t, u32, *mut Room) -> u32;
    type Two = unsafe extern "C" fn(nvmlDevice_t, u32, u32, *mut Room) -> u32;
    let library = &lib.__library;
    let symbol = [name.as_bytes(), b"\0"].concat();
    macro_rules! find {
        ($kind:ty) => {
            match library.get::<$kind>(&symbol) {
                Ok(function) => function,
                Err(_) => return MISSING,
            }
        };
    }
    // SAFETY: the caller says that the function is of that kind, takes just these, and that a room is large enough
    // for each answer.
    unsafe {
        match (handle, arguments, outs) {
            (None, [], [a]) => find!(System1)(a),
            (Some(Handle(gpu)), [], [a]) => find!(Out1)(gpu, a),
            (Some(Handle(gpu)), [], [a, b]) => find!(Out2)(gpu, a, b),
            (Some(Handle(gpu)), [], [a, b, c, d]) => find!(Out4)(gpu, a, b, c, d),
            (Some(Handle(gpu)), [one], [a]) => find!(One)(gpu, *one, a),
            (Some(Handle(gpu)), [one, two], [a]) => find!(Two)(gpu, *one, *two, a),
            _ => MISSING,
        }
    }
}

/// A text of at most the size of a room.
///
/// # Safety
/// `name` must be a function of nvml.h that takes the handle (unless there is none), a pointer to characters and
/// their number.
pub unsafe fn text(
    lib: &NvmlLib,
    name: &str,
    handle: Option<Handle>,
    length: u32,
) -> Result<String, u32> {
    type OfGpu = unsafe extern "C" fn(nvmlDevice_t, *mut Room, u32) -> u32;
    type OfSystem = unsafe extern "C" fn(*mut Room, u32) -> u32;
    let symbol = [name.as_bytes(), b"\0"].concat();
    let mut room: Room = [0; 32];
    let length = length.min(size_of::<Room>() as u32);
    // SAFETY: the caller names a function of that kind; it is told no more room than there is.
    let code = unsafe {
        match handle {
            Some(Handle(gpu)) => match lib.__library.get::<OfGpu>(&symbol) {
                Ok(function) => function(gpu, &mut room, length),
                Err(_) => MISSING,
            },
            None => match lib.__library.get::<OfSystem>(&symbol) {
                Ok(function) => function(&mut room, length),
                Err(_) => MISSING,
            },
        }
    };
    if code != 0 {
        return Err(code);
    }
    let bytes = bytes(&room, length as usize);
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
    let plain = |c: char| {
        if c.is_control() || matches!(c, '"' | '\\') {
            '_'
        } else {
            c
        }
    };
    Ok(text.chars().map(plain).collect())
}

/// The first bytes of a room.
pub fn bytes(room: &Room, length: usize) -> Vec<u8> {
    room.iter()
        .flat_map(|word| word.to_ne_bytes())
        .take(length)
        .collect()
}

/// The instances of a GPU with their places, as long as there are any.
pub fn instances(lib: &NvmlLib, gpu: Handle, most: u32) -> Vec<(usize, Handle)> {
    let Ok(function) = lib.nvmlDeviceGetMigDeviceHandleByIndex.as_ref() else {
        return vec![];
    };
    let handles = (0..most).filter_map(|index| {
        let mut part = std::ptr::null_mut();
        // SAFETY: the handle comes from this library, still initialised; `part` is a live pointer for it to fill.
        (unsafe { function(gpu.0, index, &mut part) } == 0).then_some(Handle(part))
    });
    handles.enumerate().collect()
}
