//! What a program in the container can get at: not the user's home, and no place to write but the state. What another
//! user of the machine can: no secret.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::watch::Watch;

/// Tries to read each argument under its own name and where the host's root is seen.
const READ: &str = r#"for file in "$@"; do
    for path in "$file" "/host/root$file"; do
        if cat "$path" 2>/dev/null; then echo "READ $path"; fi
    done
done; echo looked"#;

/// Tries to make a file in every mounted directory, and in some that are none.
const WRITE: &str = r#"cut -d' ' -f2 /proc/self/mounts | sort -u > /tmp/mounts
for dir in $(cat /tmp/mounts) /etc /usr /usr/lib/netdata /etc/netdata /var/lib /host/root/tmp /host/root/var/tmp "$@"; do
    if (: > "$dir/launcher-was-here") 2>/dev/null; then echo "WROTE $dir"; rm -f "$dir/launcher-was-here"; fi
done; echo looked"#;

/// Directories of `state/`, and what the runtime puts over kernel interfaces.
const WRITABLE: &[&str] = &[
    "/var/cache/netdata",
    "/var/lib/netdata",
    "/var/log/netdata",
    "/run/netdata",
    "/tmp",
    "/dev/shm",
];

/// The runtime's own file system in memory, private to the container and gone with it.
const SESSION: &str = "/mnt/session";

/// Secrets of the user and of the launcher cannot be read; nothing outside `state/` can be written.
pub fn of_the_container(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "isolation", &[])?;
    let image = instance.home.join("image.sif");
    let image = image.to_str().context("a path that is no text")?;
    let outcome = instance.launcher(&["pull", "--image", image])?;
    ensure!(outcome.code == Some(0), "{}", outcome.text);
    let (ssh, env) = (place.dir.join(".ssh"), instance.home.join(".env"));
    place.make_dir(&ssh)?;
    let key = ssh.join("id_ed25519");
    place.write(&key, "k3y-of-the-user")?;
    place.write(
        &env,
        "LAUNCHER_TIMEOUT=60\nNETDATA_CLAIM_TOKEN=t0ken-of-the-user\n",
    )?;
    std::fs::set_permissions(&env, std::fs::Permissions::from_mode(0o600))?;
    let run = |script: &str, paths: &[&Path]| {
        let mut words = vec!["exec", "--", "sh", "-c", script, "sh"];
        words.extend(paths.iter().filter_map(|path| path.to_str()));
        let outcome = instance.launcher(&words)?;
        ensure!(
            outcome.code == Some(0) && outcome.text.contains("looked"),
            "it did not look: {}",
            outcome.text
        );
        Ok(outcome.text)
    };
    let read = run(READ, &[&key, &env])?;
    ensure!(
        !read.contains("READ") && !read.contains("k3y") && !read.contains("t0ken"),
        "the container can read: {read}"
    );
    let written = run(WRITE, &[&place.dir, &instance.home, &ssh])?;
    let places: Vec<&str> = written
        .lines()
        .filter_map(|line| line.strip_prefix("WROTE "))
        .filter(|dir| !WRITABLE.contains(dir) && !dir.contains(SESSION))
        .collect();
    ensure!(places.is_empty(), "the container can write to {places:?}");
    ensure!(
        written.contains("WROTE /var/lib/netdata"),
        "the test cannot fail: {written}"
    );
    // The token is in a file of the container's configuration, but in nobody's environment.
    let environment = run("env; echo looked", &[])?;
    ensure!(
        !environment.contains("t0ken"),
        "the token is in the environment"
    );
    Ok(())
}

/// A claim token, a proxy's password, a webhook and a streaming key.
const TOKEN: &str = "t0ken-that-claims";
const PASSWORD: &str = "pa55word-of-the-proxy";
const HOOK: &str = "wh00k-of-a-channel";

/// With all kinds of secrets in use: none in an argument, an environment, a log, a report or anything printed, and none
/// in a file that anybody else may read.
pub fn no_secret_for_others(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "secrets", &[])?;
    let env = instance.home.join(".env");
    let text = format!(
        "NETDATA_CLAIM_TOKEN={TOKEN}\nNETDATA_CLAIM_PROXY=http://user:{PASSWORD}@127.0.0.1:9\n\
         NETDATA_CLAIM_URL=http://127.0.0.1:9\n"
    );
    place.write(&env, &text)?;
    std::fs::set_permissions(&env, std::fs::Permissions::from_mode(0o600))?;
    let url = place.dir.join("hook");
    place.write(&url, &format!("http://127.0.0.1:9/{HOOK}\n"))?;
    let key = place.dir.join("key-of-a-child");
    let (url, key_file) = (word(&url)?, word(&key)?);
    let report = instance.home.join("report");
    let mut said = String::new();
    let mut run = |words: &[&str]| -> anyhow::Result<()> {
        let outcome = instance.launcher(words)?;
        said += &format!("{words:?}: {:?}\n{}\n", outcome.code, outcome.text);
        Ok(())
    };
    run(&["stream", "--accept", key_file, "--from", "127.0.0.1"])?;
    let key = std::fs::read_to_string(&key)?.trim().to_owned();
    ensure!(key.len() == 36, "no key: {said}");
    let secrets = [TOKEN, PASSWORD, HOOK, &key];
    let watch = Watch::begin(&secrets);
    run(&["notify", "set", "ntfy", "--url-file", url])?;
    instance.start()?;
    for words in [
        &["claim"][..],
        &["notify", "test"],
        &["config"],
        &["config", "--json"],
        &["status", "--json"],
        &["doctor"],
        &["doctor", "--report", word(&report)?],
        &["logs", "-n", "10000"],
    ] {
        run(words)?;
    }
    watch.end()?;
    ensure!(
        said.contains("cannot be claimed this way") || said.contains("did not claim itself"),
        "claim was not tried: {said}"
    );
    let api = instance.api();
    for path in ["/netdata.conf", "/api/v1/info", "/api/v1/alarms?all"] {
        said += &api.text(path)?;
    }
    let report = std::fs::read_to_string(&report)?;
    ensure!(report.len() > 500, "no report: {report}");
    for (name, text) in [
        ("printed", &said),
        ("reported", &report),
        ("logged", &instance.logs()),
    ] {
        for secret in secrets {
            ensure!(!text.contains(secret), "{secret} is {name}");
        }
    }
    ensure!(
        !report.contains(&place.dir.display().to_string()),
        "the report names the user's home"
    );
    let holding = closed_files_with(&instance.home, &secrets)?;
    eprintln!("secrets are in {holding} files, each 0600");
    ensure!(
        holding >= 4,
        "the test cannot fail: {holding} files hold one"
    );
    let home = std::fs::metadata(&instance.home)?.permissions().mode();
    ensure!(home & 0o077 == 0, "the home's mode is {home:o}");
    instance.stop()?;
    Ok(())
}

fn word(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no text")
}

/// How many files below `dir` hold one of `secrets`.
///
/// # Errors
/// One of them can be read by others.
fn closed_files_with(dir: &Path, secrets: &[&str]) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(dir)?.flatten() {
        let (path, meta) = (entry.path(), entry.metadata()?);
        if meta.is_dir() {
            count += closed_files_with(&path, secrets)?;
        } else if meta.is_file() && meta.len() < 1 << 20 {
            let text = std::fs::read(&path)?;
            let text = String::from_utf8_lossy(&text);
            if secrets.iter().any(|secret| text.contains(secret)) {
                let mode = meta.permissions().mode();
                ensure!(mode & 0o077 == 0, "{} is {mode:o}", path.display());
                count += 1;
            }
        }
    }
    Ok(count)
}

/// After `uninstall` the user's home and the launcher's are as they were before the first command.
pub fn uninstall_leaves_nothing(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::as_installed(place, "uninstalled", &[])?;
    let user = place.dir.join("user-of-uninstalled");
    place.make_dir(&user)?;
    let env = [("HOME", word(&user)?)];
    let both = || Ok::<_, anyhow::Error>([tree(&instance.home)?, tree(&user)?]);
    let before = both()?;
    let image = instance.home.join("image.sif");
    let port = instance.port.to_string();
    let start = [
        "start",
        "--image",
        word(&image)?,
        "--listen",
        "127.0.0.1",
        "--port",
        &port,
    ];
    let outcome = instance.launcher_with(&env, &[&start[..], &["--beside-another"]].concat())?;
    ensure!(outcome.code == Some(0), "{}", outcome.text);
    ensure!(both()? != before, "a start left no trace");
    let outcome = instance.launcher_with(&env, &["uninstall"])?;
    ensure!(outcome.code == Some(0), "{}", outcome.text);
    let after = both()?;
    ensure!(after == before, "left behind: {after:?}\n{}", outcome.text);
    ensure!(
        instance.processes().is_empty(),
        "left behind: {:?}",
        instance.processes()
    );
    Ok(())
}

/// Everything below `dir`, with its mode.
fn tree(dir: &Path) -> anyhow::Result<Vec<(PathBuf, u32)>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            found.extend(tree(&entry.path())?);
        }
        found.push((entry.path(), meta.permissions().mode()));
    }
    found.sort();
    Ok(found)
}
