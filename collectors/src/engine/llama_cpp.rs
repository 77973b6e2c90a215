//! llama.cpp's server: `llama-server`.

use super::python::basename;
use super::server::{cut, model};
use super::{Identity, Server};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 8080;

/// Recognises a server.
pub fn recognise(argv: &[&str]) -> Option<Identity> {
    let (program, args) = argv.split_first()?;
    if basename(program) != "llama-server" {
        return None;
    }
    let mut server = Server::new("llama.cpp", DEFAULT_HOST, DEFAULT_PORT);
    let (mut alias, mut path) = (None, None);
    let mut args = args.iter();
    // Its options have no abbreviations and no `=`.
    while let Some(arg) = args.next() {
        let mut value = || args.next().copied().unwrap_or_default();
        match *arg {
            "-h" | "--help" | "--version" => return None,
            "--host" => server.host = cut(value()),
            "--port" => server.set_port(value()),
            "-m" | "--model" | "-hf" | "--hf-repo" => path = Some(value()),
            "-a" | "--alias" => alias = Some(value()),
            "--metrics" => server.metrics = true,
            "--ssl-cert-file" => server.tls = true,
            _ => {}
        }
    }
    server.model = model(alias, path);
    Some(Identity::Server(Box::new(server)))
}
