//! `stream`: several machines in one dashboard, by Netdata's own streaming.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::Scene;
use crate::cli::StreamArgs;
use crate::files;
use crate::instance::State;
use crate::runtime::find_on;
use crate::settings::Secret;
use crate::streaming::{self, Child, Parent, SSL};

/// The kernel's source of random UUIDs.
const UUID: &str = "sys/kernel/random/uuid";
/// A certificate that nobody has to renew by hand.
const CERTIFICATE_DAYS: &str = "3650";

pub(super) fn run(scene: &Scene, args: &StreamArgs) -> Result<ExitCode> {
    if args.to.is_none() && args.accept.is_none() && !args.off {
        return show(scene);
    }
    let _lock = scene.take("stream")?;
    let present = streaming::own(&scene.paths)?;
    let path = streaming::file(&scene.paths);
    ensure!(
        streaming::is_ours(&present),
        "{} is your own and is left alone: edit it, or move it away",
        path.display()
    );
    if args.off {
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        out!("nothing is sent or taken in");
    } else if let Some(to) = &args.to {
        let address = streaming::address(to).with_context(|| format!("--to {to}"))?;
        let key_file = args.key_file.as_deref().context("--key-file is missing")?;
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let parent = Parent {
            plain: args.plain || (streaming::on_loopback(host) && !args.tls),
            address,
            key: read_key(key_file)?,
        };
        files::write_private(&path, streaming::child_conf(&parent).as_bytes())?;
        out!("everything is sent to {to}");
    } else if let Some(file) = &args.accept {
        accept(scene, &present, file, args)?;
    }
    if matches!(scene.instance.state()?, State::Running(_)) {
        out!("it takes effect with: launcher restart");
    }
    Ok(ExitCode::SUCCESS)
}

fn show(scene: &Scene) -> Result<ExitCode> {
    let text = streaming::own(&scene.paths)?;
    let children = streaming::children(&text).len();
    let destination = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("destination = "));
    match (destination, children) {
        (Some(destination), _) => out!("everything is sent to {destination}"),
        (None, 0) => out!("nothing is sent or taken in: --to HOST:PORT, or --accept FILE"),
        (None, children) => out!("taken in: children with one of {children} keys"),
    }
    Ok(ExitCode::SUCCESS)
}

/// One more child: its key goes into a file for it, and into the parent's own.
fn accept(scene: &Scene, present: &str, file: &Path, args: &StreamArgs) -> Result<()> {
    let from = &args.from;
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:*!- ".contains(c);
    ensure!(
        from.chars().all(fits),
        "--from: give addresses with * as a wildcard"
    );
    let mut children = streaming::children(present);
    ensure!(
        present.is_empty() || !children.is_empty(),
        "this Netdata sends to another one: launcher stream --off first"
    );
    let source = scene.proc.path(UUID);
    let uuid =
        fs::read_to_string(&source).with_context(|| format!("reading {}", source.display()))?;
    let key = streaming::key(&uuid)?;
    ensure!(
        !file.exists(),
        "{} is there already: a key for each child",
        file.display()
    );
    files::write_private(file, format!("{}\n", key.reveal()).as_bytes())?;
    children.push(Child {
        key,
        from: from.clone(),
    });
    // With a certificate Netdata takes in nobody who does not encrypt.
    let encrypted = !streaming::on_loopback(from) || args.tls;
    if encrypted {
        certificate(scene)?;
    }
    let path = streaming::file(&scene.paths);
    files::write_private(&path, streaming::parent_conf(&children).as_bytes())?;
    let (host, tls) = match (streaming::on_loopback(from), args.tls) {
        (true, true) => ("127.0.0.1", " --tls"),
        (true, false) => ("127.0.0.1", ""),
        (false, _) => (scene.host.as_str(), ""),
    };
    out!(
        "{} holds the key of one child; bring it there by a safe way, and say there:\n  \
         launcher stream --to {host}:PORT --key-file FILE{tls}",
        file.display(),
    );
    Ok(())
}

/// Made once, for encryption; children know the parent by the key.
fn certificate(scene: &Scene) -> Result<()> {
    let dir = scene.paths.state_dir("config").join(SSL);
    let (key, certificate) = (dir.join("key.pem"), dir.join("cert.pem"));
    if key.exists() && certificate.exists() {
        return Ok(());
    }
    let Some(openssl) = find_on(&env::var_os("PATH").unwrap_or_default(), "openssl") else {
        tell!(
            "warning: openssl is not here, so there is no certificate: children have to send with --plain"
        );
        return Ok(());
    };
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    // Only its owner may read the key, from the first byte on.
    files::write_private(&key, b"")?;
    let output = Command::new(openssl)
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:3072",
            "-nodes",
            "-batch",
            "-subj",
            "/CN=netdata",
        ])
        .args(["-days", CERTIFICATE_DAYS, "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stdin(Stdio::null())
        .output()
        .context("running openssl")?;
    if !output.status.success() {
        let _ = fs::remove_file(&key);
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("openssl made no certificate: {}", said.trim());
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<Secret> {
    let mut text = String::new();
    let reading = || format!("reading the key from {}", path.display());
    if path == Path::new("-") {
        io::stdin()
            .take(100)
            .read_to_string(&mut text)
            .with_context(reading)?;
    } else {
        File::open(path)
            .and_then(|file| file.take(100).read_to_string(&mut text))
            .with_context(reading)?;
    }
    streaming::key(&text)
}
