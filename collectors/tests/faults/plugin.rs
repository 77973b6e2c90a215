//! A running plugin, what it charts and logs, and the scenario of its driver.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// One GPU or more of a board that tells enough.
pub fn scenario(gpus: usize) -> String {
    let gpus: String = (0..gpus)
        .map(|n| {
            format!("  - {{model: board, uuid: GPU-{n}, pci_bus_id: \"00000000:0{n}:00.0\"}}\n")
        })
        .collect();
    format!(
        "driver_version: 580.95.05\ncuda_version: \"13.0\"\nmodels:\n  board:\n    name: Board (simulated)\n    \
         compute_capability: \"9.0\"\n    memory: {{total_mib: 1000, reserved_mib: 100}}\n    readings: \
         {{gpu_utilization: 90, memory_utilization: 40, power_w: 300, temperature_c: 55}}\ngpus:\n{gpus}"
    )
}

/// A value that was charted.
#[derive(Clone, Debug)]
pub struct Point {
    pub at: SystemTime,
    pub chart: String,
    pub dim: String,
    pub value: String,
}

/// The plugin. It ends with this.
pub struct Plugin {
    child: Child,
    dir: PathBuf,
    points: Arc<Mutex<Vec<Point>>>,
    log: Arc<Mutex<Vec<(SystemTime, String)>>>,
}

/// A directory with the library and the plugin's configuration in it.
pub fn place(scenario: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let built = std::env::current_exe()
        .unwrap()
        .with_file_name("libfake_nvml.so");
    let library = dir.path().join("libnvidia-ml.so.1");
    fs::copy(&built, &library).unwrap();
    fs::create_dir(dir.path().join("rs.d")).unwrap();
    let conf = format!("library: {}\n", library.display());
    fs::write(dir.path().join("rs.d/nvidia.conf"), conf).unwrap();
    put(dir.path(), scenario);
    dir
}

/// Puts a scenario in force: whole, as a reader of half a file would complain.
fn put(dir: &Path, scenario: &str) {
    let path = dir.join("libnvidia-ml.so.1.scenario.yaml");
    let new = dir.join("new");
    fs::write(&new, scenario).unwrap();
    fs::rename(new, path).unwrap();
}

impl Plugin {
    /// Starts it in a [`place`].
    pub fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rs-d-plugin"))
            .args(["-m", "nvidia", "-c"])
            .arg(dir)
            .arg("1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (points, log) = (Arc::default(), Arc::default());
        hear_points(child.stdout.take().unwrap(), Arc::clone(&points));
        hear_log(child.stderr.take().unwrap(), Arc::clone(&log));
        Self {
            child,
            dir: dir.to_owned(),
            points,
            log,
        }
    }

    pub fn becomes(&self, scenario: &str) {
        put(&self.dir, scenario);
    }

    /// The points of a chart and dimension since a time.
    pub fn since(&self, since: SystemTime, chart: &str, dim: &str) -> Vec<Point> {
        let points = self.points.lock().unwrap();
        let wanted = |p: &&Point| p.at >= since && p.chart == chart && p.dim == dim;
        points.iter().filter(wanted).cloned().collect()
    }

    /// The first line of the log since a time that holds `text`.
    pub fn logged(&self, since: SystemTime, text: &str) -> Option<(SystemTime, String)> {
        let log = self.log.lock().unwrap();
        let mut lines = log.iter();
        lines
            .find(|(at, line)| *at >= since && line.contains(text))
            .cloned()
    }

    /// Waits; what was not there in time fails the test, with the log.
    pub fn wait_for(&mut self, what: &str, at_most: u64, mut there: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(at_most);
        while !there(self) {
            assert!(
                Instant::now() < until,
                "no {what} within {at_most} s: {:#?}",
                self.log.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its exit code, once it has ended.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }

    /// How many processes it has started and not ended.
    pub fn children(&self) -> usize {
        let own = self.child.id();
        let path = format!("/proc/{own}/task/{own}/children");
        let mut all = fs::read_to_string(path).unwrap_or_default();
        for task in fs::read_dir(format!("/proc/{own}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if task.file_name().to_string_lossy() != own.to_string() {
                all += &fs::read_to_string(task.path().join("children")).unwrap_or_default();
                all.push(' ');
            }
        }
        all.split_whitespace().count()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hear_points(stdout: impl Read + Send + 'static, points: Arc<Mutex<Vec<Point>>>) {
    thread::spawn(move || {
        let mut chart = String::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(begun) = line.strip_prefix("BEGIN ") {
                begun.split(' ').next().unwrap().clone_into(&mut chart);
            } else if let Some(set) = line.strip_prefix("SET '") {
                let (dim, value) = set.split_once("' = ").unwrap();
                points.lock().unwrap().push(Point {
                    at: SystemTime::now(),
                    chart: chart.clone(),
                    dim: dim.to_owned(),
                    value: value.to_owned(),
                });
            }
        }
    });
}

fn hear_log(stderr: impl Read + Send + 'static, log: Arc<Mutex<Vec<(SystemTime, String)>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            log.lock().unwrap().push((SystemTime::now(), line));
        }
    });
}

/// The chart of a GPU, by its number.
pub fn chart(kind: &str, gpu: usize, name: &str) -> String {
    format!("{kind}.gpu_gpu-{gpu}_{name}")
}
