//! What is bound into images of other distributions.

use anyhow::{Context as _, ensure};
use harness::place::Place;

/// The oldest glibc that must do: RHEL 8's.
const NEWEST_ALLOWED: (u32, u32) = (2, 28);

/// No symbol version above 2.28 is required by the plugin, the launcher or the simulated library.
pub fn need_glibc_2_28(place: &Place) -> anyhow::Result<()> {
    for file in [
        "lib/netdata-launcher/rs.d.plugin",
        "bin/launcher",
        "simulated/libnvidia-ml.so.1",
    ] {
        let bytes = std::fs::read(place.dist.join(file)).with_context(|| file.to_owned())?;
        let newest = versions(&bytes)
            .max()
            .with_context(|| format!("{file}: names no glibc"))?;
        eprintln!("{file}: GLIBC_{}.{}", newest.0, newest.1);
        ensure!(
            newest <= NEWEST_ALLOWED,
            "{file} needs glibc {}.{}",
            newest.0,
            newest.1
        );
    }
    Ok(())
}

/// Every `GLIBC_x.y` in the file's string tables.
fn versions(bytes: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    bytes.split(|byte| *byte == 0).filter_map(|word| {
        let text = std::str::from_utf8(word).ok()?;
        let mut parts = text.strip_prefix("GLIBC_")?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}
