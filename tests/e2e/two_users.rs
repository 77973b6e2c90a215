//! Two users on one machine, each with a launcher and a Netdata of their own.

use anyhow::ensure;
use harness::instance::Instance;
use harness::place::Place;

/// Both run at once, neither reads the other's home, and the end of one is not the other's.
pub fn side_by_side(place: &Place) -> anyhow::Result<()> {
    let other = place.of_second_user()?;
    let outcome = both(place, &other);
    std::fs::remove_dir_all(&other.dir)?;
    outcome
}

fn both(place: &Place, other: &Place) -> anyhow::Result<()> {
    if other.uid() == place.uid() {
        eprintln!("not root: both homes are of one user");
    }
    let first = Instance::new(place, "first-user", &[])?;
    let second = Instance::new(other, "second-user", &[])?;
    first.start()?;
    let pid = first.outer_pid()?;
    let port = first.port.to_string();
    let taken = second.launcher(&[
        "start",
        "--beside-another",
        "--port",
        &port,
        "--listen",
        "127.0.0.1",
    ])?;
    ensure!(
        taken.code == Some(1) && taken.text.contains("is already used by"),
        "{}",
        taken.text
    );
    second.start()?;
    for (instance, another) in [(&first, &second), (&second, &first)] {
        let status = instance.launcher(&["status"])?;
        ensure!(status.code == Some(0), "{}", status.text);
        ensure!(
            status.text.contains(&format!(":{}", instance.port))
                && !status.text.contains(&format!(":{}", another.port)),
            "{}",
            status.text
        );
    }
    if other.uid() != place.uid() {
        let look = other.command("ls").arg(&first.home).output()?;
        ensure!(!look.status.success(), "the home is open: {look:?}");
    }
    second.stop()?;
    ensure!(
        second.processes().is_empty(),
        "left behind: {:?}",
        second.processes()
    );
    let status = first.launcher(&["status"])?;
    ensure!(
        status.code == Some(0) && first.outer_pid()? == pid,
        "the other's stop ended it: {}",
        status.text
    );
    first.stop()?;
    Ok(())
}
