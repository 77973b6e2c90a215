//! A real registry on loopback, and images to put into it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::place::{Place, free_port};
use crate::wait_for;

/// Plain HTTP, as the launcher hands it on to the runtime.
pub const PLAIN: (&str, &str) = ("APPTAINER_NOHTTPS", "1");
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The program's process, ended with the test.
pub struct Registry {
    /// On loopback.
    pub port: u16,
    place: Place,
    dir: PathBuf,
    child: Child,
}

impl Registry {
    /// Starts one that is empty.
    ///
    /// # Errors
    /// Names the program where there is none: `make test` provides it.
    pub fn start(place: &Place, name: &str) -> anyhow::Result<Self> {
        let given = std::env::var_os("E2E_REGISTRY").context(
            "E2E_REGISTRY does not name the registry's program; run the tests with `make test`",
        )?;
        let dir = place.dir.join(format!("registry-{name}"));
        place.make_dir(&dir)?;
        let program = dir.join("docker-registry");
        std::fs::copy(&given, &program).with_context(|| given.display().to_string())?;
        place.own(&program)?;
        let port = free_port()?;
        let conf = dir.join("config.yml");
        let data = dir.join("data");
        place.write(
            &conf,
            &format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: 127.0.0.1:{port}}}\n",
                data.display()
            ),
        )?;
        let child = place
            .command(&program)
            .arg("serve")
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the registry")?;
        let registry = Self {
            port,
            place: place.clone(),
            dir,
            child,
        };
        wait_for("the registry", Duration::from_secs(20), || {
            ureq::get(registry.url("")).call()?;
            Ok(())
        })?;
        Ok(registry)
    }

    /// Ends it: it answers nobody any more.
    ///
    /// # Errors
    /// As the system's.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Pushes a SIF as it is.
    ///
    /// # Errors
    /// With what the runtime says.
    pub fn push_sif(&self, file: &Path, name: &str) -> anyhow::Result<()> {
        let mut command = self.place.command("apptainer");
        command.env(PLAIN.0, PLAIN.1).arg("push").arg(file);
        command.arg(format!("oras://127.0.0.1:{}/{name}", self.port));
        run(&mut command).map(drop)
    }

    /// Pushes an image of one layer with one file in it; returns the digest that the registry gives it.
    ///
    /// # Errors
    /// When the registry refuses.
    pub fn push_oci(&self, name: &str, tag: &str, content: &str) -> anyhow::Result<String> {
        let root = self.dir.join(format!("layer-{tag}"));
        self.place.make_dir(&root)?;
        self.place.write(&root.join("content"), content)?;
        let tar = self.dir.join(format!("layer-{tag}.tar"));
        run(self
            .place
            .command("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&tar)
            .arg("content"))?;
        let layer = self.blob(name, &tar)?;
        let config = self.dir.join(format!("config-{tag}.json"));
        let text = json!({"architecture": arch(), "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.0]}});
        self.place.write(&config, &text.to_string())?;
        let config = self.blob(name, &config)?;
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": config.0, "size": config.1},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                "digest": layer.0, "size": layer.1}]});
        let answer = ureq::put(self.url(&format!("{name}/manifests/{tag}")))
            .content_type(MANIFEST)
            .send(manifest.to_string())?;
        let digest = answer.headers().get("Docker-Content-Digest");
        Ok(digest.context("no digest")?.to_str()?.to_owned())
    }

    /// Digest and length of a file that is pushed.
    fn blob(&self, name: &str, file: &Path) -> anyhow::Result<(String, usize)> {
        let sum = run(self.place.command("sha256sum").arg(file))?;
        let digest = format!("sha256:{}", sum.split(' ').next().unwrap_or_default());
        let bytes = std::fs::read(file)?;
        let answer = ureq::post(self.url(&format!("{name}/blobs/uploads/"))).send_empty()?;
        let place = answer.headers().get("Location").context("no location")?;
        let place = place.to_str()?;
        let separator = if place.contains('?') { '&' } else { '?' };
        ureq::put(format!("{place}{separator}digest={digest}"))
            .content_type("application/octet-stream")
            .send(&bytes)?;
        Ok((digest, bytes.len()))
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/v2/{path}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

/// Runs it to its end and returns what it printed.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {text}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An image in which the plugin runs, and whose Netdata does not.
///
/// # Errors
/// With what the runtime says.
pub fn broken_image(place: &Place, file: &Path) -> anyhow::Result<()> {
    let root = file.with_extension("rootfs");
    for dir in [
        "bin",
        "usr/sbin",
        "etc/netdata",
        "var/lib",
        "var/cache",
        "var/log",
        "run",
        "tmp",
        "host",
    ] {
        place.make_dir(&root.join(dir))?;
    }
    let plugin = place.dist.join("lib/netdata-launcher/rs.d.plugin");
    let wanted = run(place
        .command("ldd")
        .args(["/bin/sh", "/bin/sleep"])
        .arg(plugin))?;
    let libraries = wanted
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'));
    for source in libraries.chain(["/bin/sh", "/bin/sleep"]) {
        let target = root.join(&source[1..]);
        place.make_dir(target.parent().context("no directory")?)?;
        std::fs::copy(source, &target).with_context(|| source.to_owned())?;
        place.own(&target)?;
    }
    let netdata = root.join("usr/sbin/netdata");
    place.write(
        &netdata,
        "#!/bin/sh\n[ \"$1\" = -V ] && echo netdata v99.0.0 && exit 0\n\
         echo spoilt > /var/cache/netdata/spoilt\necho 'netdata FATAL : broken' >&2\nsleep 1\nexit 1\n",
    )?;
    std::fs::set_permissions(
        &netdata,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    run(place
        .command("apptainer")
        .args(["build", "--force"])
        .arg(file)
        .arg(&root))
    .map(drop)
}
