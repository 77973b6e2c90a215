//! The command line of `notify`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::notify::Tls;

/// Verbs of `notify`.
#[derive(Clone, Debug, Subcommand)]
pub enum NotifyCommand {
    /// Tell alerts there; secrets come from files
    Set(NotifySetArgs),
    /// Tell them there no longer
    Off {
        /// Where; without it, nowhere
        channel: Option<Channel>,
    },
    /// Send a message everywhere now
    Test,
    /// Tell nobody for a while, like 90m, 2h or 3d
    Mute {
        /// How long
        time: String,
    },
    /// Tell them again
    Unmute,
}

/// Where alerts can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Channel {
    /// A topic of ntfy
    Ntfy,
    /// An incoming webhook of Slack
    Slack,
    /// A workflow's webhook of Microsoft Teams
    Teams,
    /// Mail
    Smtp,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ntfy, Self::Slack, Self::Teams, Self::Smtp];
}

/// Flags of `notify set`.
#[derive(Clone, Debug, Args)]
pub struct NotifySetArgs {
    /// Where
    pub channel: Channel,
    /// File with the address of the topic or webhook, `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub url_file: Option<PathBuf>,
    /// File with an access token of ntfy
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Mail server
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// How the mail server is spoken to
    #[arg(long, value_name = "HOW", default_value = "starttls")]
    pub tls: Tls,
    /// Sender of mail
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// Receiver of mail (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub to: Vec<String>,
    /// Who logs in to the mail server
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,
    /// File with the password, `-` for standard input
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
}

/// Arguments of `deliver`.
#[derive(Debug, Args)]
pub struct DeliverArgs {
    /// Where alerts are told
    #[arg(long, value_name = "FILE")]
    pub channels: PathBuf,
    /// What was told already
    #[arg(long, value_name = "FILE")]
    pub memory: PathBuf,
}
