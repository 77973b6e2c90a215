//! Proof from /proc that nothing was staged.

use anyhow::{Context as _, ensure};
use harness::processes;
use procfs::process::Process;

use crate::lab::Lab;

/// The plugin's parent is netdata, its root is the image, its user namespace is not the host's, it is not
/// root, and the agent is the version of the package inside the image.
pub fn parts_are_real(lab: &Lab) -> anyhow::Result<()> {
    let plugin = Process::new(lab.instance.plugin_pid()?)?;
    let netdata = lab.instance.netdata_pid()?;
    let stat = plugin.stat()?;
    let parent = Process::new(stat.ppid)?.stat()?;
    ensure!(
        parent.comm == "netdata",
        "the plugin's parent is {}",
        parent.comm
    );
    ensure!(
        stat.ppid == netdata || parent.ppid == netdata,
        "the plugin's parent {} does not descend from netdata {netdata}",
        stat.ppid
    );
    ensure!(
        plugin.uid()? == lab.place.uid() && plugin.uid()? != 0,
        "uid {}",
        plugin.uid()?
    );
    let own = i32::try_from(std::process::id())?;
    for kind in ["user", "mnt"] {
        let theirs = processes::namespace(stat.pid, kind).context("no namespace to read")?;
        let ours = processes::namespace(own, kind).context("no namespace to read")?;
        ensure!(
            theirs != ours,
            "the plugin runs in the host's {kind} namespace"
        );
    }
    ensure!(
        processes::namespace(stat.pid, "pid") == processes::namespace(own, "pid"),
        "the plugin cannot see the host's processes"
    );
    let mounts = plugin.mountinfo()?;
    let root = mounts
        .into_iter()
        .find(|mount| mount.mount_point.as_os_str() == "/");
    let root = root.context("the plugin has no root mount")?;
    eprintln!(
        "the plugin's root: {} {:?}",
        root.fs_type, root.mount_source
    );
    let image = lab.instance.home.join("image.sif");
    let holders: Vec<_> = lab
        .instance
        .processes()
        .into_iter()
        .filter(|known| processes::open_files(known.pid).contains(&image))
        .collect();
    ensure!(!holders.is_empty(), "nobody holds {} open", image.display());

    let info = lab.instance.api().json("/api/v1/info")?;
    let version = info["version"]
        .as_str()
        .context("the agent names no version")?
        .to_owned();
    let package = lab
        .place
        .command("apptainer")
        .args(["exec", "--no-home", "--contain"])
        .arg(&image)
        .args(["dpkg-query", "-W", "-f", "${Version}", "netdata-core"])
        .output()?;
    let package = String::from_utf8(package.stdout)?;
    let packaged = package.split('-').next().unwrap_or("");
    ensure!(
        !packaged.is_empty() && version.trim_start_matches('v') == packaged,
        "the agent says {version}, the package in the image is {package:?}"
    );
    eprintln!(
        "agent {version}, package {package}, plugin {} under netdata {netdata}",
        stat.pid
    );
    Ok(())
}
