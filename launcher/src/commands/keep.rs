//! `start --keep`: stays, and starts Netdata again after a crash, with pauses that grow: for systemd and cron. A file
//! says who keeps it; `stop` removes it, and that is the end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Scene, restart, start, stop};
use crate::cli::StartFlags;
use crate::files;
use crate::instance::State;
use crate::interrupt;
use crate::settings::Invalid;

/// How soon the end of Netdata, or a `stop`, is noticed.
const POLL: Duration = Duration::from_millis(500);
/// Before the first new start; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// After this long the next crash is a first one again.
const RAN_WELL: Duration = Duration::from_secs(600);

/// At boot nobody says again what was said at the last start: that it is closed to other machines, for one.
pub(super) fn run(scene: &Scene, given: &StartFlags) -> Result<ExitCode> {
    let keeper = Keeper::begin(scene)?;
    let mut pauses = Pauses::new(FIRST_PAUSE);
    loop {
        let began = Instant::now();
        // Of the last start, which may have been a `restart` meanwhile.
        let flags = given.clone().or(restart::remembered(scene));
        let failed = match start::run(scene, &flags) {
            Ok(_) => {
                keeper.note(None)?;
                match attend(scene, &keeper)? {
                    End::Wanted => return Ok(ExitCode::SUCCESS),
                    End::Crash => "Netdata has ended by itself: launcher logs".to_owned(),
                }
            }
            // These stay as they are however often it is tried.
            Err(error) if interrupt::is_set() || error.is::<Invalid>() => {
                keeper.end();
                return Err(error);
            }
            Err(error) => format!("{error:#}"),
        };
        let pause = pauses.next(began.elapsed());
        tell!("error: {failed}");
        tell!("starting it again in {} s", pause.as_secs());
        keeper.note(Some(&failed))?;
        if !sleep(pause, &keeper) {
            return stopped(scene, &keeper);
        }
    }
}

/// Pauses that grow as long as nothing runs well.
struct Pauses {
    first: Duration,
    next: Duration,
}

impl Pauses {
    fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// The pause after something that ran this long.
    fn next(&mut self, ran: Duration) -> Duration {
        let pause = if ran >= RAN_WELL {
            self.first
        } else {
            self.next
        };
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// How a running Netdata came to its end.
enum End {
    /// Somebody stopped it, or keeps it instead.
    Wanted,
    /// Nobody did.
    Crash,
}

/// Waits for the end of what runs, whoever started it.
fn attend(scene: &Scene, keeper: &Keeper) -> Result<End> {
    loop {
        if interrupt::is_set() {
            stopped(scene, keeper)?;
            return Ok(End::Wanted);
        }
        if matches!(scene.instance.state()?, State::Running(_)) {
            if keeper.is_replaced() {
                return Ok(End::Wanted);
            }
            thread::sleep(POLL);
            continue;
        }
        // `stop`, `restart` and `update` hold the home until they are done.
        let Some(_lock) = scene.settled("start")? else {
            return Ok(End::Wanted);
        };
        match scene.instance.state()? {
            State::Running(_) => {}
            _ if !keeper.is_wanted() => return Ok(End::Wanted),
            _ => {
                tell!("{}", stop::end(scene)?);
                return Ok(End::Crash);
            }
        }
    }
}

/// After an interrupt: ends Netdata, too. After a `stop` there is nothing to end.
fn stopped(scene: &Scene, keeper: &Keeper) -> Result<ExitCode> {
    if interrupt::is_set() {
        interrupt::clear();
        keeper.end();
        let _lock = scene.take("stop")?;
        tell!("{}", stop::end(scene)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// False where it is not wanted any longer.
fn sleep(pause: Duration, keeper: &Keeper) -> bool {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        if interrupt::is_set() || !keeper.is_wanted() {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Who keeps this home's Netdata, by a file with its pid. What went wrong last is in another one, so that nothing but
/// its beginning ever writes the first: `stop` removes it for good.
struct Keeper {
    path: PathBuf,
    trouble: PathBuf,
    pid: String,
}

fn file(scene: &Scene) -> PathBuf {
    scene.paths.generated("kept-by")
}

fn trouble_file(scene: &Scene) -> PathBuf {
    scene.paths.generated("kept-trouble")
}

impl Keeper {
    fn begin(scene: &Scene) -> Result<Self> {
        scene.paths.create()?;
        interrupt::catch();
        let keeper = Self {
            path: file(scene),
            trouble: trouble_file(scene),
            pid: std::process::id().to_string(),
        };
        files::write_private(&keeper.path, format!("{}\n", keeper.pid).as_bytes())?;
        keeper.note(None)?;
        Ok(keeper)
    }

    /// What went wrong last; None once it runs.
    fn note(&self, failed: Option<&str>) -> Result<()> {
        match failed {
            Some(failed) => files::write_private(&self.trouble, failed.as_bytes()),
            None => remove(&self.trouble),
        }
    }

    /// Whether nobody has said `stop`, and nobody else keeps it.
    fn is_wanted(&self) -> bool {
        self.keeper().is_some_and(|pid| pid == self.pid)
    }

    fn is_replaced(&self) -> bool {
        self.keeper().is_some_and(|pid| pid != self.pid)
    }

    fn keeper(&self) -> Option<String> {
        let text = fs::read_to_string(&self.path).ok()?;
        text.lines().next().map(str::to_owned)
    }

    fn end(&self) {
        if self.is_wanted() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Ends the keeping; what runs is left alone.
pub(super) fn forget(scene: &Scene) -> Result<()> {
    remove(&file(scene))
}

/// A missing one is removed already.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Why it does not run although somebody keeps it: what went wrong last, on one line.
pub(super) fn trouble(scene: &Scene) -> Option<String> {
    let pid = fs::read_to_string(file(scene)).ok()?;
    scene.proc.get(pid.trim().parse().ok()?)?;
    let failed = fs::read_to_string(trouble_file(scene)).ok()?;
    let failed = failed.lines().next()?.trim();
    let plain: String = failed.chars().filter(|c| !c.is_control()).collect();
    (!plain.is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes_and_begin_anew_after_a_good_run() {
        let mut pauses = Pauses::new(FIRST_PAUSE);
        let mut after = |ran| pauses.next(Duration::from_secs(ran)).as_secs();
        let short: Vec<u64> = (0..8).map(|_| after(1)).collect();
        assert_eq!(short, [10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!([after(601), after(1)], [10, 20]);
    }
}
