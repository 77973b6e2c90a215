//! A running plugin, and all that it says.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use harness::place::Place;
use harness::wait_for;

/// How long it may take to end when its input ends.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The plugin, as the agent runs it. It ends with this.
pub struct Plugin {
    child: Child,
    input: Option<ChildStdin>,
    said: Arc<Mutex<Said>>,
    log: Arc<Mutex<String>>,
}

/// What it said on its output.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// All of it.
    pub text: String,
    /// Values by chart and dimension, oldest first; of gaps only the time is kept, by what follows.
    pub values: BTreeMap<(String, String), Vec<(Instant, i64)>>,
    /// Intervals in seconds that a chart was announced with.
    pub intervals: BTreeMap<String, Vec<u64>>,
    chart: String,
}

/// A directory with configuration: the simulated GPUs, and the files given.
pub fn configuration(place: &Place, name: &str, files: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let dir = place.dir.join(format!("plugin-{name}"));
    place.make_dir(&dir.join("rs.d"))?;
    let library = place.dist.join("simulated/libnvidia-ml.so.1");
    let nvidia = format!("library: {}\n", library.display());
    place.write(&dir.join("rs.d/nvidia.conf"), &nvidia)?;
    for (file, text) in files {
        place.write(&dir.join("rs.d").join(file), text)?;
    }
    Ok(dir)
}

/// The plugin's program.
pub fn program(place: &Place) -> PathBuf {
    place.dist.join("lib/netdata-launcher/rs.d.plugin")
}

impl Plugin {
    /// Starts it in a [`configuration`] by `command`, which ends with its program's name.
    pub fn start(mut command: Command, configuration: &Path) -> anyhow::Result<Self> {
        let mut child = command
            .arg("-d")
            .arg("1")
            .env("NETDATA_VERSION", "v2.11.0")
            .env("NETDATA_USER_CONFIG_DIR", configuration)
            .env("NETDATA_RUN_DIR", configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let (said, log) = (
            Arc::<Mutex<Said>>::default(),
            Arc::<Mutex<String>>::default(),
        );
        let (hears, notes) = (Arc::clone(&said), Arc::clone(&log));
        listen(child.stdout.take(), move |line| lock(&hears).hear(line));
        listen(child.stderr.take(), move |line| {
            let mut log = lock(&notes);
            log.push_str(line);
            log.push('\n');
        });
        Ok(Self {
            input: child.stdin.take(),
            child,
            said,
            log,
        })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Looks at what it said so far.
    pub fn said<T>(&self, look: impl FnOnce(&Said) -> T) -> T {
        look(&lock(&self.said))
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// Speaks to it as the agent does.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        writeln!(input, "{line}").context("it does not listen")
    }

    /// Waits for what `there` finds; fails with the end of its log.
    pub fn wait_for<T>(
        &self,
        what: &str,
        at_most: Duration,
        there: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        wait_for(what, at_most, there).with_context(|| {
            let log = self.log();
            let newest: Vec<_> = log.lines().rev().take(30).collect();
            format!("its log ends with {newest:#?}")
        })
    }

    /// Ends it as the agent does, by the end of its input, and waits.
    pub fn end(&mut self) -> anyhow::Result<()> {
        drop(self.input.take());
        wait_for("the plugin's end", ENDS_WITHIN, || {
            self.child.try_wait()?.context("it still runs")
        })
        .map(drop)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if self.end().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Said {
    /// The newest value of a dimension.
    pub fn newest(&self, chart: &str, dim: &str) -> Option<(Instant, i64)> {
        let key = (chart.to_owned(), dim.to_owned());
        self.values.get(&key)?.last().copied()
    }

    fn hear(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if let Some(begun) = line.strip_prefix("BEGIN ") {
            let chart = begun.split(' ').next().unwrap_or_default();
            chart.clone_into(&mut self.chart);
        } else if let Some((dim, value)) = line
            .strip_prefix("SET '")
            .and_then(|set| set.split_once("' = "))
        {
            if let Ok(value) = value.parse() {
                let key = (self.chart.clone(), dim.to_owned());
                let values = self.values.entry(key).or_default();
                values.push((Instant::now(), value));
            }
        } else if let Some(chart) = line.strip_prefix("CHART ") {
            // `type.id '' 'title' 'units' 'family' 'context' line 70300 5 …`
            let id = chart.split(' ').next().unwrap_or_default();
            let numbers = chart.split('\'').nth(10).unwrap_or_default();
            let every = numbers.split_whitespace().nth(2).map(str::parse);
            if let Some(Ok(every)) = every {
                self.intervals.entry(id.to_owned()).or_default().push(every);
            }
        }
    }
}

fn listen(stream: Option<impl Read + Send + 'static>, mut hear: impl FnMut(&str) + Send + 'static) {
    let Some(stream) = stream else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            hear(&line);
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
