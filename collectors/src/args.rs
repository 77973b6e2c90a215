//! The command line, go.d's where go.d has it.

use std::path::PathBuf;

use clap::Parser;

/// Charts NVIDIA GPUs and inference servers in Netdata. Netdata runs it by itself; by hand it prints what
/// it would tell Netdata.
#[derive(Debug, Parser)]
#[command(name = "rs.d.plugin", disable_version_flag = true)]
pub struct Args {
    /// Shortest interval in seconds, as Netdata hands it over.
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub update_every: u32,
    /// Log what is tried and why something is left out.
    #[arg(short, long)]
    pub debug: bool,
    /// Run only these modules, whatever rs.d.conf says.
    #[arg(short, long, value_name = "MODULE", value_delimiter = ',')]
    pub modules: Vec<String>,
    /// Run only the job of this name.
    #[arg(short, long, value_name = "JOB")]
    pub job: Option<String>,
    /// Read the configuration from this directory before the stock one.
    #[arg(short, long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Print one complete reading of everything found (two ticks: rates need two), then end.
    #[arg(long)]
    pub once: bool,
    /// List the modules and the jobs that each has now, then end.
    #[arg(short, long, conflicts_with_all = ["once", "check"])]
    pub list: bool,
    /// Read every configuration file, say each mistake, then end: 0 if there is none, else 1.
    #[arg(long, conflicts_with = "once")]
    pub check: bool,
    /// Tell the plugin inside the container what only a process outside can read; ends with standard input.
    #[arg(long, value_name = "SOCKET", hide = true)]
    pub host_probe: Option<PathBuf>,
    /// Read the GPUs for the plugin that started this, while a call of its own hangs; ends with standard input.
    #[arg(long, hide = true)]
    pub nvml_helper: bool,
    /// Record into a new file (or `-`) what the NVIDIA driver answers to every call, to be played back where there is
    /// no such GPU; UUIDs, serial numbers and pids are replaced.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["once", "check", "list"])]
    pub record_nvml: Option<PathBuf>,
    /// For how many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "record_nvml", value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub record_seconds: u64,
    /// Print the version.
    #[arg(short, long)]
    pub version: bool,
}
