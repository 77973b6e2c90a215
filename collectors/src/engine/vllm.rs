//! vLLM's processes: `vllm serve`, its module of the OpenAI API, and the titles of its children.

use super::args::{self, Opt};
use super::python::{self, Run, basename};
use super::server::{cut, model};
use super::{Identity, Role, Server};

/// It listens on every address unless told otherwise.
const DEFAULT_HOST: &str = "0.0.0.0";
const DEFAULT_PORT: u16 = 8000;

#[derive(Clone, Copy)]
enum Key {
    Host,
    Port,
    Model,
    ServedName,
    Tp,
    Pp,
    Dp,
    Certificate,
    Config,
}

const fn valued(key: Key, spellings: &'static [&'static str]) -> Opt<Key> {
    Opt {
        key,
        spellings,
        takes_value: true,
    }
}

const OPTIONS: &[Opt<Key>] = &[
    valued(Key::Host, &["--host"]),
    valued(Key::Port, &["--port"]),
    valued(Key::Model, &["--model"]),
    valued(Key::ServedName, &["--served-model-name"]),
    valued(Key::Tp, &["--tensor-parallel-size"]),
    valued(Key::Pp, &["--pipeline-parallel-size"]),
    valued(Key::Dp, &["--data-parallel-size"]),
    valued(Key::Certificate, &["--ssl-certfile"]),
    valued(Key::Config, &["--config"]),
];

/// Recognises a server or a titled child.
pub fn recognise(argv: &[&str]) -> Option<Identity> {
    if let Some(title) = argv.first()?.strip_prefix("VLLM::") {
        const ROLES: [(&str, Role); 4] = [
            ("EngineCore", Role::Scheduler),
            ("Worker", Role::Worker),
            ("APIServer", Role::TokenizerWorker),
            ("DPCoordinator", Role::DpController),
        ];
        let role = ROLES.iter().find(|(start, _)| title.starts_with(start))?.1;
        return Some(Identity::Titled(role));
    }
    let args = match python::run(argv) {
        Some(Run::Module("vllm.entrypoints.openai.api_server", args)) => args.to_vec(),
        Some(Run::Module("vllm.entrypoints.cli.main" | "vllm", args)) => serve(args)?,
        Some(Run::Script(path, args)) if basename(path) == "vllm" => serve(args)?,
        None if basename(argv.first()?) == "vllm" => serve(argv.get(1..)?)?,
        _ => return None,
    };
    let helps = |arg: &&str| *arg == "-h" || arg.starts_with("--help");
    (!args.iter().any(helps)).then(|| Identity::Server(Box::new(server(&args))))
}

/// `serve MODEL …`.
fn serve<'a>(args: &[&'a str]) -> Option<Vec<&'a str>> {
    let (&"serve", args) = args.split_first()? else {
        return None;
    };
    let positional = args.first().is_some_and(|arg| !arg.starts_with('-'));
    let option = positional.then_some("--model");
    Some(option.into_iter().chain(args.iter().copied()).collect())
}

fn server(args: &[&str]) -> Server {
    let mut server = Server {
        metrics: true,
        ..Server::new("vllm", DEFAULT_HOST, DEFAULT_PORT)
    };
    let (mut path, mut served) = (None, None);
    args::parse(args, OPTIONS, |key, value| {
        let value = value.unwrap_or_default();
        let number = || value.parse().unwrap_or(1);
        match key {
            Key::Host => server.host = cut(value),
            Key::Port => server.set_port(value),
            Key::Model => path = Some(value),
            Key::ServedName => served = Some(value),
            Key::Tp => server.tp = number(),
            Key::Pp => server.pp = number(),
            Key::Dp => server.dp = number(),
            Key::Certificate => server.tls = true,
            Key::Config => server.config_file = true,
        }
    });
    server.model = model(served, path);
    server
}
