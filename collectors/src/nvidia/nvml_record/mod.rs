//! `--record-nvml FILE`: what every call to a machine's NVIDIA driver answers, for so long, as text that a person
//! can read before they send it, and that the simulated library plays back. It asks, it changes nothing.

mod anonymous;
mod calls;
mod lists;
mod log;
mod raw;
mod samples;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;

use self::anonymous::Names;
use self::calls::{ALWAYS, Answer, INSTANCE, ONCE, SOMETIMES};
use self::log::Log;
use self::samples::Samples;
use super::read::explain;
use crate::config::{self, Configured, Live};

/// Between two rounds of what swings.
const EVERY: Duration = Duration::from_secs(1);
/// Rounds between two of what hardly moves, or holds up the driver.
const SOMETIMES_EVERY: u64 = 5;

/// More than any machine has.
const MOST_GPUS: u32 = 64;
const MOST_INSTANCES: u32 = 8;

/// Records for `seconds` into a new file, or to standard output where it is called `-`.
///
/// # Errors
/// When the driver does not answer at all, or the file is there already or cannot be written.
pub fn record(config: &config::Source, path: &Path, seconds: u64) -> anyhow::Result<()> {
    let mut live = Live::<super::Options>::new(config);
    let job = live.refresh().and_then(Configured::only);
    let library = job.map_or_else(
        || super::Options::default().library,
        |job| job.options.library.clone(),
    );
    let mut out: Box<dyn Write> = if path == Path::new("-") {
        Box::new(io::stdout())
    } else {
        let file = File::create_new(path);
        Box::new(
            file.with_context(|| format!("cannot make {}: choose another name", path.display()))?,
        )
    };
    let mut write = |text: &str| {
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.with_context(|| format!("cannot write {}", path.display()))
    };
    let nvml =
        super::read::load(&library)?.map_err(|error| anyhow::anyhow!(explain(&error, &library)))?;
    let length = Duration::from_secs(seconds);
    ::log::info!("recording what {library} answers for {seconds} s");
    let began = Instant::now();
    let mut recorder = Recorder::new(&nvml, since_1970_us(), move || began.elapsed());
    write(&log::header(length))?;
    let mut next = Duration::ZERO;
    for round in 0_u64.. {
        recorder.round(round.is_multiple_of(SOMETIMES_EVERY));
        // At once, so that what was answered is there if the driver hangs at the next call.
        write(&recorder.log.take())?;
        next += EVERY;
        if next > length || recorder.log.is_full() {
            break;
        }
        recorder.wait(next.saturating_sub(began.elapsed()));
    }
    ::log::info!(
        "{}: {} answers of {} GPUs; look through it before you send it: UUIDs, serial numbers and pids are \
         replaced, names of processes and users were not asked for",
        path.display(),
        recorder.log.len(),
        recorder.gpus.len()
    );
    Ok(())
}

/// A recording that is under way.
pub struct Recorder<'a> {
    nvml: &'a Nvml,
    /// The raw handles of GPUs by the name they have in the record, and of instances (`0.1`).
    gpus: Vec<(String, raw::Handle)>,
    events: Option<nvml_wrapper::EventSet<'a>>,
    names: Names,
    samples: Samples,
    log: Log,
    first: bool,
}

impl<'a> Recorder<'a> {
    /// Asks the driver what it is. `began_us` is the beginning in Unix microseconds, `elapsed` the time since.
    pub fn new(nvml: &'a Nvml, began_us: u64, elapsed: impl Fn() -> Duration + 'static) -> Self {
        let mut recorder = Self {
            nvml,
            gpus: vec![],
            events: None,
            names: Names::default(),
            samples: Samples::new(began_us),
            log: Log::new(elapsed),
            first: true,
        };
        recorder.system();
        recorder.events = recorder.listen();
        recorder
    }

    /// Reads everything that is due once.
    pub fn round(&mut self, sometimes: bool) {
        let lib = self.nvml.lib();
        for (name, handle) in &self.gpus {
            let mut asked: Vec<&[calls::Call]> = vec![ALWAYS];
            if sometimes {
                asked.push(SOMETIMES);
            }
            if self.first {
                asked.push(ONCE);
            }
            for call in asked.into_iter().flatten() {
                call.each(lib, *handle, |arguments, answer| {
                    let answer = self.names.replace(call.name, answer);
                    self.log.add(name, call.name, arguments, answer);
                });
            }
            let mut add = |call: &str, arguments: &[u64], answer: Answer| {
                self.log.add(name, call, arguments, answer);
            };
            lists::fields(lib, *handle, sometimes, &mut add);
            self.samples
                .read(lib, name, *handle, &mut self.names, &mut add);
            if sometimes {
                lists::processes(lib, *handle, &mut self.names, &mut add);
                for (part, handle) in raw::instances(lib, *handle, MOST_INSTANCES) {
                    let part_name = format!("{name}.{part}");
                    for call in INSTANCE {
                        call.each(lib, handle, |arguments, answer| {
                            let answer = self.names.replace(call.name, answer);
                            self.log.add(&part_name, call.name, arguments, answer);
                        });
                    }
                }
            }
        }
        for (name, handle) in &self.gpus {
            let log = &mut self.log;
            self.samples
                .activity(self.nvml, name, *handle, |call, arguments, answer| {
                    log.add(name, call, arguments, answer);
                });
        }
        self.first = false;
    }

    /// Waits, and notes the errors that happen meanwhile.
    pub fn wait(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let Some(set) = &self.events else {
                thread::sleep(left);
                return;
            };
            let Ok(event) = set.wait(left.as_millis() as u32) else {
                continue;
            };
            // SAFETY: compared only.
            let handle = unsafe { event.device.handle() };
            let whose = self.gpus.iter().find(|(_, known)| known.0 == handle);
            if let (Some((name, _)), Some(XidError::Value(xid))) = (whose, event.event_data) {
                let answer = Answer::of_number(xid);
                self.log.add_event(name, "nvmlEventSetWait_v2", &answer);
            }
        }
    }

    /// The driver, and its GPUs.
    fn system(&mut self) {
        let lib = self.nvml.lib();
        for call in calls::SYSTEM {
            call.each_of_system(lib, |answer| self.log.add("-", call.name, &[], answer));
        }
        let count = self.nvml.device_count().unwrap_or(0).min(MOST_GPUS);
        for index in 0..count {
            match self.nvml.device_by_index(index) {
                Ok(device) => {
                    // SAFETY: used while the library is initialised, because it is borrowed.
                    let handle = raw::Handle(unsafe { device.handle() });
                    self.gpus.push((index.to_string(), handle));
                }
                Err(error) => ::log::warn!("GPU {index} is not recorded: {error}"),
            }
        }
    }

    /// A set that every GPU that can tells its errors to.
    fn listen(&self) -> Option<nvml_wrapper::EventSet<'a>> {
        let mut set = self.nvml.create_event_set().ok()?;
        for (_, handle) in &self.gpus {
            // SAFETY: the handle came from this library, which is initialised because it is borrowed.
            let device = unsafe { nvml_wrapper::Device::new(handle.0, self.nvml) };
            set = match device.register_events(EventTypes::CRITICAL_XID_ERROR, set) {
                Ok(set) => set,
                Err(_) => return None,
            };
        }
        Some(set)
    }
}

/// As NVML stamps samples.
fn since_1970_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_micros() as u64
}

#[cfg(test)]
mod tests;
