//! The C side of a call: return codes, and pointers wrapped so that the calls themselves hold no
//! unsafe code.
//!
//! Only a C caller can make an [`Out`]; as in NVML, it promises that a pointer is NULL or valid.

use std::ffi::{CStr, c_char, c_uint};

use nvml_wrapper_sys::bindings as sys;

/// An `nvmlReturn_t` other than success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub c_uint);

/// What the body of a call comes to.
pub type Answer = Result<(), Code>;

pub const UNINITIALIZED: Code = Code(1);
pub const INVALID_ARGUMENT: Code = Code(2);
pub const NOT_SUPPORTED: Code = Code(3);
pub const NOT_FOUND: Code = Code(6);
pub const INSUFFICIENT_SIZE: Code = Code(7);
pub const TIMEOUT: Code = Code(10);
pub const FUNCTION_NOT_FOUND: Code = Code(13);
pub const GPU_IS_LOST: Code = Code(15);
pub const VERSION_MISMATCH: Code = Code(25);
pub const UNKNOWN: Code = Code(999);

/// A pointer argument through which a call answers (or reads and answers).
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// A pointer that the caller put into a structure.
    pub fn member(pointer: *mut T) -> Self {
        Self(pointer)
    }

    /// Whether the caller passed NULL.
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Writes `value`, whatever was there.
    pub fn put(self, value: T) -> Answer {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not NULL, so by NVML's contract valid for a write of T; writing does not read
        // the memory, which may be uninitialised.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// Lets `change` see and change a structure that the caller filled in.
    pub fn change<R>(self, change: impl FnOnce(&mut T) -> R) -> Result<R, Code> {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not NULL, so by NVML's contract an initialised T that nobody else uses during
        // the call.
        Ok(change(unsafe { &mut *self.0 }))
    }

    /// The `count` elements of an array that the caller filled in.
    pub fn slice(&mut self, count: usize) -> Result<&mut [T], Code> {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not NULL, so by NVML's contract an array of `count` initialised T.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.0, count) })
    }
}

impl<T> Out<T> {
    /// Writes a structure as the bytes that it was recorded as; they must be as many as it has.
    pub fn put_bytes(self, bytes: &[u8]) -> Answer {
        if self.0.is_null() || bytes.len() != size_of::<T>() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not NULL, so by NVML's contract valid for a write of T, whose size is that of `bytes`; every T
        // of nvml.h is made of numbers, for which all bytes are valid.
        unsafe {
            self.0
                .cast::<u8>()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        };
        Ok(())
    }

    /// The first four bytes of a structure that the caller filled in: its version.
    pub fn first_word(&self) -> Result<[u8; 4], Code> {
        if self.0.is_null() || size_of::<T>() < 4 {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not NULL, so by NVML's contract an initialised T, which is at least that long.
        Ok(unsafe { self.0.cast::<[u8; 4]>().read_unaligned() })
    }

    /// The same pointer, to characters.
    pub fn into_text(self) -> Out<c_char> {
        Out(self.0.cast())
    }
}

impl<T: Copy> Out<T> {
    /// Writes a list in NVML's way: `count` comes in as the room and goes out as the length, and
    /// too little room is an error that tells the length.
    pub fn list(self, count: Out<c_uint>, items: &[T]) -> Answer {
        let room = count.change(|count| std::mem::replace(count, items.len() as c_uint))?;
        if (room as usize) < items.len() {
            return Err(INSUFFICIENT_SIZE);
        }
        self.copy(items)
    }

    /// Writes `items` to an array known to have room for them.
    pub fn copy(self, items: &[T]) -> Answer {
        if items.is_empty() {
            return Ok(());
        }
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not NULL, so by NVML's contract an array with the room the caller named, which
        // the calling function compared with the number of items.
        unsafe { self.0.copy_from_nonoverlapping(items.as_ptr(), items.len()) };
        Ok(())
    }
}

impl Out<c_char> {
    /// Writes `text` and its final NUL if they fit into `length` bytes.
    pub fn text(self, length: c_uint, text: &str) -> Answer {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        if text.len() >= length as usize {
            return Err(INSUFFICIENT_SIZE);
        }
        let mut bytes: Vec<c_char> = text.bytes().map(|byte| byte as c_char).collect();
        bytes.push(0);
        self.copy(&bytes)
    }
}

/// An argument that says how many characters there is room for.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Room(pub c_uint);

/// A pointer argument to a C string.
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    /// The string, if it is one and is UTF-8.
    pub fn get(&self) -> Result<&str, Code> {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not NULL, so by NVML's contract a string with a final NUL.
        unsafe { CStr::from_ptr(self.0) }
            .to_str()
            .map_err(|_| INVALID_ARGUMENT)
    }
}

/// A structure whose first member is its version.
pub trait Versioned {
    /// The number of the layout.
    const VERSION: c_uint;
    /// What the caller put there.
    fn version(&self) -> c_uint;
}

macro_rules! versioned {
    ($($type:ident = $version:literal),* $(,)?) => {$(
        impl Versioned for sys::$type {
            const VERSION: c_uint = $version;
            fn version(&self) -> c_uint {
                self.version
            }
        }
    )*};
}

versioned! {
    nvmlMemory_v2_t = 2,
    nvmlTemperature_t = 1,
    nvmlMarginTemperature_t = 1,
    nvmlProcessDetailList_t = 1,
    nvmlProcessesUtilizationInfo_t = 1,
    nvmlPciInfoExt_t = 1,
    nvmlEccSramErrorStatus_t = 1,
    nvmlGpuFabricInfo_v2_t = 2,
    nvmlRepairStatus_t = 1,
    nvmlSystemDriverBranchInfo_t = 1,
}

impl<T: Versioned> Out<T> {
    /// As [`Out::change`], for a structure of the right version only.
    pub fn versioned(self, change: impl FnOnce(&mut T) -> Answer) -> Answer {
        self.change(|data| {
            let expected = size_of::<T>() as c_uint | (T::VERSION << 24);
            if data.version() == expected {
                change(data)
            } else {
                Err(VERSION_MISMATCH)
            }
        })?
    }
}

/// `text` as a C array, cut to fit, always with a final NUL.
pub fn chars<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(text.bytes().take(N - 1)) {
        *to = from as c_char;
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_does_not_fit_tells_its_length_and_writes_nothing() {
        let (mut count, mut rows) = (1, [0_u32; 3]);
        let answer = Out(rows.as_mut_ptr()).list(Out(&raw mut count), &[7, 8]);
        assert_eq!((answer, count, rows), (Err(INSUFFICIENT_SIZE), 2, [0; 3]));
        let answer = Out(rows.as_mut_ptr()).list(Out(&raw mut count), &[7, 8]);
        assert_eq!((answer, count, rows), (Ok(()), 2, [7, 8, 0]));
    }

    #[test]
    fn a_text_needs_room_for_its_final_nul() {
        let mut buffer = [1; 4];
        assert_eq!(
            Out(buffer.as_mut_ptr()).text(3, "abc"),
            Err(INSUFFICIENT_SIZE)
        );
        assert_eq!(buffer, [1; 4]);
        assert_eq!(Out(buffer.as_mut_ptr()).text(4, "abc"), Ok(()));
        assert_eq!(buffer, [97, 98, 99, 0]);
    }

    #[test]
    fn a_structure_of_another_version_is_left_alone() {
        let mut memory = sys::nvmlMemory_v2_t {
            version: 0x0100_0028,
            total: 1,
            reserved: 1,
            free: 1,
            used: 1,
        };
        let answer = Out(&raw mut memory).versioned(|memory| {
            memory.total = 2;
            Ok(())
        });
        assert_eq!((answer, memory.total), (Err(VERSION_MISMATCH), 1));
    }

    #[test]
    fn null_pointers_are_invalid_arguments() {
        assert_eq!(
            Out::<u32>(std::ptr::null_mut()).put(1),
            Err(INVALID_ARGUMENT)
        );
        assert_eq!(Text(std::ptr::null()).get(), Err(INVALID_ARGUMENT));
    }
}
