//! Where the scenario comes from: the environment, a file beside the library, /etc, or the one
//! built in; and whether it has changed.

use std::ffi::{CStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::machine::Machine;

/// Names the scenario file.
const SCENARIO_VARIABLE: &str = "FAKE_NVML_SCENARIO";
/// Added to the library's own file name.
const BESIDE_SUFFIX: &str = ".scenario.yaml";
const SYSTEM_FILE: &str = "/etc/fake-nvml.yaml";
const BUILT_IN: &str = include_str!("../scenarios/h200-nvl-4.yaml");

/// One version of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    BuiltIn,
    /// A file, with the time of its last change (none: it cannot be read).
    File(PathBuf, Option<SystemTime>),
}

impl Source {
    /// The first scenario there is.
    pub fn search() -> Self {
        // Read once: the program around us may change its environment from another thread.
        static NAMED: OnceLock<Option<OsString>> = OnceLock::new();
        if let Some(path) = NAMED.get_or_init(|| std::env::var_os(SCENARIO_VARIABLE)) {
            return Self::file(path.into());
        }
        let beside = library_path().map(|library| {
            let mut name = OsString::from(library);
            name.push(BESIDE_SUFFIX);
            PathBuf::from(name)
        });
        beside
            .into_iter()
            .chain([PathBuf::from(SYSTEM_FILE)])
            .find(|path| path.exists())
            .map_or(Self::BuiltIn, Self::file)
    }

    /// The same place, as it is now. A file that has gone keeps its place: it may come back.
    pub fn as_it_is_now(&self) -> Self {
        match self {
            Self::BuiltIn => Self::BuiltIn,
            Self::File(path, _) => Self::file(path.clone()),
        }
    }

    fn file(path: PathBuf) -> Self {
        let changed = fs::metadata(&path).and_then(|data| data.modified()).ok();
        Self::File(path, changed)
    }

    /// Reads and checks the scenario. The error names the file.
    pub fn load(&self) -> Result<Machine, String> {
        match self {
            Self::BuiltIn => Machine::parse(BUILT_IN),
            Self::File(path, _) => {
                let at = |error: String| format!("{}: {error}", path.display());
                let text = fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
                Machine::parse(&text).map_err(at)
            }
        }
    }
}

/// The file this code was loaded from.
fn library_path() -> Option<PathBuf> {
    // SAFETY: Dl_info is a struct of pointers, for which zero is a value.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: the address is of a function of this library, the result goes to a local.
    let found = unsafe { libc::dladdr(library_path as *const libc::c_void, &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr succeeded, so dli_fname is a string that lives as long as the library.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_scenario_has_four_gpus_that_say_they_are_simulated() {
        let machine = Source::BuiltIn.load().unwrap();
        assert_eq!(machine.gpus.len(), 4);
        assert!(
            machine
                .gpus
                .iter()
                .all(|gpu| gpu.model.name.ends_with("(simulated)"))
        );
    }

    #[test]
    fn a_scenario_that_is_wrong_is_refused_with_file_and_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.yaml");
        fs::write(
            &path,
            "driver_version: 580.1\ncuda_version: '13.0'\nmodels: {}\ngpu: []\n",
        )
        .unwrap();
        let error = Source::file(path.clone()).load().unwrap_err();
        assert!(
            error.contains("bad.yaml") && error.contains("gpu"),
            "{error}"
        );
        assert!(
            Source::file(dir.path().join("none.yaml"))
                .load()
                .unwrap_err()
                .contains("none")
        );
    }
}
