//! The processes of a server: what each is called, who its parent is, and what it does.

mod helpers;
mod spawn;
mod titles;

use std::env;

use anyhow::{Context, Result};
use nix::sys::prctl;
use serde::{Deserialize, Serialize};

use crate::cli::ServerConfig;
use crate::server;

pub use helpers::Report;
pub use spawn::{spawn_helpers, spawn_server};
pub use titles::{server_argv, words};

/// Names the part a re-executed process plays; its command line is taken by the title.
const ROLE_VARIABLE: &str = "FAKE_SGLANG_ROLE";

/// A process of the tree.
#[derive(Debug, Serialize, Deserialize)]
pub enum Role {
    /// The one that listens.
    Server(Box<ServerConfig>),
    /// Python's multiprocessing resource tracker.
    Tracker,
    /// Parent of the schedulers when there are several replicas.
    Controller {
        schedulers: Vec<String>,
        cpu: u8,
    },
    Scheduler {
        title: String,
        cpu: u8,
    },
    Detokenizer,
}

/// The role this process was started for, if any.
///
/// # Errors
/// If the variable holds no role.
pub fn role_from_environment() -> Result<Option<Role>> {
    let Ok(text) = env::var(ROLE_VARIABLE) else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .with_context(|| format!("reading {ROLE_VARIABLE}"))
}

/// Plays `role` until killed, or until the process it needs is gone.
///
/// # Errors
/// If it cannot start, or one of its own children ended.
pub fn play(role: Role) -> Result<()> {
    let argv: Vec<String> = env::args().collect();
    prctl::set_name(&titles::comm(&argv)).context("setting the process name")?;
    match role {
        Role::Server(config) => server::serve(*config),
        Role::Tracker => helpers::tracker(),
        Role::Controller { schedulers, cpu } => helpers::controller(&schedulers, cpu),
        Role::Scheduler { title, cpu } => helpers::scheduler(&title, cpu),
        Role::Detokenizer => helpers::detokenizer(),
    }
}
