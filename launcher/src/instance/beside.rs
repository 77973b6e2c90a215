//! What runs beside the container, in its session: the watch, which keeps the host probe running, the log short and
//! the disk from filling. A process can only be born into a session, so the launcher starts itself as the
//! session's first process (`session`), which starts the watch (`watch`) and then becomes the runtime, under the
//! pid that was recorded.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Pid, getppid};

use crate::cli::{SessionArgs, WatchArgs};
use crate::log_files;
use crate::paths::Paths;
use crate::pause::Guard;
use crate::process::Proc;

/// The launcher's own program, also after its file was replaced.
const SELF: &str = "/proc/self/exe";
/// How often it is looked whether the runtime and the probe are there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Pause before a probe that ended is started again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A probe that ran for this long did well: the next pause is the first one again.
const RAN_WELL: Duration = Duration::from_secs(60);
/// For a probe whose standard input has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Tells the watch whose end it waits for.
const RUNTIME_PID: &str = "RS_D_RUNTIME_PID";

/// Where the plugin looks for the probe, in its run directory.
const SOCKET: &str = "rs.d-host-probe.sock";

/// The watch of this home's instance.
pub fn watch_args(plugin: &Path, paths: &Paths) -> WatchArgs {
    WatchArgs {
        plugin: plugin.to_owned(),
        socket: paths.state_dir("run").join(SOCKET),
        log: paths.log_file(),
        history: paths.state_dir("cache"),
    }
}

/// What a probe says to whoever connects to it, within a time.
pub fn greeting(run: &Path, within: Duration) -> Result<String> {
    /// It begins so in every version.
    const NAME: &str = "rs.d-host-probe";
    // The name of a socket has at most 107 bytes; that of its directory may have more.
    let dir = File::open(run).with_context(|| format!("opening {}", run.display()))?;
    let name = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    let stream = UnixStream::connect(name)?;
    stream.set_read_timeout(Some(within))?;
    let mut line = String::new();
    BufReader::new(stream.take(200)).read_line(&mut line)?;
    ensure!(line.starts_with(NAME), "something else answers there");
    Ok(line.trim_end().to_owned())
}

/// The command that starts `runtime` with a watch beside it. Environment and arguments are the runtime's.
pub fn session(runtime: &Command, watch: &WatchArgs) -> Command {
    let mut command = Command::new(SELF);
    command
        .arg0("launcher")
        .arg("session")
        .args(arguments(watch))
        .arg("--")
        .arg(runtime.get_program())
        .args(runtime.get_args())
        .env_clear()
        .stdin(Stdio::null());
    for (name, value) in runtime.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

fn arguments(watch: &WatchArgs) -> [&std::ffi::OsStr; 8] {
    [
        "--plugin".as_ref(),
        watch.plugin.as_os_str(),
        "--socket".as_ref(),
        watch.socket.as_os_str(),
        "--log".as_ref(),
        watch.log.as_os_str(),
        "--history".as_ref(),
        watch.history.as_os_str(),
    ]
}

/// Starts the watch, then becomes the runtime. Returns only with a failure.
///
/// # Errors
/// The runtime cannot be started; without a watch it is started all the same.
pub fn become_runtime(args: &SessionArgs) -> Result<()> {
    let watch = Command::new(SELF)
        .arg0("launcher")
        .arg("watch")
        // The runtime keeps this pid; a parent that failed to become it is another process's child's parent.
        .env(RUNTIME_PID, std::process::id().to_string())
        .args(arguments(&args.watch))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    if let Err(error) = watch {
        tell!("the watch over host probe, log and disk is not started: {error}");
    }
    let (program, rest) = args.argv.split_first().context("no runtime is named")?;
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("starting {}", Path::new(program).display()))
}

/// Does its three chores as long as the runtime lives.
pub fn watch(args: &WatchArgs) -> Result<()> {
    let named = std::env::var(RUNTIME_PID).ok();
    let named = named.and_then(|pid| pid.parse().ok()).map(Pid::from_raw);
    let runtime = named.unwrap_or_else(getppid);
    let probed = args.clone();
    let probe = thread::spawn(move || keep_probe(&probed, runtime));
    // Below /var/tmp files that nobody touched for a month are removed, but not of a directory that is locked.
    let state = args.history.parent().map(File::open);
    let _lock = state
        .and_then(Result::ok)
        .map(|dir| Flock::lock(dir, FlockArg::LockSharedNonblock));
    let mut guard = Guard::new(Proc::system(), runtime.as_raw(), &args.history);
    while lives(runtime) {
        log_files::shorten(&args.log, log_files::LIMIT_BYTES);
        guard.look();
        thread::sleep(LOOK_EVERY);
    }
    // It notices the same end by itself.
    let _ = probe.join();
    Ok(())
}

/// Keeps a probe running.
fn keep_probe(args: &WatchArgs, runtime: Pid) {
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    while lives(runtime) {
        let began = Instant::now();
        let outcome = start(args).and_then(|mut probe| attend(&mut probe, runtime));
        let ended = match outcome {
            Ok(None) => return,
            Ok(Some(status)) => how(status),
            Err(error) => format!("cannot be started from {}: {error}", args.plugin.display()),
        };
        if began.elapsed() >= RAN_WELL {
            pause = FIRST_PAUSE;
        }
        // A cause that stays is said once.
        if told != ended {
            tell!("the host probe {ended}; it is started again");
            told = ended;
        }
        sleep(pause, runtime);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The pipe ends with this process, and the probe with the pipe.
fn start(args: &WatchArgs) -> io::Result<Child> {
    Command::new(&args.plugin)
        .arg0("rs.d.plugin")
        .arg("--host-probe")
        .arg(&args.socket)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
}

/// Waits for the end of the probe, or ends it after the runtime: then there is no status.
fn attend(probe: &mut Child, runtime: Pid) -> io::Result<Option<ExitStatus>> {
    while lives(runtime) {
        if let Some(status) = probe.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK_EVERY);
    }
    drop(probe.stdin.take());
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && probe.try_wait()?.is_none() {
        thread::sleep(LOOK_EVERY / 10);
    }
    probe.kill()?;
    probe.wait()?;
    Ok(None)
}

/// An orphan gets another parent.
fn lives(runtime: Pid) -> bool {
    getppid() == runtime
}

fn sleep(pause: Duration, runtime: Pid) {
    let until = Instant::now() + pause;
    while Instant::now() < until && lives(runtime) {
        thread::sleep(LOOK_EVERY.min(pause));
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_keeps_its_arguments_and_its_environment_alone() {
        let mut runtime = Command::new("/bin/apptainer");
        runtime.args(["exec", "--", "x"]).env_clear().env("A", "b");
        let watch = WatchArgs {
            plugin: "/p".into(),
            socket: "/s".into(),
            log: "/l".into(),
            history: "/h".into(),
        };
        let command = session(&runtime, &watch);
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_str().unwrap())
            .collect();
        let expected =
            "session --plugin /p --socket /s --log /l --history /h -- /bin/apptainer exec -- x";
        assert_eq!(words.join(" "), expected);
        let env: Vec<_> = command.get_envs().collect();
        assert_eq!(env, [("A".as_ref(), Some("b".as_ref()))]);
    }

    #[test]
    fn a_probe_is_known_by_its_greeting_and_anything_else_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let within = Duration::from_secs(5);
        assert!(greeting(&deep, within).is_err());
        let link = dir.path().join("d");
        std::os::unix::fs::symlink(&deep, &link).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(link.join(SOCKET)).unwrap();
        let server = thread::spawn(move || {
            for said in ["rs.d-host-probe 1\n", "HTTP/1.1 400\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                io::Write::write_all(&mut stream, said.as_bytes()).unwrap();
            }
        });
        assert_eq!(greeting(&deep, within).unwrap(), "rs.d-host-probe 1");
        assert!(greeting(&deep, within).is_err());
        server.join().unwrap();
    }

    #[test]
    fn a_probe_that_ends_is_told_from_a_runtime_that_does() {
        let probe = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).stdin(Stdio::piped());
            command.spawn().unwrap()
        };
        let ended = attend(&mut probe("exit 3"), getppid()).unwrap().unwrap();
        assert_eq!(how(ended), "ended with status 3");
        let killed = attend(&mut probe("kill -9 $$"), getppid())
            .unwrap()
            .unwrap();
        assert_eq!(how(killed), "was ended by signal 9");
        // Not our parent: as after its end. What reads its input ends by itself, the other is killed.
        let gone = Pid::from_raw(-1);
        assert_eq!(attend(&mut probe("cat"), gone).unwrap(), None);
        assert_eq!(
            attend(&mut probe("exec sleep 600 <&-"), gone).unwrap(),
            None
        );
    }
}
