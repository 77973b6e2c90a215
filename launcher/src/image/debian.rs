//! An image from the distribution's own Netdata packages, for machines that reach a package mirror
//! but no registry. It has the official image's paths, so that one set of binds fits both, and its
//! plugins may be executed by everyone, because inside everybody is an ordinary user.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use super::workspace::Workspace;
use crate::child::{self, Outcome};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::runtime::{Runtime, find_on};

/// The agent, its shell plugins and its dashboard; certificates for alarm notifications.
const PACKAGES: &str = "netdata-core,netdata-plugins-bash,netdata-web,ca-certificates,procps,curl";

/// Tools, and the packages that bring them.
const TOOLS: [(&str, &str); 4] = [
    ("mmdebstrap", "mmdebstrap"),
    ("tar", "tar"),
    ("mksquashfs", "squashfs-tools"),
    ("newuidmap", "uidmap"),
];

/// Run in the new root, before it is packed. The last line makes places for what is bound in.
const FINISH: &str = r#"set -e
cd "$1"
chmod 0755 usr/lib/netdata/plugins.d/*.plugin
mkdir -p usr/libexec/netdata
ln -s ../../lib/netdata/plugins.d usr/libexec/netdata/plugins.d
mkdir -p etc/netdata/custom-plugins.d usr/lib/netdata/conf.d/rs.d run/netdata host/root host/proc host/sys
"#;

/// Builds the image and returns the version of its Netdata.
pub fn pull(runtime: &Runtime, workspace: &mut Workspace, progress: &Progress) -> Result<String> {
    let suite = suite(&fs::read_to_string("/etc/os-release").unwrap_or_default())?;
    require_tools()?;
    let sources = workspace.path("sources.list");
    fs::write(&sources, package_sources(&suite)?)
        .with_context(|| format!("writing {}", sources.display()))?;
    let cache = Paths::cache()?.join("debs");
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;

    progress.step("installing the distribution's Netdata into a new root (about 30 s)");
    let tar = workspace.path("root.tar");
    run(
        mmdebstrap(&suite, &tar, &sources, &cache),
        workspace,
        progress,
        "mmdebstrap",
    )?;

    progress.step("packing the image");
    let root = workspace.path("rootfs");
    fs::create_dir(&root).with_context(|| format!("creating {}", root.display()))?;
    run(unpack(&tar, &root), workspace, progress, "tar")?;
    // The disk need not hold both.
    fs::remove_file(&tar).with_context(|| format!("removing {}", tar.display()))?;
    let status = fs::read_to_string(root.join("var/lib/dpkg/status")).unwrap_or_default();
    let Some(version) = package_version(&status, "netdata-core") else {
        bail!("{suite} has no Netdata package: use another --image");
    };
    super::build(runtime, root.as_os_str(), workspace, progress)?;
    Ok(version)
}

fn mmdebstrap(suite: &str, tar: &Path, sources: &Path, cache: &Path) -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args([
        "--variant=minbase",
        "--skip=download/empty",
        "--skip=essential/unlink",
    ]);
    command.arg(format!("--include={PACKAGES}"));
    command.arg("--dpkgopt=path-exclude=/usr/share/doc/*");
    command.arg("--dpkgopt=path-exclude=/usr/share/man/*");
    command.arg("--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives");
    // The packages kept from an earlier pull go in, and all of them come out again.
    command.arg(hook(
        "--setup-hook=sync-in ",
        cache,
        " /var/cache/apt/archives/",
    ));
    command.arg(hook(
        "--customize-hook=sync-out /var/cache/apt/archives/ ",
        cache,
        "",
    ));
    command.arg(format!("--customize-hook={FINISH}"));
    command.arg(suite).arg(tar).arg(sources);
    command
}

/// A hook is parsed as a shell would: the path is quoted.
fn hook(before: &str, path: &Path, after: &str) -> OsString {
    let quoted = path.to_string_lossy().replace('\'', r"'\''");
    format!("{before}'{quoted}'{after}").into()
}

fn unpack(tar: &Path, root: &Path) -> Command {
    let mut command = Command::new("tar");
    // Devices cannot be made by an ordinary user, and the container has its own.
    command.args(["--extract", "--no-same-owner", "--delay-directory-restore"]);
    command.args(["--exclude=./dev/*", "--file"]);
    command.arg(tar).arg("--directory").arg(root);
    command
}

fn run(command: Command, workspace: &mut Workspace, progress: &Progress, tool: &str) -> Result<()> {
    match child::run(command, workspace.log(), progress, None)? {
        Outcome::Ended { status, .. } if status.success() => Ok(()),
        Outcome::Ended { tail, .. } => bail!(
            "{tool} failed:\n  {}\nall of its output is in {}",
            tail.join("\n  "),
            workspace.log_path().display()
        ),
        Outcome::Silent => bail!("{tool} printed nothing"),
    }
}

fn require_tools() -> Result<()> {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, _)| *tool != "newuidmap" || !Uid::effective().is_root())
        .filter(|(tool, _)| find_on(&path, tool).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        bail!(
            "the image `debian` needs tools: sudo apt-get install {}",
            missing.join(" ")
        );
    }
    Ok(())
}

/// The release's name, if packages of this distribution can be installed by mmdebstrap.
fn suite(os_release: &str) -> Result<String> {
    let value = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|text| text.trim_matches('"').to_owned())
    };
    let family = [value("ID"), value("ID_LIKE")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    let debian_like = family.split(' ').any(|id| id == "debian" || id == "ubuntu");
    match value("VERSION_CODENAME").filter(|_| debian_like) {
        Some(codename) if codename.chars().all(|c| c.is_ascii_alphanumeric()) => Ok(codename),
        _ => bail!(
            "the image `debian` is made on Debian and Ubuntu only; here, use\n\
             docker://netdata/netdata:stable, or a SIF file made on another machine"
        ),
    }
}

/// The machine's own mirrors for the release, its updates and its security updates.
fn package_sources(suite: &str) -> Result<String> {
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ])
        .output()
        .context("asking apt-get for this machine's package sources")?;
    let sources = select_sources(&String::from_utf8_lossy(&output.stdout), suite);
    if sources.is_empty() {
        bail!("apt-get knows no package source for {suite}: see /etc/apt/sources.list");
    }
    Ok(sources)
}

fn select_sources(targets: &str, suite: &str) -> String {
    let wanted = ["", "-updates", "-security"].map(|part| format!("{suite}{part}"));
    let mut lines: Vec<String> = targets
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (site, release, component) = (words.next()?, words.next()?, words.next()?);
            let ours = wanted.iter().any(|name| name == release)
                && ["main", "universe"].contains(&component);
            ours.then(|| format!("deb {site} {release} {component}\n"))
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}

/// From dpkg's own list of what is installed.
fn package_version(status: &str, package: &str) -> Option<String> {
    let entry = status
        .split("\n\n")
        .find(|entry| entry.lines().next() == Some(&format!("Package: {package}")))?;
    let version = entry
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))?;
    Some(version.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_the_machines_own() {
        let debian = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(suite(debian).unwrap(), "bookworm");
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\n";
        assert_eq!(suite(mint).unwrap(), "wilma");
        let error = suite("ID=\"rhel\"\nID_LIKE=\"fedora\"\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("docker://netdata/netdata:stable"), "{error}");
    }

    #[test]
    fn only_the_releases_own_sources_are_used_once_each() {
        let targets = "http://m.example/debian bookworm main\nhttp://m.example/debian bookworm main\n\
            http://m.example/debian bookworm contrib\nhttp://x.example/apt bookworm-pgdg main\n\
            http://m.example/sec bookworm-security main\n";
        let expected = "deb http://m.example/debian bookworm main\ndeb http://m.example/sec bookworm-security main\n";
        assert_eq!(select_sources(targets, "bookworm"), expected);
    }

    #[test]
    fn a_quote_in_the_cache_path_stays_in_the_path() {
        let arg = hook("sync-in ", Path::new("/it's"), " /x");
        assert_eq!(arg, OsString::from(r"sync-in '/it'\''s' /x"));
    }

    #[test]
    fn the_version_is_read_from_the_packages_entry_alone() {
        let status = "Package: netdata\nVersion: 9\n\nPackage: netdata-core\nStatus: ok\nVersion: 1.37.1-2\n\n";
        assert_eq!(
            package_version(status, "netdata-core").as_deref(),
            Some("1.37.1-2")
        );
        assert_eq!(package_version(status, "netdata-cor"), None);
    }
}
