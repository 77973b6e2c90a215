//! The dashboard's port, and the way to the rest of the world.

use std::env;
use std::fs;

use nix::unistd::Uid;

use super::{Check, Finding, Machine};
use crate::ports;
use crate::settings::{DEFAULT_PORT, Listen};

/// Where distributions keep the certificates of authorities.
const CERTIFICATES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "port",
        what: "the dashboard's port",
        run: port,
    },
    Check {
        id: "dashboard",
        what: "the dashboard answers",
        run: dashboard,
    },
    Check {
        id: "certificates",
        what: "certificates of authorities",
        run: certificates,
    },
    Check {
        id: "proxy",
        what: "a proxy on the way out",
        run: proxy,
    },
];

fn port(machine: &Machine) -> Finding {
    if let Some(record) = &machine.record {
        // A port may have been taken by somebody else's program between two starts.
        let listeners = ports::listeners(&machine.proc, record.port);
        let own = Uid::effective().as_raw();
        return match listeners.iter().find(|listener| listener.uid != own) {
            None if listeners.is_empty() => Finding::fail(
                format!("nothing listens on {}", record.port),
                "launcher logs says why; launcher restart",
            ),
            None => Finding::pass(format!("{}, ours", record.port)),
            Some(listener) => Finding::fail(
                format!("user id {} listens on {} too", listener.uid, record.port),
                "what is shown there may not be ours: launcher restart --port N",
            ),
        };
    }
    let settings = machine.settings.as_ref();
    let port = settings
        .and_then(|settings| settings.port)
        .unwrap_or(DEFAULT_PORT);
    let listen = settings
        .and_then(|settings| settings.listen)
        .unwrap_or(Listen::All);
    match ports::check_free(&machine.proc, listen, port) {
        Ok(()) => Finding::pass(format!("{port} is free")),
        Err(error) => {
            let text = format!("{error:#}");
            let found = text.lines().next().unwrap_or_default().to_owned();
            Finding::fail(found, "choose another one with --port N")
        }
    }
}

fn dashboard(machine: &Machine) -> Finding {
    let Some(report) = &machine.report else {
        return Finding::skip("Netdata is not running");
    };
    match &report.api_error {
        None => Finding::pass(report.urls.join(", ")),
        Some(error) => Finding::fail(error.clone(), "launcher logs; launcher restart"),
    }
}

fn certificates(_machine: &Machine) -> Finding {
    let found = CERTIFICATES
        .iter()
        .find(|file| fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() > 0));
    match found {
        Some(file) => Finding::pass(*file),
        None => Finding::warn(
            "none found on this machine",
            "the image's own are used; for a site's own authority ask for ca-certificates",
        ),
    }
}

fn proxy(machine: &Machine) -> Finding {
    let set: Vec<&str> = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"]
        .into_iter()
        .filter(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
        .collect();
    let claims = machine
        .settings
        .as_ref()
        .and_then(|settings| settings.claim.as_ref());
    match (set.first(), claims) {
        (None, _) => Finding::pass("none"),
        (Some(name), Some(claim)) if claim.proxy.is_none() => Finding::warn(
            format!("{name} is set, NETDATA_CLAIM_PROXY is not"),
            "Netdata reaches its Cloud through NETDATA_CLAIM_PROXY only: set it in .env",
        ),
        // Its value may hold a password.
        (Some(name), _) => Finding::pass(format!("{name} is set: pulls go through it")),
    }
}
