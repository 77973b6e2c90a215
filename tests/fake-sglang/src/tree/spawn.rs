//! Starts this program anew under another title, bound to die with its parent.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio, id};

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use super::titles::{self, CONTROLLER, DETOKENIZER, RETITLED_BYTES};
use super::{ROLE_VARIABLE, Role};
use crate::cli::ServerConfig;

/// Starts the main process with `argv`; `stdin` becomes its link to the supervisor.
///
/// # Errors
/// If it cannot be started.
pub fn spawn_server(config: &ServerConfig, argv: &[String], stdin: Stdio) -> Result<Child> {
    spawn(
        &Role::Server(Box::new(config.clone())),
        argv,
        stdin,
        Stdio::inherit(),
    )
}

/// Starts the helpers of the main process, which write their reports to `reports`. Returns how many
/// processes will report.
///
/// # Errors
/// If one cannot be started.
pub fn spawn_helpers(config: &ServerConfig, reports: &io::PipeWriter) -> Result<usize> {
    let out = || -> Result<Stdio> { Ok(reports.try_clone()?.into()) };
    spawn(
        &Role::Tracker,
        &titles::tracker_argv(),
        Stdio::null(),
        out()?,
    )?;
    let schedulers = titles::scheduler_titles(config.tp, config.dp);
    let mut processes = schedulers.len() + 2;
    if config.dp > 1 {
        let role = Role::Controller {
            schedulers,
            cpu: config.scheduler_cpu,
        };
        spawn(&role, &retitled(CONTROLLER), Stdio::null(), out()?)?;
        processes += 1;
    } else {
        for title in &schedulers {
            spawn_scheduler(title, config.scheduler_cpu, out()?)?;
        }
    }
    spawn(
        &Role::Detokenizer,
        &retitled(DETOKENIZER),
        Stdio::null(),
        out()?,
    )?;
    Ok(processes)
}

/// Starts one scheduler.
///
/// # Errors
/// If it cannot be started.
pub fn spawn_scheduler(title: &str, cpu: u8, reports: Stdio) -> Result<Child> {
    let role = Role::Scheduler {
        title: title.to_owned(),
        cpu,
    };
    spawn(&role, &retitled(title), Stdio::null(), reports)
}

fn retitled(title: &str) -> Vec<String> {
    titles::retitled_argv(title, RETITLED_BYTES)
}

fn spawn(role: &Role, argv: &[String], stdin: Stdio, stdout: Stdio) -> Result<Child> {
    let title = argv.first().context("an empty command line")?;
    // The link keeps working when the file is replaced by a newer build.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(title)
        .args(&argv[1..])
        .stdin(stdin)
        .stdout(stdout);
    command.env(ROLE_VARIABLE, serde_json::to_string(role)?);
    let parent = id();
    let bind_to_parent = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the call above.
        let orphaned = u32::try_from(getppid().as_raw()) != Ok(parent);
        if orphaned {
            Err(io::Error::from(io::ErrorKind::NotFound))
        } else {
            Ok(())
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(bind_to_parent) };
    command.spawn().with_context(|| {
        let program = env::current_exe().unwrap_or_default();
        format!("starting {title} from {}", program.display())
    })
}
