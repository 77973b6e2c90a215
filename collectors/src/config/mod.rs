//! Configuration in go.d's form. For each file the user's directory comes first, then the stock one, then
//! built-in defaults, so that no file at all is a valid set-up.
//!
//! A module describes its options with one struct and gets everything else from here:
//!
//! ```ignore
//! /// `rs.d/example.conf`.
//! #[derive(Clone, Debug, PartialEq, Deserialize)]
//! #[serde(deny_unknown_fields, default)]           // or without a default for a key that has to be there
//! pub struct Options {
//!     pub url: Option<config::Url>,                // types that check themselves: see values.rs
//!     pub timeout: config::Seconds,
//!     pub include: config::Patterns,
//! }
//!
//! impl config::Options for Options {
//!     const MODULE: &'static str = "example";
//!     const UPDATE_EVERY: u32 = 5;
//! }
//! ```
//!
//! - Each key may stand at the top of the file, for every job, and within a job, where it wins. `name`,
//!   `update_every`, `autodetection_retry`, `priority`, `labels` and `vnode` are there for every module: do
//!   not declare them. Nested structs work; `#[serde(flatten)]` does not (it loses places and keys).
//! - A module's `Discover` holds a [`Live`] and calls [`Live::refresh`] on every pass:
//!   [`Configured::jobs`] are those listed, [`Configured::base`] is for what the module finds by itself.
//!   [`JobConfig::job`] makes the job. `Discover::reconfigured` returns [`Live::take_changed`].
//! - The module's entry in the registry has `config: Kind::of::<Options>()`, for `--check` and the tests that
//!   compare the stock file, `config_schema.json` and the struct.
//! - Errors may not repeat what was written (it may be a secret in the wrong place) unless it is a number.
//!   Secrets are read from files named by a [`FilePath`].

mod de;
mod divide;
mod hosts;
mod job;
mod keys;
mod live;
mod plugin;
mod problem;
mod source;
mod switches;
#[cfg(test)]
mod tests;
#[allow(dead_code)] // Some are for options still to come.
mod values;
mod watch;
mod yaml;

pub use job::{Configured, JobConfig, Options};

pub use live::Live;

pub use source::{Kind, Source};
pub use switches::Switches;
#[allow(unused_imports)]
pub use values::{FilePath, Patterns, Seconds, Selection, Url, Whole};

/// Keys that every module's jobs know.
#[cfg(test)]
pub fn shared_keys() -> &'static [&'static str] {
    keys::keys_of::<job::Shared>()
}

/// A text as other tools see it; `None` if there is nothing but comments.
#[cfg(test)]
pub fn to_json(text: &str) -> anyhow::Result<Option<serde_json::Value>> {
    use serde::Deserialize as _;
    let root = yaml::Node::parse(text).map_err(|(_, what)| anyhow::anyhow!(what))?;
    let json = root.map(|root| serde_json::Value::deserialize(de::NodeDeserializer(&root)));
    Ok(json.transpose()?)
}
