//! The command line, and the configuration it becomes.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

use crate::replay::{GaugeRange, Gauges, Wave};
use crate::server::NOT_YET;

#[derive(Parser)]
#[command(
    version,
    about = "A stand-in for an SGLang server, replaying a capture"
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Serve a capture in the foreground, with the processes of a real server.
    Run(Box<RunArgs>),
    /// Send one command to a control socket and print the reply.
    Control {
        /// The socket given to `run --control`.
        socket: PathBuf,
        /// The command and its argument.
        #[arg(required = true)]
        command: Vec<String>,
    },
}

#[derive(Args, Clone)]
pub struct RunArgs {
    /// Folder with metrics_{idle,load_t0,load_t10,after}.txt of one server.
    #[arg(long)]
    pub capture: PathBuf,
    /// Port to listen on; 0 takes a free one.
    #[arg(long)]
    pub port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// How many times as fast as captured the counters grow.
    #[arg(long, default_value_t = 1.0, value_parser = parse_growth)]
    pub growth: f64,
    /// Whether gauges keep the t0 value or swing between t0 and t10.
    #[arg(long, default_value = "hold")]
    pub gauges: Gauges,
    /// The course of the load over time.
    #[arg(long, default_value = "flat")]
    pub load: Wave,
    /// Let integer counters show their fractions, so that rates are exact over any interval.
    #[arg(long)]
    pub unrounded: bool,
    /// The two ends between which a gauge swings, or its one value (repeatable).
    #[arg(long = "gauge", value_name = "NAME=LOW[:HIGH]")]
    pub gauge_ranges: Vec<GaugeRange>,
    /// Model in argv, /v1/models and the label `model_name`; by default the capture's.
    #[arg(long)]
    pub model: Option<String>,
    /// Tensor-parallel size: the schedulers of each replica.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub tp: u16,
    /// Data-parallel size; from 2 on a controller is the schedulers' parent.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub dp: u16,
    /// Behave as a server started without `--enable-metrics`.
    #[arg(long)]
    pub no_metrics: bool,
    /// Do not listen yet, as while the weights are loaded; the command `listen` ends it. Needs a port.
    #[arg(long)]
    pub loading: bool,
    /// What requests other than for /metrics must show as a bearer's key.
    #[arg(long)]
    pub api_key: Option<String>,
    /// Write the capture's server.log up to this percentage to standard error; then, every 2 s, the last line
    /// that each rank wrote of each kind.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub log: Option<u8>,
    /// CPU burnt by each scheduler, in percent of one core.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub scheduler_cpu: u8,
    /// Unix socket for commands.
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// Where to write the pid of this process, once the server listens.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// The server's command line instead of the built one; words may be quoted, `{port}` is replaced.
    #[arg(long)]
    pub cmdline: Option<String>,
    /// End when the thread that started this process ends.
    #[arg(long)]
    pub die_with_parent: bool,
}

/// What the server process needs to know; handed over as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerConfig {
    pub capture: PathBuf,
    pub model: Option<String>,
    pub growth: f64,
    pub gauges: Gauges,
    pub load: Wave,
    pub unrounded: bool,
    pub gauge_ranges: Vec<GaugeRange>,
    pub metrics: bool,
    /// Counters start at the capture's t0 or, after a restart, at zero.
    pub from_zero: bool,
    pub tp: u16,
    pub dp: u16,
    pub scheduler_cpu: u8,
    pub host: IpAddr,
    pub port: u16,
    /// Does not listen before it is told to.
    pub loading: bool,
    pub api_key: Option<String>,
    /// Percentage of the capture's log that is written.
    pub log: Option<u8>,
    /// Inherited listening socket.
    pub listener_fd: i32,
}

impl ServerConfig {
    /// The configuration of the first server `run` starts.
    pub fn new(args: &RunArgs, capture: PathBuf) -> Self {
        Self {
            capture,
            model: args.model.clone(),
            growth: args.growth,
            gauges: args.gauges,
            load: args.load,
            unrounded: args.unrounded,
            gauge_ranges: args.gauge_ranges.clone(),
            metrics: !args.no_metrics,
            from_zero: false,
            tp: args.tp,
            dp: args.dp,
            scheduler_cpu: args.scheduler_cpu,
            host: args.host,
            port: args.port,
            log: args.log,
            loading: args.loading,
            api_key: args.api_key.clone(),
            listener_fd: NOT_YET,
        }
    }
}

/// A growth factor: finite, not negative, and small enough to keep counters exact in an f64.
pub fn parse_growth(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(growth) if (0.0..=1e6).contains(&growth) => Ok(growth),
        _ => Err(format!(
            "`{text}` is not a growth: give a number from 0 to 1000000"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_growth_is_finite_and_not_negative() {
        assert_eq!(parse_growth("2.5"), Ok(2.5));
        for bad in ["-1", "NaN", "inf", "1e7", "fast"] {
            assert!(parse_growth(bad).is_err(), "{bad}");
        }
    }
}
