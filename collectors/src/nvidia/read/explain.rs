//! What NVML's errors mean for the person who runs this, and what to do about them.

use nvml_wrapper::error::NvmlError;

/// Says why the GPUs cannot be read through `library`.
pub fn explain(error: &NvmlError, library: &str) -> String {
    const OFF: &str = "GPU charts are off";
    match error {
        NvmlError::LibloadingError(cause) => format!(
            "no NVIDIA driver found ({cause}); {OFF}. If this machine has an NVIDIA GPU, pass its \
             driver into the container with `launcher start --gpu on`, or name its library as `library` in rs.d/nvidia.conf"
        ),
        NvmlError::FailedToLoadSymbol(cause) => format!(
            "{library} is not a usable NVIDIA management library ({cause}); {OFF}. Check `library` \
             in rs.d/nvidia.conf"
        ),
        NvmlError::DriverNotLoaded => format!(
            "the NVIDIA library {library} is here but its kernel driver is not loaded; {OFF}. Check \
             that `nvidia-smi` works on the host; after a driver update the host may need a reboot"
        ),
        NvmlError::LibRmVersionMismatch => format!(
            "the NVIDIA kernel driver and {library} are of different versions: the driver was \
             updated while this was running; {OFF}. `launcher restart` picks up the new library; if \
             `nvidia-smi` fails on the host too, the host needs a reboot"
        ),
        NvmlError::NoPermission => format!(
            "this user may not talk to the NVIDIA driver ({library}); {OFF}. Check that `nvidia-smi` \
             works for this user on the host, and ask its administrator for access to /dev/nvidia*"
        ),
        other => format!(
            "the NVIDIA driver does not answer ({library}: {other}); {OFF} until it does. If \
             `nvidia-smi` hangs or fails on the host too, look for `NVRM` in its kernel log"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvml_wrapper::Nvml;
    use std::ffi::OsStr;

    #[test]
    fn a_machine_without_a_driver_is_told_so_and_what_to_do() {
        let error = Nvml::builder()
            .lib_path(OsStr::new("libno-such-library.so.1"))
            .init()
            .unwrap_err();
        let text = explain(&error, "libno-such-library.so.1");
        assert!(text.contains("no NVIDIA driver"), "{text}");
        assert!(text.contains("launcher start --gpu on"), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn each_cause_has_its_own_advice() {
        for (error, advice) in [
            (NvmlError::DriverNotLoaded, "nvidia-smi"),
            (NvmlError::LibRmVersionMismatch, "launcher restart"),
            (NvmlError::NoPermission, "/dev/nvidia*"),
            (NvmlError::Unknown, "NVRM"),
        ] {
            let text = explain(&error, "libnvidia-ml.so.1");
            assert!(text.contains(advice), "{text}");
        }
    }
}
