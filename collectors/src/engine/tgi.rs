//! Text Generation Inference: its launcher, the router that answers HTTP, and a shard for each GPU.

use super::args::{self, Opt};
use super::python::{self, Run, basename};
use super::server::{cut, model};
use super::{Identity, Role, Server};

const DEFAULT_HOST: &str = "0.0.0.0";
/// The image sets another by `PORT`, which only its sockets show.
const DEFAULT_PORT: u16 = 3000;

#[derive(Clone, Copy)]
enum Key {
    Host,
    Port,
    Model,
    Shards,
}

const fn valued(key: Key, spellings: &'static [&'static str]) -> Opt<Key> {
    Opt {
        key,
        spellings,
        takes_value: true,
    }
}

const OPTIONS: &[Opt<Key>] = &[
    valued(Key::Host, &["--hostname"]),
    valued(Key::Port, &["--port"]),
    valued(Key::Model, &["--model-id"]),
    valued(Key::Shards, &["--num-shard"]),
];

/// Recognises the launcher, the router and the shards.
pub fn recognise(argv: &[&str]) -> Option<Identity> {
    let (name, args) = match python::run(argv) {
        Some(Run::Script(path, args)) => (basename(path), args),
        _ => (basename(argv.first()?), argv.get(1..)?),
    };
    match name {
        "text-generation-launcher" if !args.iter().any(|arg| matches!(*arg, "-h" | "--help")) => {
            Some(Identity::Server(Box::new(server(args))))
        }
        "text-generation-router" => Some(Identity::Titled(Role::Router)),
        "text-generation-server" if args.first() == Some(&"serve") => {
            Some(Identity::Titled(Role::Worker))
        }
        _ => None,
    }
}

fn server(args: &[&str]) -> Server {
    let mut server = Server {
        metrics: true,
        ..Server::new("tgi", DEFAULT_HOST, DEFAULT_PORT)
    };
    let mut path = None;
    args::parse(args, OPTIONS, |key, value| {
        let value = value.unwrap_or_default();
        match key {
            Key::Host => server.host = cut(value),
            Key::Port => server.set_port(value),
            Key::Model => path = Some(value),
            Key::Shards => server.tp = value.parse().unwrap_or(1),
        }
    });
    server.model = model(None, path);
    server
}
