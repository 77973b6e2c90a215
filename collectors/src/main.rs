//! `rs.d.plugin`: charts GPUs and inference servers in Netdata.

mod args;
mod config;
#[cfg(test)]
mod documented;
mod engine;
#[cfg(test)]
mod fixtures;
mod gpu_usage;
mod histogram;
mod host_probe;
mod http;
mod modules;
mod nvidia;
mod processes;
mod prometheus;
mod rate;
mod servers;
mod sglang;

use std::io::{IsTerminal, Read, stderr, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use log::LevelFilter;
use netdata_plugin::env::Agent;
use netdata_plugin::output::Output;
use netdata_plugin::supervisor::{self, OpenModule, Options};

use args::Args;
use modules::{Context, MODULES};

/// The name under which Netdata knows the plugin.
const PLUGIN: &str = "rs.d";
/// Told to the agent when there is nothing to do; it then does not start the plugin again.
const DISABLE: &[u8] = b"DISABLE\n";

fn main() -> ExitCode {
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
    let outcome = match &args.host_probe {
        Some(socket) => host_probe::serve(socket),
        None => run(&args, agent),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, agent: Agent) -> anyhow::Result<()> {
    let output = Output::new(stdout());
    let config = config::Dirs {
        user: args
            .config_dir
            .clone()
            .or_else(|| agent.user_config_dir.clone()),
        stock: agent.stock_config_dir.clone(),
    };
    let context = Context {
        proc_root: host_proc(agent.host_prefix.as_deref()),
        gpu_usage: Arc::default(),
        host_probe: Arc::new(host_probe::HostProbe::new(
            std::env::var_os("NETDATA_RUN_DIR")
                .as_deref()
                .map(Path::new),
        )),
        update_every: args.update_every,
        config,
    };
    log::info!(
        "version {}, reading {}",
        env!("CARGO_PKG_VERSION"),
        context.proc_root.display()
    );
    let modules = open_modules(args, &context)?;
    if modules.is_empty() {
        log::info!("no module is to run: ending");
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
            functions: vec![],
            once: args.once,
        },
        modules,
    )
}

/// Opens every module that is switched on. A mistake in one module's file costs that module alone.
fn open_modules(args: &Args, context: &Context) -> anyhow::Result<Vec<OpenModule>> {
    for name in &args.modules {
        if !MODULES.iter().any(|module| module.name == name) {
            let known: Vec<_> = MODULES.iter().map(|module| module.name).collect();
            anyhow::bail!(
                "there is no module {name:?}; there are {}",
                known.join(", ")
            );
        }
    }
    let plugin = context
        .config
        .read::<config::Plugin>("rs.d.conf")
        .unwrap_or_else(|error| {
            log::error!("{error:#}; until it is corrected every module runs");
            config::Plugin::default()
        });
    let wanted = MODULES.iter().filter(|module| {
        if args.modules.is_empty() {
            plugin.runs(module.name)
        } else {
            args.modules.iter().any(|name| name == module.name)
        }
    });
    Ok(wanted
        .filter_map(|module| match (module.open)(context) {
            Ok(discover) => Some(OpenModule::new(module.name, discover)),
            Err(error) => {
                log::error!("module {} does not run: {error:#}", module.name);
                None
            }
        })
        .collect())
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
