//! `update`: gets the newest image of the same source, says what changes, and restarts what runs on the old one.
//! Image, databases and identity are kept until the new Netdata has come up; if it does not, all of them return.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::{Scene, restart, start, stop};
use crate::cli::{PullArgs, StartFlags};
use crate::image::{self, Fetched, ImageRecord};
use crate::instance::State;
use crate::process::FileId;
use crate::runtime::Runtime;
use crate::snapshot;

pub(super) fn run(scene: &Scene, args: &PullArgs) -> Result<ExitCode> {
    let _lock = scene.take("update")?;
    let asked = StartFlags {
        image: args.image.clone(),
        ..StartFlags::default()
    };
    let asked = scene.settings(&asked)?.image;
    let remembered = restart::remembered(scene);
    if asked.is_none()
        && let Some(file) = remembered.image.as_deref().and_then(image::finished)
    {
        bail!(
            "Netdata runs from {}, which is used where it is: replace that file, then launcher restart\n\
             (or change to another source: launcher update --image docker://NAME)",
            file.display()
        );
    }
    let earlier = ImageRecord::load(&scene.paths).filter(|_| scene.paths.image().exists());
    let asked = asked.or(remembered.image.clone());
    let fetched = image::fetch(&Runtime::find()?, &scene.paths, asked.as_deref())?;
    let new = &fetched.record;
    // From now on the image of this home is what runs, wherever the earlier one was from.
    let flags = StartFlags {
        image: None,
        ..remembered
    };
    if earlier
        .as_ref()
        .is_some_and(|earlier| earlier.is_same_as(new))
    {
        out!(
            "nothing newer: {} of {}, Netdata {}",
            new.name(),
            new.source,
            new.version()
        );
        return same(scene, flags);
    }
    for line in new.changes(earlier.as_ref()) {
        out!("{line}");
    }
    install(scene, fetched, &flags)
}

/// The image is the newest; what runs may still be from the one before.
fn same(scene: &Scene, flags: StartFlags) -> Result<ExitCode> {
    if let State::Running(record) = scene.instance.state()?
        && record.image == scene.paths.image()
        && record.image_id != FileId::of(&record.image)
    {
        return restart::again(scene, flags);
    }
    Ok(ExitCode::SUCCESS)
}

fn install(scene: &Scene, fetched: Fetched, flags: &StartFlags) -> Result<ExitCode> {
    // What can be found out before anything stops is found out now.
    let mut prepared = start::Prepared::new(scene, flags)?;
    prepared.try_file(fetched.path())?;
    snapshot::check_room(&scene.paths)?;
    let running = matches!(scene.instance.state()?, State::Running(_));
    if running {
        tell!("{}", stop::end(scene)?);
    }
    prepared.use_file(scene.paths.image());
    let installed = snapshot::keep(&scene.paths).and_then(|()| fetched.install(&scene.paths));
    if let Err(error) = installed {
        if running {
            tell!("starting the earlier image again");
            prepared.start(scene)?;
        }
        return Err(error);
    }
    if running {
        return prepared.start(scene);
    }
    out!(
        "Netdata is not running: launcher start (it goes back to the earlier image if this one does not come up)"
    );
    Ok(ExitCode::SUCCESS)
}
