//! `claim`: connects to Netdata Cloud, at once where Netdata runs. The token comes from the settings, a file or
//! standard input and goes into files that only this user can read; never into an argument or a log.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::Scene;
use crate::api::{Api, Info};
use crate::claim::{self, FILE};
use crate::cli::{ClaimArgs, StartFlags};
use crate::container;
use crate::files;
use crate::instance::{Record, State};
use crate::progress::Progress;
use crate::runtime::Runtime;
use crate::settings::{Claim, Listen, Secret};

/// A token has 135 characters.
const MAX_TOKEN: u64 = 4096;
/// It has asked the Cloud when the command that tells it to has ended.
const CLAIMED_WITHIN: Duration = Duration::from_secs(5);
/// Netdata tries for about this long before it gives up.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(500);
/// Makes a running agent read its claim.conf again.
const RELOAD: [&str; 2] = ["netdatacli", "reload-claiming-state"];

pub(super) fn run(scene: &Scene, args: &ClaimArgs) -> Result<ExitCode> {
    let settings = scene.settings(&StartFlags::default())?;
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let mut claim = match (token, settings.claim) {
        (Some(token), _) => Claim::with_token(token, &scene.layers)?,
        (None, Some(claim)) => claim,
        (None, None) => bail!(
            "no token: put NETDATA_CLAIM_TOKEN=… into {}, or name a file with --token-file (- for standard input)\n\
             Netdata Cloud shows it under Connect Nodes",
            scene.env_file.display()
        ),
    };
    if let Some(rooms) = &args.rooms {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ',');
        ensure!(
            rooms.chars().all(fits),
            "--rooms: give ids parted by commas"
        );
        claim.rooms = Some(rooms.clone());
    }
    let _lock = scene.take("claim")?;
    let text = claim::text(&claim);
    files::write_private(&scene.paths.state_dir("config").join(FILE), text.as_bytes())?;
    match scene.instance.state()? {
        State::Running(record) => connect(scene, &record, &text),
        _ => {
            out!("the token is kept; Netdata connects when it starts: launcher start");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The first line, of a file that nobody else can read.
fn read_token(path: &Path) -> Result<Secret> {
    let mut text = String::new();
    if path == Path::new("-") {
        let read = io::stdin().take(MAX_TOKEN).read_to_string(&mut text);
        read.context("reading the token from standard input")?;
    } else {
        let reading = || format!("reading the token from {}", path.display());
        let file = File::open(path).with_context(reading)?;
        ensure!(
            file.metadata().with_context(reading)?.is_file(),
            "{} is not a regular file",
            path.display()
        );
        file.take(MAX_TOKEN)
            .read_to_string(&mut text)
            .with_context(reading)?;
    }
    let token = text.lines().next().unwrap_or_default().trim();
    ensure!(!token.is_empty(), "there is no token on its first line");
    // The token itself stays out of the message.
    ensure!(
        !token.chars().any(|c| c.is_control() || c.is_whitespace()),
        "the first line is no token: it holds a blank"
    );
    Ok(Secret::new(token.to_owned()))
}

fn connect(scene: &Scene, record: &Record, text: &str) -> Result<ExitCode> {
    let listen: Listen = record.listen.parse().unwrap_or(Listen::All);
    let api = Api::new(listen.local(), record.port);
    let version = api
        .charts()
        .map(|listing| listing.version)
        .unwrap_or_default();
    if !claim::is_read_by(&version) {
        bail!(
            "Netdata {version} cannot be claimed this way, 2.0 and later can: launcher update --image docker://netdata/netdata:stable\n\
             the token is kept for it"
        );
    }
    let bound = scene.paths.generated(FILE);
    ensure!(
        fs::metadata(&bound).is_ok(),
        "{} is missing: launcher restart",
        bound.display()
    );
    files::rewrite_private(&bound, text.as_bytes())?;
    let progress = Progress::start("connecting to Netdata Cloud");
    let container = container::beside(&scene.paths, &record.image);
    let said = Runtime::find()?
        .exec(&container, &RELOAD)
        .output()
        .context("asking Netdata to read its claim.conf")?;
    let asked = Instant::now();
    let mut patience = CLAIMED_WITHIN;
    loop {
        match api.info() {
            Ok(Info {
                aclk_available: true,
                ..
            }) => {
                drop(progress);
                out!("connected to Netdata Cloud");
                return Ok(ExitCode::SUCCESS);
            }
            Ok(Info {
                agent_claimed: true,
                ..
            }) => {
                patience = CONNECTED_WITHIN;
                progress.step_once("claimed, waiting for the connection");
            }
            _ => {}
        }
        if asked.elapsed() >= patience {
            break;
        }
        crate::interrupt::check()?;
        thread::sleep(POLL);
    }
    drop(progress);
    let claimed = api.info().is_ok_and(|info| info.agent_claimed);
    if claimed {
        out!("claimed; not connected yet: launcher status shows when it is");
        return Ok(ExitCode::SUCCESS);
    }
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    bail!("Netdata did not claim itself: {said}\nlauncher logs | grep -i claim has more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_first_line_and_is_in_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "  abc \n# note\n").unwrap();
        assert_eq!(read_token(&path).unwrap().reveal(), "abc");
        fs::write(&path, "s3cret token\n").unwrap();
        let error = format!("{:#}", read_token(&path).unwrap_err());
        assert!(!error.contains("s3cret"), "{error}");
        fs::write(&path, "\n").unwrap();
        assert!(read_token(&path).is_err());
    }
}
