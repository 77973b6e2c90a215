//! The command line, as types.

mod notify;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

pub use notify::{Channel, DeliverArgs, NotifyCommand, NotifySetArgs};

/// Netdata without root: runs the Netdata image in Apptainer or Singularity, with the rs.d plugin
/// for GPUs and inference servers.
#[derive(Debug, Parser)]
#[command(
    name = "launcher",
    version,
    after_help = "Exit status: 0 done (status: running), 1 failed (status: not running), 2 wrong usage.\n\
Every flag of `restart` can be set as LAUNCHER_<NAME> in the environment or in <home>/.env (--bind as LAUNCHER_BINDS)."
)]
pub struct Cli {
    /// Directory of the image, state and logs [LAUNCHER_HOME; $XDG_DATA_HOME/netdata-launcher]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// File with settings [LAUNCHER_ENV_FILE; <home>/.env]
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get the image, or a newer one of the same name
    Pull(PullArgs),
    /// Start Netdata, getting the image first if there is none
    Start(StartArgs),
    /// Stop Netdata and everything it started
    Stop,
    /// Stop, then start with the flags of the last start, unless given anew
    Restart(StartFlags),
    /// Get the newest image of the same source and restart what runs on the old one
    Update(PullArgs),
    /// Open a shell in the container, to look around
    Shell,
    /// Run a command in the container: launcher exec -- COMMAND …
    Exec(ExecArgs),
    /// Show whether it runs, where its dashboard is and what it charts
    Status(StatusArgs),
    /// Show what Netdata and its plugins printed
    Logs(LogsArgs),
    /// Show every setting with its value and where it comes from
    Config(JsonFlag),
    /// Look for what keeps Netdata or its charts from working, and say what to do
    Doctor(DoctorArgs),
    /// Connect to Netdata Cloud with a token from .env, a file or standard input
    Claim(ClaimArgs),
    /// Send what is charted to another Netdata, or take in what others send
    Stream(StreamArgs),
    /// Say where alerts are told: ntfy, Slack, Teams or mail
    Notify {
        /// What to do; without it, shows what is set
        #[command(subcommand)]
        verb: Option<NotifyCommand>,
    },
    /// Keep Netdata running over logouts and reboots
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Open the dashboard in a browser, or say how to reach it
    Open,
    /// Remove downloads, leftovers of pulls and old logs; what runs is left alone
    Clean(CleanArgs),
    /// Stop Netdata and remove all that the launcher made
    Uninstall(UninstallArgs),
    /// Print a completion script: launcher completions bash
    Completions(CompletionsArgs),
    /// Write the manual pages into a directory
    Man(ManArgs),
    /// Start the watch, then become the runtime: the first process of an instance
    #[command(hide = true)]
    Session(SessionArgs),
    /// Keep the host probe running, the log short and the disk from filling, as long as the runtime lives
    #[command(hide = true)]
    Watch(WatchArgs),
    /// Tell one alert, which the environment describes: Netdata's script calls it in the container
    #[command(hide = true)]
    Deliver(DeliverArgs),
}

/// Arguments of `session`.
#[derive(Debug, Args)]
pub struct SessionArgs {
    /// The watch beside it
    #[command(flatten)]
    pub watch: WatchArgs,
    /// The runtime and its arguments
    #[arg(last = true, required = true)]
    pub argv: Vec<OsString>,
}

/// Arguments of `watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// The plugin's executable, which is the probe's too
    #[arg(long, value_name = "FILE")]
    pub plugin: PathBuf,
    /// Where the probe answers
    #[arg(long, value_name = "SOCKET")]
    pub socket: PathBuf,
    /// What Netdata and its plugins print goes here
    #[arg(long, value_name = "FILE")]
    pub log: PathBuf,
    /// History is written below this directory
    #[arg(long, value_name = "DIR")]
    pub history: PathBuf,
}

/// Flags of `pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// docker://NAME, a SIF file, docker-archive:FILE, oci:DIR, a definition file, or `debian`
    #[arg(long, value_name = "SOURCE")]
    pub image: Option<String>,
}

/// Flags of `start` alone.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Those that `restart` has too
    #[command(flatten)]
    pub flags: StartFlags,
    /// Stay until Netdata ends, and end it on Ctrl-C or TERM: for service managers
    #[arg(long)]
    pub foreground: bool,
    /// The same, and end it when the calling script ends: for batch jobs
    #[arg(long, conflicts_with = "foreground")]
    pub until_job_ends: bool,
    /// Stay, and start it again after a crash until `launcher stop`, with the flags of the last start: for systemd and cron
    #[arg(long, conflicts_with_all = ["foreground", "until_job_ends"])]
    pub keep: bool,
}

/// Flags of `claim`. There is none for the token: arguments can be seen by every user.
#[derive(Debug, Args)]
pub struct ClaimArgs {
    /// File with the token, `-` for standard input [NETDATA_CLAIM_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Rooms to join, ids parted by commas [NETDATA_CLAIM_ROOMS]
    #[arg(long, value_name = "IDS")]
    pub rooms: Option<String>,
}

/// Flags of `stream`; without one it shows what is set.
#[derive(Debug, Args)]
pub struct StreamArgs {
    /// Send everything to the parent at HOST:PORT
    #[arg(long, value_name = "HOST:PORT", requires = "key_file", conflicts_with_all = ["accept", "off"])]
    pub to: Option<String>,
    /// File with the key that the parent gave out; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Send without encryption: for a parent that has no certificate. To an address of this machine that is the default
    #[arg(long, requires = "to")]
    pub plain: bool,
    /// Encrypt on loopback, too: for a parent at the other end of a tunnel
    #[arg(long, conflicts_with_all = ["plain", "off"])]
    pub tls: bool,
    /// Be a parent: make a key for one more child and write it into FILE
    #[arg(long, value_name = "FILE", conflicts_with = "off")]
    pub accept: Option<PathBuf>,
    /// Addresses that children may come from, as Netdata's patterns
    #[arg(
        long,
        value_name = "PATTERNS",
        requires = "accept",
        default_value = "*"
    )]
    pub from: String,
    /// Neither send nor accept any longer
    #[arg(long)]
    pub off: bool,
}

/// Verbs of `service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum ServiceCommand {
    /// Start at boot: a systemd user unit, or cron where there is no systemd for users
    Install {
        /// Use cron's @reboot in any case
        #[arg(long)]
        cron: bool,
    },
    /// Take that back; what runs is left alone
    Remove,
    /// Show what is installed
    Status,
}

/// Flags of `start` and `restart`, as text: `settings` checks them together with the environment.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct StartFlags {
    /// Where the image comes from; a SIF file is used where it is [docker://netdata/netdata:stable]
    #[arg(long, value_name = "SOURCE")]
    pub image: Option<String>,
    /// The dashboard's port [19999]
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// The address the dashboard answers on; 127.0.0.1 closes it to other machines [*]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The name this machine has in Netdata [its host name]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Make a file or directory visible to Netdata, read-only unless :rw (repeatable)
    #[arg(long, value_name = "SRC:DST[:ro|rw]")]
    pub bind: Vec<String>,
    /// Bring in the NVIDIA driver's libraries: auto, on or off [auto]
    #[arg(long, value_name = "WHEN")]
    pub gpu: Option<String>,
    /// Use this libnvidia-ml.so.1 instead of the driver's
    #[arg(long, value_name = "FILE")]
    pub nvml_library: Option<PathBuf>,
    /// The plugin's executable [rs.d.plugin beside the launcher]
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
    /// The plugin's stock configuration [conf.d beside the launcher]
    #[arg(long, value_name = "DIR")]
    pub conf_dir: Option<PathBuf>,
    /// How long to wait for the plugin's first charts [60]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<String>,
    /// What history may take on disk, all resolutions together [2048]
    #[arg(long, value_name = "MIB")]
    pub history_mib: Option<String>,
    /// How many days of history are kept at most [as many as fit]
    #[arg(long, value_name = "DAYS")]
    pub history_days: Option<String>,
    /// Start although another Netdata already runs on this machine
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub beside_another: bool,
}

impl StartFlags {
    /// These flags, with those of an earlier start where they say nothing.
    #[must_use]
    pub fn or(self, earlier: Self) -> Self {
        Self {
            image: self.image.or(earlier.image),
            port: self.port.or(earlier.port),
            listen: self.listen.or(earlier.listen),
            hostname: self.hostname.or(earlier.hostname),
            bind: if self.bind.is_empty() {
                earlier.bind
            } else {
                self.bind
            },
            gpu: self.gpu.or(earlier.gpu),
            nvml_library: self.nvml_library.or(earlier.nvml_library),
            plugin: self.plugin.or(earlier.plugin),
            conf_dir: self.conf_dir.or(earlier.conf_dir),
            timeout: self.timeout.or(earlier.timeout),
            history_mib: self.history_mib.or(earlier.history_mib),
            history_days: self.history_days.or(earlier.history_days),
            beside_another: self.beside_another || earlier.beside_another,
        }
    }
}

/// Flags of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on showing what is added
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub lines: usize,
    /// Only what the rs.d plugin says, and what Netdata says of it
    #[arg(long)]
    pub plugin: bool,
}

/// Flags of `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One JSON object, for scripts
    #[arg(long)]
    pub json: bool,
    /// Show it again every two seconds, until interrupted
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// JSON, for scripts
    #[arg(long)]
    pub json: bool,
    /// Write a file fit for a bug report, without secrets and names
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub report: Option<PathBuf>,
    /// Instead, ask the NVIDIA driver every call for a minute and write what it answers into a new file, without UUIDs,
    /// serial numbers and pids
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "report"])]
    pub record: Option<PathBuf>,
}

/// For commands whose result a script may want.
#[derive(Debug, Args)]
pub struct JsonFlag {
    /// JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

/// Flags of `clean`.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Keep history, identity and configuration for a later start
    #[arg(long)]
    pub keep_data: bool,
}

/// Flags of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell it is for
    pub shell: clap_complete::Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where the pages go; made if missing
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}
