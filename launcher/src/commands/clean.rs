//! `clean`: removes what can be had again: downloads, leftovers of pulls, logs put aside.

use std::process::ExitCode;

use anyhow::Result;

use super::Scene;
use crate::cli::CleanArgs;
use crate::instance::State;
use crate::log_files;
use crate::paths::Paths;
use crate::removal::Removal;

const MIB: u64 = 1024 * 1024;

pub(super) fn run(scene: &Scene, args: &CleanArgs) -> Result<ExitCode> {
    let mut removal = Removal::new(args.dry_run);
    if scene.paths.home().exists() {
        // Also so that nobody's pull loses its workspace.
        let _lock = scene.take("clean")?;
        removal.take(&scene.paths.workspace(), "left by a pull that was killed")?;
        for kept in log_files::all_kept(&scene.paths.log_file()) {
            removal.take(&kept, "an earlier log")?;
        }
        removal.take(&scene.paths.pull_log(), "what the last pull printed")?;
        if !matches!(scene.instance.state()?, State::Running(_)) {
            for name in ["tmp", "shm"] {
                let dir = scene.paths.state_dir(name);
                removal.take(&dir, "temporary files")?;
            }
            if !args.dry_run {
                scene.paths.create()?;
            }
        }
    }
    removal.take_downloads(&Paths::cache_dir()?)?;
    let verb = if args.dry_run { "would free" } else { "freed" };
    out!("{verb} {} MiB", removal.bytes() / MIB);
    Ok(ExitCode::SUCCESS)
}
