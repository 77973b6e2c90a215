//! Inference engines, as their processes show them: which process is a server, what its command line
//! says of it, and which processes are its own. An engine more is one more entry of [`ENGINES`].

mod args;
mod census;
mod llama_cpp;
mod local_ai;
mod locate;
mod ollama;
mod python;
mod server;
mod sglang;
#[cfg(test)]
mod tables;
mod tgi;
mod tree;
mod vllm;

pub use census::{Census, Found};
pub use locate::locate;
pub use server::{Address, Server};
pub use tree::{Tree, trees};

use crate::processes::ProcessTable;

/// What a process does for its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The process that was started: HTTP, tokenizer.
    Main,
    /// Runs the model: one per rank.
    Scheduler,
    /// Turns tokens into text.
    Detokenizer,
    /// Spreads requests over data-parallel ranks.
    DpController,
    /// Tokenizes beside the main process.
    TokenizerWorker,
    /// Runs the model, without scheduling requests.
    Worker,
    /// Spreads requests over servers.
    Router,
    /// Any other child: resource trackers, compilers, workers not yet titled.
    Helper,
}

impl Role {
    /// The label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Scheduler => "scheduler",
            Self::Detokenizer => "detokenizer",
            Self::DpController => "dp_controller",
            Self::TokenizerWorker => "tokenizer_worker",
            Self::Worker => "worker",
            Self::Router => "router",
            Self::Helper => "helper",
        }
    }
}

/// What a command line was recognised as.
#[derive(Clone, Debug, PartialEq)]
pub enum Identity {
    /// A server.
    Server(Box<Server>),
    /// A process that an engine gave a title.
    Titled(Role),
}

/// The processes of this host, each with what it is to us.
pub type Processes = ProcessTable<Identity>;

/// Recognises the processes of one engine from their arguments.
type Recognise = fn(argv: &[&str]) -> Option<Identity>;

/// The engines known.
const ENGINES: &[Recognise] = &[
    sglang::recognise,
    vllm::recognise,
    llama_cpp::recognise,
    ollama::recognise,
    tgi::recognise,
    local_ai::recognise,
];

/// Most arguments looked at.
const MAX_ARGS: usize = 1024;

/// Recognises a process from its raw command line.
#[must_use]
pub fn identify(cmdline: &[u8]) -> Option<Identity> {
    // Titles are padded with NULs, and so may the end of any command line be.
    let end = cmdline.iter().rposition(|&byte| byte != 0)? + 1;
    let text = String::from_utf8_lossy(&cmdline[..end]);
    let argv: Vec<&str> = text.split('\0').take(MAX_ARGS).collect();
    ENGINES.iter().find_map(|recognise| recognise(&argv))
}
