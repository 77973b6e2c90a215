//! A copy of the simulated library, and scenarios for it.

use crate::config::Selection;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::nvidia::read::{Progress, Reader, load};
use crate::nvidia::reading::Settings;
use crate::nvidia::snapshot::{Gpu, Processes};

/// Two boards with readings that stand still.
pub const TWO: &str = r#"
driver_version: 580.95.05
cuda_version: "13.0"
models:
  board:
    name: Board (simulated)
    compute_capability: "9.0"
    memory: {total_mib: 1000, reserved_mib: 100}
    bar1: {total_mib: 64, used_mib: 2}
    power_limit_w: {min: 100, max: 600, default: 500}
    pcie: {generation: 4, width: 8, max_generation: 5, max_width: 16}
    readings:
      gpu_utilization: 90
      memory_utilization: 40
      encoder_utilization: 1
      decoder_utilization: 2
      memory_base_mib: 50
      power_w: 300
      temperature_c: 55
      performance_state: 2
      clocks_mhz: {graphics: 1700, sm: 1600, memory: 3200, video: 1500}
gpus:
  - {model: board, uuid: GPU-a, pci_bus_id: "00000000:01:00.0"}
  - {model: board, uuid: GPU-b, pci_bus_id: "00000000:02:00.0"}
"#;

/// A copy of the library, and a clock.
pub struct Simulated {
    _dir: tempfile::TempDir,
    library: PathBuf,
    now: Instant,
    written: u64,
}

impl Simulated {
    pub fn new(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("libnvidia-ml.so.1");
        // Cargo puts the library of a dev-dependency beside the test's own program.
        let built = std::env::current_exe()
            .unwrap()
            .with_file_name("libfake_nvml.so");
        fs::copy(&built, &library).unwrap_or_else(|error| {
            panic!(
                "{}: {error}: build it with `cargo build -p fake-nvml`",
                built.display()
            )
        });
        Self::of(dir, library, scenario)
    }

    /// As an older driver's library, which does not even export `names`.
    pub fn without_symbols(scenario: &str, names: &[&str]) -> Self {
        let Self { _dir, library, .. } = Self::new(scenario);
        let mut bytes = fs::read(&library).unwrap();
        for name in names {
            // The linker finds a name by its hash and then compares it: one letter hides it.
            let sought = [b"\0", name.as_bytes(), b"\0"].concat();
            let places = bytes.windows(sought.len()).enumerate();
            let places: Vec<_> = places
                .filter(|(_, at)| *at == sought)
                .map(|(at, _)| at)
                .collect();
            assert!(!places.is_empty(), "{name} is not exported");
            places.into_iter().for_each(|at| bytes[at + 1] = b'_');
        }
        // A copy under another name, because this one is loaded.
        let library = library.with_file_name("libnvidia-ml-older.so.1");
        fs::write(&library, bytes).unwrap();
        Self::of(_dir, library, scenario)
    }

    fn of(dir: tempfile::TempDir, library: PathBuf, scenario: &str) -> Self {
        let mut simulated = Self {
            _dir: dir,
            library,
            now: Instant::now(),
            written: 0,
        };
        simulated.becomes(scenario);
        simulated
    }

    /// Puts another scenario in force.
    pub fn becomes(&mut self, scenario: &str) {
        let mut path = self.library.clone().into_os_string();
        path.push(".scenario.yaml");
        fs::write(&path, scenario).unwrap();
        // The library tells versions apart by their time stamps, and looks when it is initialised.
        self.written += 1;
        let stamp = SystemTime::UNIX_EPOCH + Duration::from_secs(self.written);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(stamp).unwrap();
        drop(load(self.path()));
    }

    pub fn path(&self) -> &str {
        self.library.to_str().unwrap()
    }

    pub fn open(&self) -> anyhow::Result<Reader> {
        let settings = Settings {
            library: self.path().to_owned(),
            proc_root: "/proc".into(),
            processes_every: Duration::from_secs(5),
            top_processes: 10,
            identify_users: false,
            selection: Selection::default(),
            look_up: true,
            skip: vec![],
            events: true,
        };
        Reader::open(&settings, Arc::new(Progress::default()))
    }

    /// Reads as the tick `seconds` later would.
    pub fn read(&mut self, reader: &mut Reader, seconds: u64) -> anyhow::Result<Vec<Gpu>> {
        self.now += Duration::from_secs(seconds);
        let resolve = |rows| Processes {
            rows,
            ..Processes::default()
        };
        Ok(reader.read(self.now, resolve)?.gpus.clone())
    }
}

pub fn with(scenario: &str, more: &str) -> String {
    format!("{scenario}\n{more}\n")
}

/// A /proc with the processes of a server on one GPU, and of one with four ranks.
pub fn ranks() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (pid, rank) in (700..).zip(["", "_TP0", "_TP1", "_TP2", "_TP3"]) {
        let dir = root.path().join(pid.to_string());
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("cmdline"), format!("sglang::scheduler{rank}\0")).unwrap();
    }
    root
}
