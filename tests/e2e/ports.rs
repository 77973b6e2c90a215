//! A port that somebody else has.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::ensure;
use harness::instance::Instance;
use harness::place::Place;

/// `start` fails within seconds and names the port and who holds it.
pub fn taken(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "taken", &[])?;
    let holder = TcpListener::bind(("127.0.0.1", instance.port))?;
    let outcome = instance.try_start()?;
    eprintln!(
        "{:?} after {:.1} s: {}",
        outcome.code,
        outcome.took.as_secs_f64(),
        outcome.text
    );
    ensure!(outcome.code == Some(1), "exit code {:?}", outcome.code);
    ensure!(
        outcome.took < Duration::from_secs(8),
        "it took {:?}",
        outcome.took
    );
    ensure!(
        outcome.text.contains(&instance.port.to_string()),
        "the port is not named"
    );
    // Its holder is this process; another user's processes are known by their user only.
    let own = std::process::id().to_string();
    let user = if place.uid() == nix::unistd::Uid::current().as_raw() {
        own
    } else {
        "root".to_owned()
    };
    ensure!(
        outcome.text.contains(&user),
        "the holder ({user}) is not named"
    );
    ensure!(
        instance.processes().is_empty(),
        "something runs: {:?}",
        instance.processes()
    );
    drop(holder);
    instance.start()?;
    instance.stop()?;
    Ok(())
}
