//! `rs.d.plugin`: charts GPUs and inference servers in Netdata.

// With libFuzzer's main ours is unused, and so is what only it uses.
#![cfg_attr(fuzzing, no_main)]
#![cfg_attr(fuzzing, allow(dead_code, unused_imports))]

#[cfg(feature = "count-allocations")]
mod allocations;
#[cfg(test)]
mod apps_groups;
mod args;
mod check;
mod config;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod documented;
#[cfg(test)]
mod documented_alerts;
mod engine;
#[cfg(test)]
mod fixtures;
mod functions;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod gpu_usage;
mod histogram;
mod host_probe;
mod http;
mod inference_status;
mod list;
mod modules;
mod nvidia;
mod processes;
mod prometheus;
mod prometheus_job;
mod rate;
mod servers;
mod sglang;
#[cfg(test)]
mod soak;
mod switched;

use std::io::{IsTerminal, Read, stderr, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser as _;
use log::LevelFilter;
use netdata_plugin::env::Agent;
use netdata_plugin::output::Output;
use netdata_plugin::supervisor::{self, OpenModule, Options};

use args::Args;
use config::Switches;
use modules::{Context, MODULES};
use switched::Switched;

/// The name under which Netdata knows the plugin.
const PLUGIN: &str = "rs.d";
/// Told to the agent when there is nothing to do; it then does not start the plugin again.
const DISABLE: &[u8] = b"DISABLE\n";

/// Lets threads share the allocator's arena. Each job has a thread, and an arena of its own would keep what
/// its largest page took; what the start took and gave back serves them all. A long page has a mapping of its own,
/// which ends with it: by itself the allocator would put the next one of that size into an arena, where it stays.
#[cfg(target_env = "gnu")]
fn share_memory_among_threads() {
    const ARENAS: i32 = 1;
    const MAPPED_FROM_BYTES: i32 = 256 * 1024;
    // SAFETY: they set numbers of the allocator's; no other thread exists yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
    }
}

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    share_memory_among_threads();
    let args = Args::parse();
    if args.version {
        println!("rs.d.plugin {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let agent = Agent::read(|name| std::env::var(name).ok());
    let level = netdata_plugin::log::level_from_netdata(agent.log_level.as_deref());
    let level = if args.debug {
        LevelFilter::Debug
    } else {
        level
    };
    netdata_plugin::log::init(PLUGIN, level, !agent.present && stderr().is_terminal());
    let config = config::Source {
        user: args
            .config_dir
            .clone()
            .or_else(|| agent.user_config_dir.clone()),
        stock: agent.stock_config_dir.clone(),
        update_every: args.update_every,
    };
    if args.check {
        let (text, in_order) = check::check(&config);
        print!("{text}");
        return ExitCode::from(u8::from(!in_order));
    }
    let outcome = match &args.host_probe {
        Some(socket) => host_probe::serve(socket),
        None if args.nvml_helper => nvidia::helper::serve(),
        None if args.record_nvml.is_some() => record_nvml(&args, &config),
        None => run(&args, agent, config),
    };
    #[cfg(feature = "count-allocations")]
    log::info!("allocations: {}", allocations::count());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn record_nvml(args: &Args, config: &config::Source) -> anyhow::Result<()> {
    match &args.record_nvml {
        Some(path) => nvidia::nvml_record::record(config, path, args.record_seconds),
        None => Ok(()),
    }
}

fn run(args: &Args, agent: Agent, config: config::Source) -> anyhow::Result<()> {
    let output = Output::new(stdout());
    known_modules(&args.modules)?;
    let proc_root = host_proc(agent.host_prefix.as_deref());
    let context = Context {
        census: Arc::new(engine::Census::new(&proc_root)),
        proc_root,
        gpu_usage: Arc::default(),
        host_probe: Arc::new(host_probe::HostProbe::of_the_agent()),
        inference: Arc::default(),
        config,
    };
    if args.list {
        output.write(list::list(&context, &args.modules, args.job.as_deref()).as_bytes());
        return Ok(());
    }
    log::info!(
        "version {}, reading {}",
        env!("CARGO_PKG_VERSION"),
        context.proc_root.display()
    );
    let modules = open_modules(args, &context);
    if modules.is_empty() {
        log::info!("rs.d.conf switches every module off: ending");
        output.write(DISABLE);
        return Ok(());
    }
    let input = agent
        .present
        .then(|| Box::new(stdin()) as Box<dyn Read + Send>);
    supervisor::run(
        Options {
            plugin: PLUGIN,
            agent,
            output,
            input,
            functions: functions::open(&context),
            once: args.once,
        },
        modules,
    )
}

/// Every module that may run: those asked for, or those that rs.d.conf switches on now or later. None if it
/// switches all of them off.
fn open_modules(args: &Args, context: &Context) -> Vec<OpenModule> {
    let known: Vec<&'static str> = MODULES.iter().map(|module| module.name).collect();
    let switches = args.modules.is_empty().then(|| {
        let switches = Switches::new(&context.config, known.clone());
        Arc::new(Mutex::new(switches))
    });
    if let Some(switches) = &switches {
        let mut switches = switches.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|module| switches.runs(module)) {
            return vec![];
        }
    }
    let wanted = MODULES
        .iter()
        .filter(|module| switches.is_some() || args.modules.iter().any(|name| name == module.name));
    wanted
        .map(|module| {
            let switched = Switched::new(module, context, switches.as_ref(), args.job.as_deref());
            OpenModule::new(module.name, Box::new(switched))
        })
        .collect()
}

/// Refuses a module asked for that there is not.
fn known_modules(asked: &[String]) -> anyhow::Result<()> {
    let known: Vec<&str> = MODULES.iter().map(|module| module.name).collect();
    match asked.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => anyhow::bail!(
            "there is no module {name:?}; there are {}",
            known.join(", ")
        ),
    }
}

/// The /proc that shows the host's processes. Rootless Apptainer shares the host's process namespace, so
/// the container's own does where the agent found no prefix.
fn host_proc(prefix: Option<&Path>) -> PathBuf {
    let own = PathBuf::from("/proc");
    let Some(prefix) = prefix else { return own };
    let hosts = prefix.join("proc");
    if hosts.join("1/stat").exists() {
        hosts
    } else {
        own
    }
}
