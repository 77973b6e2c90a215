//! The functions of nvml.h, by subject. Each is a few lines over [`crate::call`].

/// Defines exported calls about one GPU: the first name is the GPU as it is at this moment.
macro_rules! device_calls {
    ($($(#[$doc:meta])* fn $name:ident($gpu:ident $(, $arg:ident: $type:ty)* $(,)?) $body:block)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub extern "C" fn $name(device: $crate::session::Device $(, $arg: $type)*) -> u32 {
            $crate::call::device(stringify!($name), device, |$gpu| {
                #[allow(unused_mut)]
                let mut asked = Vec::<u64>::new();
                $($crate::replay::Argument::ask(&$arg, &mut asked);)*
                if let Some(recorded) = $gpu.replayed(stringify!($name), &asked) {
                    let recorded = recorded?;
                    #[allow(unused_mut, unused_variables)]
                    let mut values = $crate::replay::Values::of(&recorded);
                    $($crate::replay::Argument::answer($arg, &mut values)?;)*
                    return Ok(());
                }
                $body
            })
        }
    )*};
}

/// Defines exported calls about the system: the first name is the simulated machine.
macro_rules! system_calls {
    ($($(#[$doc:meta])* fn $name:ident($machine:ident $(, $arg:ident: $type:ty)* $(,)?) $body:block)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub extern "C" fn $name($($arg: $type),*) -> u32 {
            $crate::call::system(stringify!($name), |$machine| $body)
        }
    )*};
}

/// Defines exported calls that answer NotSupported. Their arguments, which the C ABI lets a
/// callee ignore, are not looked at.
macro_rules! not_supported {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub extern "C" fn $name() -> u32 {
            $crate::call::not_supported(stringify!($name))
        }
    )*};
}

mod clocks;
mod devices;
mod ecc;
mod events;
mod fields;
mod gpm;
mod identity;
mod library;
mod memory;
mod mig;
mod nvlink;
mod pcie;
mod platform;
mod power;
mod process_lists;
mod samples;
mod thermal;
mod unsupported_devices;
mod unsupported_rest;
mod utilization;
