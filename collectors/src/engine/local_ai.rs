//! LocalAI: `local-ai`, and the backends it starts for its models.

use super::python::basename;
use super::{Identity, Role, Server};

const DEFAULT_HOST: &str = "0.0.0.0";
const DEFAULT_PORT: u16 = 8080;
/// Its verbs that end by themselves.
const NO_SERVERS: [&str; 8] = [
    "models",
    "backends",
    "tts",
    "sound-generation",
    "transcript",
    "util",
    "worker",
    "explorer",
];

/// Recognises the server and its backends.
pub fn recognise(argv: &[&str]) -> Option<Identity> {
    let (program, args) = argv.split_first()?;
    // Backends are programs of its own directories, told where to listen for it.
    if program.contains("/backend") && args.contains(&"--addr") {
        return Some(Identity::Titled(Role::Worker));
    }
    if !matches!(basename(program), "local-ai" | "localai") {
        return None;
    }
    let verb = args.first().copied().unwrap_or_default();
    if NO_SERVERS.contains(&verb)
        || args
            .iter()
            .any(|it| matches!(*it, "-h" | "--help" | "--version"))
    {
        return None;
    }
    let mut server = Server {
        metrics: true,
        ..Server::new("localai", DEFAULT_HOST, DEFAULT_PORT)
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let address = match arg.strip_prefix("--address") {
            Some("") => args.next().copied(),
            Some(attached) => attached.strip_prefix('='),
            None => None,
        };
        if let Some((host, port)) = address.and_then(|address| address.rsplit_once(':')) {
            server.set_port(port);
            if !host.is_empty() {
                server.host = super::server::cut(host);
            }
        }
    }
    Some(Identity::Server(Box::new(server)))
}
