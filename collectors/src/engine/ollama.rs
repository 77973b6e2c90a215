//! Ollama: `ollama serve`, and the runner it starts for each model.

use super::python::basename;
use super::{Identity, Role, Server};

/// `OLLAMA_HOST` may say otherwise, which only its sockets show.
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 11434;

/// Recognises the server and its runners.
pub fn recognise(argv: &[&str]) -> Option<Identity> {
    let (program, args) = argv.split_first()?;
    match (basename(program), args.first()) {
        ("ollama", Some(&("serve" | "start"))) => {
            let server = Server::new("ollama", DEFAULT_HOST, DEFAULT_PORT);
            Some(Identity::Server(Box::new(server)))
        }
        ("ollama", Some(&"runner")) | ("ollama_llama_server", _) => {
            Some(Identity::Titled(Role::Worker))
        }
        _ => None,
    }
}
