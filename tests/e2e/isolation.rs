//! What a program in the container can get at: not the user's home, and no place to write but the state.

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;

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
    std::fs::set_permissions(&env, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let run = |script: &str, paths: &[&std::path::Path]| {
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

/// After `uninstall` the home is as it was before the first command.
pub fn uninstall_leaves_nothing(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::as_installed(place, "uninstalled", &[])?;
    let before = listing(&instance.home)?;
    instance.start()?;
    ensure!(listing(&instance.home)? != before, "a start left no trace");
    let outcome = instance.launcher(&["uninstall"])?;
    ensure!(outcome.code == Some(0), "{}", outcome.text);
    let after = listing(&instance.home)?;
    ensure!(after == before, "left behind: {after:?}\n{}", outcome.text);
    ensure!(
        instance.processes().is_empty(),
        "left behind: {:?}",
        instance.processes()
    );
    Ok(())
}

fn listing(dir: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}
