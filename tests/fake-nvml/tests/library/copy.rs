//! A private copy of the built library, with its scenario beside it. A copy is another file, so
//! the loader gives each test a library with a state of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nvml_wrapper::Nvml;
use nvml_wrapper_sys::bindings::NvmlLib;
use tempfile::TempDir;

/// Longer than the second after which the library looks at its file again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The copy. It goes away with this value; the mapped library stays usable.
pub struct LibraryCopy {
    dir: TempDir,
}

impl LibraryCopy {
    /// With a scenario, or with the one built in.
    pub fn new(scenario: Option<&str>) -> Self {
        let copy = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::copy(built_library(), copy.path()).unwrap();
        if let Some(text) = scenario {
            fs::write(copy.scenario_path(), text).unwrap();
        }
        copy
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("libnvidia-ml.so.1")
    }

    fn scenario_path(&self) -> PathBuf {
        self.dir.path().join("libnvidia-ml.so.1.scenario.yaml")
    }

    /// Loads and initialises it through nvml-wrapper.
    pub fn wrapper(&self) -> Nvml {
        Nvml::builder()
            .lib_path(self.path().as_os_str())
            .init()
            .unwrap()
    }

    /// Loads it without initialising it.
    pub fn raw(&self) -> NvmlLib {
        // SAFETY: loading the library runs no code of its own.
        unsafe { NvmlLib::new(self.path()) }.unwrap()
    }

    /// Replaces the scenario and waits until `seen` says that the library has noticed.
    pub fn rewrite(&self, scenario: &str, mut seen: impl FnMut() -> bool) {
        let path = self.scenario_path();
        let before = modified(&path);
        fs::write(&path, scenario).unwrap();
        if modified(&path) == before {
            // Written within one tick of the file system's clock.
            let later = SystemTime::now() + Duration::from_secs(1);
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(later)
                .unwrap();
        }
        let start = Instant::now();
        while !seen() {
            assert!(
                start.elapsed() < PATIENCE,
                "the new scenario was not taken over"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A scenario of GPUs `GPU-0`, `GPU-1`, … of one model. `more` goes to the end of the file.
pub fn scenario(readings: &str, gpus: &[&str], more: &str) -> String {
    let entries: String = gpus
        .iter()
        .enumerate()
        .map(|(i, rest)| {
            format!("  - {{model: m, uuid: GPU-{i}, pci_bus_id: '0000:{i:02x}:00.0', {rest}}}\n")
        })
        .collect();
    let gpus = if entries.is_empty() {
        "gpus: []\n".to_owned()
    } else {
        format!("gpus:\n{entries}")
    };
    format!(
        "driver_version: 580.95.05
cuda_version: '13.0'
models:
  m:
    name: Test (simulated)
    compute_capability: '9.0'
    memory: {{total_mib: 1000, reserved_mib: 10}}
    readings: {{{readings}}}
{gpus}{more}"
    )
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Cargo puts it beside this test or one directory above.
fn built_library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let deps = test.parent().unwrap();
    let library = deps.join("libfake_nvml.so");
    assert!(library.exists(), "{} has not been built", library.display());
    library
}
