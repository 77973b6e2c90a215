//! The image, and whether the plugin runs in it.

use std::time::Duration;

use nix::unistd::{AccessFlags, access};

use super::{Check, Finding, Machine};
use crate::ask::ask;
use crate::container::PLUGIN_INSIDE;
use crate::image::{self, ImageRecord};

/// Loading takes 0.3 s; unpacking the image first up to 15 s.
const LOADING: Duration = Duration::from_secs(40);

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "image",
        what: "the image",
        run: image,
    },
    Check {
        id: "plugin",
        what: "the plugin loads inside the image (glibc)",
        run: plugin,
    },
    Check {
        id: "binds",
        what: "what is bound into the container",
        run: binds,
    },
];

fn image(machine: &Machine) -> Finding {
    let Some(container) = &machine.container else {
        return Finding::skip("see the plugin and the settings");
    };
    if !container.image.exists() {
        return Finding::skip("none yet: launcher start gets it");
    }
    if let Err(error) = image::check_sif(&container.image) {
        return Finding::fail(format!("{error:#}"), "get it again: launcher pull");
    }
    let record =
        ImageRecord::load(&machine.paths).filter(|_| container.image == machine.paths.image());
    let from = record.map_or(String::new(), |record| {
        format!(", made from {}", record.source)
    });
    Finding::pass(format!("{}{from}", container.image.display()))
}

fn plugin(machine: &Machine) -> Finding {
    let Some((runtime, container)) = machine.container() else {
        return Finding::skip("no image yet, or no runtime");
    };
    match ask(
        runtime.exec(container, &[PLUGIN_INSIDE, "--version"]),
        LOADING,
    ) {
        Some(answer) if answer.ok => Finding::pass(answer.last_line()),
        Some(answer) => Finding::fail(
            answer.last_line(),
            "an image of another kind (--image), or a plugin for this one (--plugin)",
        ),
        None => Finding::fail("it does not end", "launcher shell, and try it there"),
    }
}

/// A source that is missing is fatal to the runtime, so the launcher leaves it out: then its readings are missing.
fn binds(machine: &Machine) -> Finding {
    let wanted = [
        ("/var/run/dbus/system_bus_socket", "systemd's units"),
        ("/etc/passwd", "names of users"),
        ("/etc/group", "names of groups"),
    ];
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(source, _)| !std::path::Path::new(source).exists())
        .map(|(source, what)| format!("{source} ({what})"))
        .collect();
    let own = machine
        .settings
        .as_ref()
        .map_or(&[][..], |settings| &settings.binds);
    // Whether they are there is a matter of the settings. These are the runtime's reasons to end.
    let closed = own.iter().find(|bind| {
        let wanted = match bind.writable {
            true => AccessFlags::R_OK | AccessFlags::W_OK,
            false => AccessFlags::R_OK,
        };
        access(&bind.source, wanted).is_err()
    });
    if let Some(bind) = closed {
        return Finding::warn(
            format!("{} may not be opened by you", bind.source.display()),
            "what is in it stays unseen, or the start fails: another --bind (LAUNCHER_BINDS)",
        );
    }
    if missing.is_empty() {
        return Finding::pass(format!("all there, and {} of your own", own.len()));
    }
    Finding::pass(format!(
        "left out, as they are not here: {}",
        missing.join(", ")
    ))
}
