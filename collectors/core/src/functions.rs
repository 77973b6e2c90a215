//! Functions: tables that a person asks for in the dashboard. A function says as data what it is called,
//! who may call it and what its columns are, and has code for its rows. See [`desk`] for how calls run.

mod answer;
pub mod column;
pub mod desk;
pub mod table;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use table::{Row, View};

/// Makes the rows of one answer.
pub type Rows = Box<dyn Fn(&Call) -> Result<Vec<Row>, Refusal> + Send + Sync>;

/// A function that the agent may call.
pub struct Function {
    /// Its name in the API, unique among all plugins: `rs-…`.
    pub name: &'static str,
    /// Shown beside it: what it answers, in a sentence.
    pub help: &'static str,
    /// What a caller must be allowed to.
    pub access: Access,
    /// How long an answer may take where the caller does not say.
    pub timeout: Duration,
    /// Its columns, charts and groupings.
    pub view: View,
    /// Its rows. Runs on a thread of its own kind, beside the jobs; may be slow, and looks at
    /// [`Call::is_over`] where it is. A panic is answered as an error.
    pub rows: Rows,
}

/// A call that is being answered.
#[derive(Debug, Default)]
pub struct Call {
    over: AtomicBool,
}

impl Call {
    /// Whether nobody waits for the rows any longer: it was cancelled, or its time is up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Why there are no rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As in HTTP.
    pub status: u16,
    /// For the person who asked: what is wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// The call is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
        }
    }

    /// There is nothing to answer from now; later there may be.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            status: 503,
            message: message.into(),
        }
    }
}

/// What somebody may do, as the agent's bits (`HTTP_ACCESS` in its source).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access(pub u32);

impl Access {
    /// Anybody who can reach the dashboard: the data is in charts as well.
    pub const ANYBODY: Self = Self(1 << 3);
    /// What the agent's own list of processes demands: signed in (bit 0), in the agent's own space (1), and
    /// allowed to see sensitive data (4).
    pub const PROCESSES: Self = Self(1 << 0 | 1 << 1 | 1 << 4);

    /// Reads `0x13`; anything else is no access at all.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let hex = text.strip_prefix("0x").unwrap_or_default();
        Self(u32::from_str_radix(hex, 16).unwrap_or(0))
    }

    /// Whether it includes all of `needed`.
    #[must_use]
    pub fn includes(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }
}

/// The id of a call: the agent's, which the answer repeats.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transaction(String);

impl Transaction {
    /// Longest id; the agent's have 32 characters.
    const MAX_BYTES: usize = 64;

    /// Takes `id` if it can be repeated without harm.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let sound = (1..=Self::MAX_BYTES).contains(&id.len()) && id.bytes().all(harmless);
        sound.then(|| Self(id.to_owned()))
    }
}

impl std::fmt::Display for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Position among all functions; the agent's default.
const PRIORITY: u32 = 100;
/// Version of the protocol between function and dashboard: calls come with a payload.
const PROTOCOL: u32 = 3;

/// The lines that offer `functions` to the agent. Said once, before the first chart: they hold for as long
/// as the plugin runs.
#[must_use]
pub fn offer(functions: &[Function]) -> String {
    let line = |function: &Function| {
        let Function { name, help, .. } = function;
        debug_assert!(
            ![name, help].iter().any(|text| text.contains(['"', '\n'])),
            "{name}: a quote or a newline would end its word"
        );
        let (seconds, access) = (function.timeout.as_secs(), function.access.0);
        format!(
            "FUNCTION GLOBAL \"{name}\" {seconds} \"{help}\" \"top\" {access:#x} {PRIORITY} {PROTOCOL}\n"
        )
    };
    functions.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
