//! A running plugin, what it charts and logs, and the scenario of its driver.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::board::Machine;

/// A value that was charted.
#[derive(Clone, Debug)]
pub struct Point {
    pub at: SystemTime,
    pub value: f64,
}

/// A chart, as it was defined last.
#[derive(Clone, Debug, Default)]
pub struct Defined {
    pub labels: BTreeMap<String, String>,
    pub obsolete: bool,
}

#[derive(Default)]
struct Said {
    /// By chart and dimension.
    points: BTreeMap<(String, String), Vec<Point>>,
    /// What a number on the wire is in the chart's unit.
    scales: BTreeMap<(String, String), f64>,
    charts: BTreeMap<String, Defined>,
}

/// The plugin. It ends with this.
pub struct Plugin {
    child: Child,
    dir: PathBuf,
    said: Arc<Mutex<Said>>,
    log: Arc<Mutex<Vec<(SystemTime, String)>>>,
    pub started: SystemTime,
}

/// A directory with the library and the plugin's configuration in it.
pub fn place(machine: &Machine) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libnvidia-ml.so.1");
    fs::copy(library_built(), &library).unwrap();
    fs::create_dir(dir.path().join("rs.d")).unwrap();
    let conf = format!("library: {}\nprocesses_every: 1\n", library.display());
    fs::write(dir.path().join("rs.d/nvidia.conf"), conf).unwrap();
    put(dir.path(), machine);
    dir
}

/// Cargo puts the library of a dev-dependency beside the test's own program.
pub fn library_built() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.with_file_name("libfake_nvml.so")
}

/// Puts a scenario in force: whole, as a reader of half a file would complain.
fn put(dir: &Path, machine: &Machine) {
    let path = dir.join("libnvidia-ml.so.1.scenario.yaml");
    let new = dir.join("new");
    fs::write(&new, machine.text()).unwrap();
    fs::rename(new, path).unwrap();
}

impl Plugin {
    /// Starts it in a [`place`].
    pub fn start(dir: &Path) -> Self {
        Self::with(dir, "nvidia", None)
    }

    /// Starts it with these modules, on a host whose root is elsewhere.
    pub fn with(dir: &Path, modules: &str, host: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rs-d-plugin"));
        if let Some(host) = host {
            command.env("NETDATA_HOST_PREFIX", host);
        }
        let started = SystemTime::now();
        let mut child = command
            .args(["-m", modules, "-c"])
            .arg(dir)
            .arg("1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, log) = (Arc::default(), Arc::default());
        hear(child.stdout.take().unwrap(), Arc::clone(&said));
        hear_log(child.stderr.take().unwrap(), Arc::clone(&log));
        Self {
            child,
            dir: dir.to_owned(),
            said,
            log,
            started,
        }
    }

    /// Puts another scenario in force, and says when.
    pub fn becomes(&self, machine: &Machine) -> SystemTime {
        put(&self.dir, machine);
        SystemTime::now()
    }

    /// The points of a chart and dimension since a time.
    pub fn since(&self, since: SystemTime, chart: &str, dim: &str) -> Vec<Point> {
        let said = self.said.lock().unwrap();
        let points = said.points.get(&(chart.to_owned(), dim.to_owned()));
        let points = points.into_iter().flatten();
        points.filter(|point| point.at >= since).cloned().collect()
    }

    /// Whether it was charted since a time.
    pub fn charted(&self, since: SystemTime, chart: &str, dim: &str) -> bool {
        !self.since(since, chart, dim).is_empty()
    }

    /// The latest value since a time.
    pub fn last(&self, since: SystemTime, chart: &str, dim: &str) -> Option<f64> {
        self.since(since, chart, dim)
            .last()
            .map(|point| point.value)
    }

    /// The state of a GPU that was charted last since a time.
    pub fn state(&self, since: SystemTime, gpu: &str) -> Option<&'static str> {
        let chart = chart("nvidia", gpu, "gpu_state");
        let is = |state: &&str| self.last(since, &chart, state) == Some(1.0);
        ["ok", "lost", "reset_required", "stale"]
            .into_iter()
            .find(is)
    }

    /// The longest time between two points since a time; those until the first and since the last count.
    pub fn longest_pause(&self, since: SystemTime, chart: &str, dim: &str) -> Duration {
        let points = self.since(since, chart, dim);
        let mut times: Vec<_> = points.iter().map(|point| point.at).collect();
        times.insert(0, since);
        times.push(SystemTime::now());
        let pauses = times.windows(2).map(|two| two[1].duration_since(two[0]));
        pauses.map(Result::unwrap_or_default).max().unwrap()
    }

    /// The latest values of every dimension whose chart begins so, by what follows and the dimension.
    pub fn values(&self, since: SystemTime, begins: &str) -> BTreeMap<(String, String), f64> {
        let said = self.said.lock().unwrap();
        let mut values = BTreeMap::new();
        for ((chart, dim), points) in &said.points {
            let last = points.last().filter(|point| point.at >= since);
            if let (Some(rest), Some(last)) = (chart.strip_prefix(begins), last) {
                values.insert((rest.to_owned(), dim.clone()), last.value);
            }
        }
        values
    }

    /// The charts with this in their name, and their dimensions, so far.
    pub fn charts_of(&self, part: &str) -> Vec<(String, String)> {
        let said = self.said.lock().unwrap();
        let charts = said.points.keys().filter(|(chart, _)| chart.contains(part));
        charts.cloned().collect()
    }

    /// A chart's definition.
    pub fn defined(&self, chart: &str) -> Option<Defined> {
        self.said.lock().unwrap().charts.get(chart).cloned()
    }

    /// The lines of the log since a time that hold `text`.
    pub fn all_logged(&self, since: SystemTime, text: &str) -> Vec<(SystemTime, String)> {
        let log = self.log.lock().unwrap();
        let lines = log
            .iter()
            .filter(|(at, line)| *at >= since && line.contains(text));
        lines.cloned().collect()
    }

    /// The first of them.
    pub fn logged(&self, since: SystemTime, text: &str) -> Option<(SystemTime, String)> {
        self.all_logged(since, text).into_iter().next()
    }

    /// Waits; what was not there in time fails the test, with the log.
    pub fn wait_for(&mut self, what: &str, at_most: u64, mut there: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(at_most);
        while !there(self) {
            if Instant::now() >= until {
                let log = self.log.lock().unwrap();
                let log: Vec<_> = log.iter().map(|(_, line)| line.as_str()).collect();
                panic!(
                    "no {what} within {at_most} s:
{}",
                    log.join(
                        "
"
                    )
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until so many GPUs were charted since a time.
    pub fn wait_for_gpus(&mut self, since: SystemTime, gpus: impl IntoIterator<Item = usize>) {
        let gpus: Vec<usize> = gpus.into_iter().collect();
        self.wait_for("charts of every GPU", 30, |plugin| {
            let charted = |gpu: &usize| {
                plugin.charted(
                    since,
                    &chart("nvidia_smi", &named(*gpu), "power_draw"),
                    "power_draw",
                )
            };
            gpus.iter().all(charted)
        });
    }

    /// Its exit code, once it has ended.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }

    /// How many processes it has started and not ended.
    pub fn children(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let children = |task: fs::DirEntry| {
            let children = fs::read_to_string(task.path().join("children"));
            children.unwrap_or_default().split_whitespace().count()
        };
        tasks.into_iter().flatten().flatten().map(children).sum()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream; not the last one of a process that was killed in the middle of it.
fn lines(stream: impl Read) -> impl Iterator<Item = String> {
    let mut stream = BufReader::new(stream);
    std::iter::from_fn(move || {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        line.strip_suffix('\n').map(str::to_owned)
    })
}

fn hear(stdout: impl Read + Send + 'static, said: Arc<Mutex<Said>>) {
    thread::spawn(move || {
        let (mut begun, mut labelled) = (String::new(), BTreeMap::new());
        for line in lines(stdout) {
            let mut said = said.lock().unwrap();
            if let Some(chart) = line.strip_prefix("BEGIN ") {
                chart.split(' ').next().unwrap().clone_into(&mut begun);
            } else if let Some(set) = line.strip_prefix("SET '") {
                let (dim, value) = set.split_once("' = ").unwrap();
                let key = (begun.clone(), dim.to_owned());
                let value = value.parse::<f64>().unwrap() * said.scales[&key];
                let at = SystemTime::now();
                said.points
                    .entry(key)
                    .or_default()
                    .push(Point { at, value });
            } else if let Some(dim) = line.strip_prefix("DIMENSION '") {
                let words: Vec<_> = dim.split("' ").collect();
                let numbers: Vec<_> = words[1..].join(" ").split(' ').map(str::to_owned).collect();
                let number = |at: usize| numbers[numbers.len() - at].parse::<f64>().unwrap();
                let key = (begun.clone(), words[0].to_owned());
                said.scales.insert(key, number(3) / number(2));
            } else if let Some(chart) = line.strip_prefix("CHART ") {
                chart.split(' ').next().unwrap().clone_into(&mut begun);
                let defined = said.charts.entry(begun.clone()).or_default();
                defined.obsolete = line.contains(" 'obsolete' ");
            } else if let Some(label) = line.strip_prefix("CLABEL '") {
                let (key, value) = label.split_once("' '").unwrap();
                let value = value.rsplit_once("' ").unwrap().0;
                labelled.insert(key.to_owned(), value.to_owned());
            } else if line == "CLABEL_COMMIT" {
                let defined = said.charts.entry(begun.clone()).or_default();
                defined.labels = std::mem::take(&mut labelled);
            }
        }
    });
}

fn hear_log(stderr: impl Read + Send + 'static, log: Arc<Mutex<Vec<(SystemTime, String)>>>) {
    thread::spawn(move || {
        for line in lines(stderr) {
            log.lock().unwrap().push((SystemTime::now(), line));
        }
    });
}

/// The UUID of a GPU by its number, in lower case.
pub fn named(gpu: usize) -> String {
    format!("gpu-{gpu}")
}

/// The chart of a GPU, by its UUID in lower case.
pub fn chart(kind: &str, gpu: &str, name: &str) -> String {
    format!("{kind}.gpu_{gpu}_{name}")
}

/// The chart of a GPU's power, by its number, which every reading has.
pub fn power(gpu: usize) -> String {
    chart("nvidia_smi", &named(gpu), "power_draw")
}
