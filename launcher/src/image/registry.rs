//! Images from a registry, by the runtime's own `pull`.

use std::time::Duration;

use anyhow::{Result, bail};

use super::workspace::Workspace;
use super::{RUNTIME_CACHE, fatal};
use crate::child::{self, Outcome};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::runtime::Runtime;

/// The runtime prints its first line once the registry has answered. A firewall that drops packets
/// would otherwise hold it for many minutes.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// What to do where a registry cannot be used.
const OTHERWISE: &str = "instead: launcher pull --image debian (the distribution's own packages, on Debian and Ubuntu),\n\
     or copy an image here and use it: launcher start --image FILE.sif";

/// Pulls `name` into the workspace.
pub fn pull(
    runtime: &Runtime,
    name: &str,
    workspace: &mut Workspace,
    progress: &Progress,
) -> Result<()> {
    let command = runtime.pull(
        name,
        &workspace.image(),
        &workspace.tmp(),
        &Paths::cache()?.join(RUNTIME_CACHE),
    );
    let _measuring = progress.measure(vec![workspace.dir().to_owned(), Paths::cache()?]);
    match child::run(command, workspace.log(), progress, Some(FIRST_ANSWER))? {
        Outcome::Ended { status, .. } if status.success() => Ok(()),
        Outcome::Ended { tail, .. } => {
            let reason = fatal(&tail);
            bail!(
                "pulling {name} failed: {}\n  {reason}\n{OTHERWISE}\nall of its output is in {}",
                explain(&reason),
                workspace.log_path().display()
            )
        }
        Outcome::Silent => bail!(
            "pulling {name} failed: the registry did not answer within {} s\n{OTHERWISE}",
            FIRST_ANSWER.as_secs()
        ),
    }
}

/// The runtime's reason in a few words.
fn explain(reason: &str) -> &'static str {
    const KNOWN: [(&str, &str); 11] = [
        (
            "no such host",
            "the registry's name cannot be resolved (is this machine offline?)",
        ),
        ("connection refused", "the registry refuses connections"),
        (
            "network is unreachable",
            "there is no route to the registry",
        ),
        ("i/o timeout", "the registry does not answer"),
        ("TLS handshake timeout", "the registry does not answer"),
        ("certificate", "the registry's certificate is not trusted"),
        ("manifest unknown", "there is no image of that name and tag"),
        (
            "toomanyrequests",
            "the registry limits pulls from this address: try again later",
        ),
        (
            "unauthorized",
            "the registry wants a login, or there is no such image",
        ),
        (
            "denied",
            "the registry wants a login, or there is no such image",
        ),
        ("no space left", "the disk is full"),
    ];
    KNOWN
        .iter()
        .find(|(part, _)| reason.contains(part))
        .map_or("the runtime says", |(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_words_become_a_reason() {
        let says = "lookup registry.example on 192.0.2.1:53: no such host";
        assert!(explain(says).contains("cannot be resolved"));
        let says = "reading manifest stabel in example/netdata: manifest unknown";
        assert!(explain(says).contains("no image of that name"));
        assert_eq!(explain("something new"), "the runtime says");
    }
}
