//! The container Netdata runs in: what is bound where, and the configuration made for it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::unistd::{Uid, User};

use crate::claim;
use crate::files;
use crate::instance::{CACHE_INSIDE, beside};
use crate::mounts::{self, HOST_ROOT};
use crate::netdata_conf::{self, Input, NetdataConf};
use crate::notify::{self, Channels};
use crate::parts::Parts;
use crate::paths::Paths;
use crate::process::Proc;
use crate::runtime::{Bind, Container};
use crate::settings::{Gpu, Settings};
use crate::streaming;

/// Where Netdata looks for plugins that are not its own, in every image.
pub const PLUGIN_INSIDE: &str = "/etc/netdata/custom-plugins.d/rs.d.plugin";
const STOCK_INSIDE: &str = "/usr/lib/netdata/conf.d";
const USER_INSIDE: &str = "/etc/netdata";
const RUN_INSIDE: &str = "/run/netdata";

/// Seen inside at another place, where they exist.
const SYSTEM: [(&str, &str); 7] = [
    ("/proc", "/host/proc"),
    ("/sys", "/host/sys"),
    ("/etc/passwd", "/host/etc/passwd"),
    ("/etc/group", "/host/etc/group"),
    ("/etc/os-release", "/host/etc/os-release"),
    ("/etc/pki", "/etc/pki"),
    // systemd's units and their resources; the image's /var/run points to /run.
    (
        "/var/run/dbus/system_bus_socket",
        "/run/dbus/system_bus_socket",
    ),
];

/// The machine's certificates in one file, so that a site's own authority is trusted: Debian's place and RHEL's.
/// The first there is takes the place of the image's own. Not the directory: RHEL's lacks what Debian's
/// programs look for in it.
const CERTIFICATES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// Mounts of the runtime, and of the launcher's configuration, as patterns.
const NOT_DISKS: [&str; 6] = [
    "/.singularity.d/*",
    "/etc/*",
    "/usr/lib/netdata/conf.d/*",
    "/var/lib/netdata",
    "/host/root/var/lib/apptainer/*",
    "/host/root/var/lib/singularity/*",
];

/// go.d has a module of the same charts.
const GO_D: &str = "# Written by launcher at each start. To change it, put a go.d.conf into state/config.\n\
    modules:\n  # rs.d.plugin charts the GPUs.\n  nvidia_smi: no\n";

/// Puts it together for `image`, which may still be missing, and writes the generated files.
pub fn prepare(
    paths: &Paths,
    proc: &Proc,
    settings: &Settings,
) -> Result<(Container, NetdataConf)> {
    let parts = Parts::find(settings)?;
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let name = user
        .as_ref()
        .map_or_else(|| Uid::effective().to_string(), |u| u.name.clone());
    let empty = paths.state_dir("empty");
    let private = mounts::private_dirs(user.as_ref().map(|u| u.dir.as_path()), paths.home());
    let plan = mounts::plan(proc, &private, &empty);
    let inside = |dirs: &[PathBuf]| dirs.iter().map(|dir| in_host_root(dir)).collect::<Vec<_>>();
    let mut disks = vec![PathBuf::from(HOST_ROOT)];
    disks.extend(inside(&plan.read_only));

    let mut binds = vec![Bind::read_only("/", HOST_ROOT)];
    binds.extend(
        plan.read_only
            .iter()
            .map(|dir| Bind::read_only(dir, in_host_root(dir))),
    );
    binds.extend(
        plan.hidden
            .iter()
            .map(|dir| Bind::read_only(&empty, in_host_root(dir))),
    );
    let present = SYSTEM
        .iter()
        .filter(|(source, _)| Path::new(source).exists());
    binds.extend(present.map(|(source, inside)| Bind::read_only(source, inside)));
    let certificates = CERTIFICATES
        .iter()
        .find_map(|file| fs::canonicalize(file).ok());
    binds.extend(certificates.map(|file| Bind::read_only(file, CERTIFICATES[0])));
    for (dir, inside) in [
        ("cache", CACHE_INSIDE),
        ("log", "/var/log/netdata"),
        ("run", RUN_INSIDE),
        ("tmp", "/tmp"),
        // Otherwise the machine's, where Netdata leaves files behind.
        ("shm", "/dev/shm"),
    ] {
        binds.push(Bind::writable(paths.state_dir(dir), inside));
    }
    let own = own_conf(&paths.state_dir("config").join("netdata.conf"))?;
    // Everything of the container's own making is a place of a disk that is charted already.
    let mut not_disks = NOT_DISKS.map(PathBuf::from).to_vec();
    not_disks.extend(inside(&plan.misread));
    not_disks.extend(binds.iter().map(|bind| bind.destination.clone()));
    not_disks.extend(settings.binds.iter().map(|spec| spec.destination.clone()));
    not_disks.retain(|dir| !disks.contains(dir));
    let streaming = streaming::web_options(paths, Path::new(USER_INSIDE))?;
    let input = Input {
        streaming: &streaming,
        user: &name,
        own: own.as_deref(),
        not_disks: &not_disks,
        disks: &disks,
    };
    let conf = netdata_conf::generate(&input, settings);
    binds.extend(configuration(paths, &conf, &parts)?);
    // Bound in any case: a running Netdata can then be claimed.
    let claim = paths.generated(claim::FILE);
    files::write_private(
        &claim,
        claim::conf(paths, settings.claim.as_ref())?.as_bytes(),
    )?;
    binds.push(Bind::read_only(
        claim,
        Path::new(USER_INSIDE).join(claim::FILE),
    ));
    binds.extend(settings.binds.iter().map(|spec| Bind {
        source: spec.source.clone(),
        destination: spec.destination.clone(),
        writable: spec.writable,
    }));
    let env = [
        ("NETDATA_RUN_DIR", RUN_INSIDE),
        ("DISABLE_TELEMETRY", "1"),
        ("DO_NOT_TRACK", "1"),
    ];
    let container = Container {
        lib: paths.state_dir("lib"),
        binds,
        env: env
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        nvidia: nvidia(proc, settings),
        library: settings.nvml_library.clone(),
        watch: Some(beside::watch_args(&parts.plugin, paths)),
        ..Container::default()
    };
    Ok((container, conf))
}

/// A container to try the plugin in, of which nothing is written.
pub fn trial(paths: &Paths, proc: &Proc, settings: &Settings) -> Result<Container> {
    Ok(Container {
        image: paths.image(),
        lib: paths.state_dir("lib"),
        binds: vec![Bind::read_only(
            Parts::find(settings)?.plugin,
            PLUGIN_INSIDE,
        )],
        nvidia: nvidia(proc, settings),
        library: settings.nvml_library.clone(),
        ..Container::default()
    })
}

/// A container to speak to the Netdata that runs from `image`: it sees the same run directory, and no more.
pub fn beside(paths: &Paths, image: &Path) -> Container {
    Container {
        image: image.to_owned(),
        lib: paths.state_dir("empty"),
        binds: vec![Bind::writable(paths.state_dir("run"), RUN_INSIDE)],
        env: [("NETDATA_RUN_DIR".to_owned(), RUN_INSIDE.to_owned())].into(),
        ..Container::default()
    }
}

/// Whether to bring in the driver's libraries.
fn nvidia(proc: &Proc, settings: &Settings) -> bool {
    match settings.gpu {
        Gpu::On => true,
        Gpu::Off => false,
        Gpu::Auto => proc.path("driver/nvidia/version").exists(),
    }
}

fn in_host_root(path: &Path) -> PathBuf {
    Path::new(HOST_ROOT).join(path.strip_prefix("/").unwrap_or(path))
}

fn own_conf(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// The plugin, its stock configuration, what is generated, and the user's own files over it.
fn configuration(paths: &Paths, conf: &NetdataConf, parts: &Parts) -> Result<Vec<Bind>> {
    let mut binds = vec![Bind::read_only(&parts.plugin, PLUGIN_INSIDE)];
    if let Some(dir) = &parts.conf_dir {
        for name in ["rs.d.conf", "rs.d", "apps_groups.conf"] {
            let source = dir.join(name);
            if source.exists() {
                binds.push(Bind::read_only(source, Path::new(STOCK_INSIDE).join(name)));
            }
        }
        // One by one: Netdata's own alerts stay.
        for source in entries(&dir.join("health.d"))? {
            if source
                .extension()
                .is_some_and(|extension| extension == "conf")
            {
                let inside = Path::new(STOCK_INSIDE).join("health.d");
                binds.push(at_same_name(source, &inside));
            }
        }
    }
    let own = paths.state_dir("config");
    let generated = [
        ("netdata.conf", conf.text.as_str(), true),
        ("go.d.conf", GO_D, !own.join("go.d.conf").exists()),
        (".opt-out-from-anonymous-statistics", "", true),
        (
            notify::ALARM_NOTIFY,
            &notify::alarm_notify(),
            !own.join(notify::ALARM_NOTIFY).exists(),
        ),
    ];
    for (name, text, bound) in generated {
        let path = paths.generated(name);
        files::write_private(&path, text.as_bytes())?;
        if bound {
            binds.push(Bind::read_only(path, Path::new(USER_INSIDE).join(name)));
        }
    }
    binds.push(Bind::read_only(
        Channels::bind(paths)?,
        notify::CONFIG_INSIDE,
    ));
    // The same program tells alerts in there.
    let sender = env::current_exe().ok().filter(|program| program.exists());
    binds.extend(sender.map(|program| Bind::read_only(program, notify::SENDER_INSIDE)));
    for source in entries(&own)? {
        match source.file_name().and_then(|name| name.to_str()) {
            // The generated ones contain them.
            Some("netdata.conf" | claim::FILE | notify::FILE) => {}
            // Beside our plugin, not over it.
            Some("custom-plugins.d") => {
                let inside = Path::new(USER_INSIDE).join("custom-plugins.d");
                let plugins = entries(&source)?.into_iter();
                binds.extend(plugins.map(|plugin| at_same_name(plugin, &inside)));
            }
            _ => binds.push(at_same_name(source, Path::new(USER_INSIDE))),
        }
    }
    Ok(binds)
}

fn at_same_name(source: PathBuf, dir: &Path) -> Bind {
    let inside = dir.join(source.file_name().unwrap_or_default());
    Bind::read_only(source, inside)
}

/// A directory's entries, sorted; none where it is missing.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = match fs::read_dir(dir) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", dir.display())),
    };
    let mut paths: Vec<PathBuf> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::StartFlags;
    use crate::settings::Layers;

    fn settings() -> Settings {
        Settings::resolve(&StartFlags::default(), &Layers::default()).unwrap()
    }

    #[test]
    fn nothing_the_container_adds_counts_as_a_disk() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        let plugin = dir.path().join("plugin");
        fs::write(&plugin, "").unwrap();
        let flags = StartFlags {
            plugin: Some(plugin),
            ..StartFlags::default()
        };
        let settings = Settings::resolve(&flags, &Layers::default()).unwrap();
        let (container, conf) = prepare(&paths, &Proc::system(), &settings).unwrap();
        let line = conf
            .text
            .lines()
            .find(|line| line.contains("exclude space"))
            .unwrap();
        let excluded: Vec<&str> = line.split_whitespace().collect();
        for inside in [
            "/tmp",
            CACHE_INSIDE,
            RUN_INSIDE,
            "/host/etc/passwd",
            "/etc/*",
        ] {
            assert!(excluded.contains(&inside), "{inside}: {line}");
        }
        assert!(!excluded.contains(&HOST_ROOT), "{line}");
        let writable = container.binds.iter().filter(|bind| bind.writable);
        for bind in writable {
            assert!(bind.source.starts_with(paths.state()), "{bind:?}");
        }
    }

    #[test]
    fn the_users_files_are_bound_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        let own = paths.state_dir("config");
        fs::write(own.join("go.d.conf"), "mine").unwrap();
        fs::write(own.join("netdata.conf"), "[web]").unwrap();
        let parts = Parts {
            plugin: "/p".into(),
            conf_dir: None,
        };
        let conf = netdata_conf::generate(&Input::default(), &settings());
        let binds = configuration(&paths, &conf, &parts).unwrap();
        let sources = |inside: &str| {
            let there = binds
                .iter()
                .filter(|bind| bind.destination == Path::new(inside));
            there.map(|bind| bind.source.clone()).collect::<Vec<_>>()
        };
        assert_eq!(sources("/etc/netdata/go.d.conf"), [own.join("go.d.conf")]);
        assert_eq!(
            sources("/etc/netdata/netdata.conf"),
            [paths.generated("netdata.conf")]
        );
        assert_eq!(fs::read_to_string(own.join("go.d.conf")).unwrap(), "mine");
        assert!(binds.iter().all(|bind| !bind.writable));
    }
}
