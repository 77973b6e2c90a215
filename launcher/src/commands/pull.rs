//! `pull`: gets the image, or a newer one of the same source.

use std::process::ExitCode;

use anyhow::Result;

use super::Scene;
use crate::cli::{PullArgs, StartFlags};
use crate::image;
use crate::instance::State;
use crate::runtime::Runtime;

const MIB: u64 = 1024 * 1024;

pub(super) fn run(scene: &Scene, args: &PullArgs) -> Result<ExitCode> {
    let _lock = scene.take("pull")?;
    get(scene, args)?;
    if matches!(scene.instance.state()?, State::Running(_)) {
        out!("what runs still uses the earlier image: launcher restart");
    }
    Ok(ExitCode::SUCCESS)
}

/// Gets it and says what it is. The caller holds the home.
pub(super) fn get(scene: &Scene, args: &PullArgs) -> Result<()> {
    let flags = StartFlags {
        image: args.image.clone(),
        ..StartFlags::default()
    };
    let asked = scene.settings(&flags)?.image;
    let record = image::pull(&Runtime::find()?, &scene.paths, asked.as_deref())?;
    let name = record.name();
    let version = record
        .version
        .map_or(String::new(), |version| format!(", Netdata {version}"));
    out!(
        "{} is ready: {} MiB from {}, {name}{version}",
        scene.paths.image().display(),
        record.bytes / MIB,
        record.source
    );
    Ok(())
}
