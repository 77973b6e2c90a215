//! SGLang's processes: `python -m sglang.launch_server`, `sglang serve`, and the titles it gives its
//! children. Knows command lines only.

use super::args::{self, Opt};
use super::python::{self, Run, basename};
use super::server::{UNKNOWN_PORT, cut, model};
use super::{Identity, Role, Server};

const ENGINE: &str = "sglang";
/// How a server may be started, as its command line begins.
const MODULE: &str = "python3 -m sglang.launch_server";
const SERVE: &str = "sglang serve";
const ROUTER: &str = "sglang-router launch";
/// Where a router has its `/metrics`.
const ROUTER_METRICS_PORT: u16 = 29000;
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 30000;

/// The option of `sglang serve` that is read before the model.
const MODEL_TYPE: &str = "--model-type";

#[derive(Clone, Copy)]
enum Key {
    Host,
    Port,
    ModelPath,
    ServedName,
    Tp,
    Dp,
    Pp,
    Ep,
    Nodes,
    NodeRank,
    Metrics,
    Certificate,
    Config,
    Grpc,
    SidecarPort,
    PrometheusPort,
    MaxRunning,
    DpAttention,
    AttentionDp,
}

const fn valued(key: Key, spellings: &'static [&'static str]) -> Opt<Key> {
    Opt {
        key,
        spellings,
        takes_value: true,
    }
}

/// The options that matter here, with every spelling that any version has had.
const OPTIONS: &[Opt<Key>] = &[
    valued(Key::Host, &["--host"]),
    valued(Key::Port, &["--port"]),
    valued(Key::ModelPath, &["--model-path", "--model"]),
    valued(Key::ServedName, &["--served-model-name"]),
    valued(Key::Tp, &["--tp-size", "--tensor-parallel-size", "--tp"]),
    valued(Key::Dp, &["--dp-size", "--data-parallel-size", "--dp"]),
    valued(Key::Pp, &["--pp-size", "--pipeline-parallel-size", "--pp"]),
    valued(Key::Ep, &["--ep-size", "--expert-parallel-size", "--ep"]),
    valued(Key::Nodes, &["--nnodes"]),
    valued(Key::NodeRank, &["--node-rank"]),
    Opt {
        key: Key::Metrics,
        spellings: &["--enable-metrics"],
        takes_value: false,
    },
    valued(Key::Certificate, &["--ssl-certfile"]),
    valued(Key::Config, &["--config"]),
    valued(Key::MaxRunning, &["--max-running-requests"]),
    Opt {
        key: Key::DpAttention,
        spellings: &["--enable-dp-attention"],
        takes_value: false,
    },
    valued(
        Key::AttentionDp,
        &["--attn-dp-size", "--attention-data-parallel-size"],
    ),
    Opt {
        key: Key::Grpc,
        spellings: &["--grpc-mode", "--smg-grpc-mode"],
        takes_value: false,
    },
    valued(
        Key::SidecarPort,
        &["--smg-http-sidecar-port", "--grpc-http-sidecar-port"],
    ),
];

/// The same of a router.
const ROUTER_OPTIONS: &[Opt<Key>] = &[
    valued(Key::Host, &["--host"]),
    valued(Key::Port, &["--port"]),
    valued(Key::PrometheusPort, &["--prometheus-port"]),
];

/// Recognises a server, a router or a titled child.
pub fn recognise(argv: &[&str]) -> Option<Identity> {
    if let Some(title) = argv.first()?.strip_prefix("sglang::") {
        return titled(title);
    }
    let (command, args) = started_as(argv)?;
    if args.iter().any(|arg| matches!(*arg, "-h" | "--help")) {
        return None;
    }
    let server = match command {
        ROUTER => router(&args),
        _ => server(command, &args),
    };
    Some(Identity::Server(Box::new(server)))
}

/// A title, without the engine's `sglang::`: `scheduler_DP1_TP0`, `tokenizer_worker:4711` and the like.
fn titled(title: &str) -> Option<Identity> {
    const ROLES: [(&str, Role); 4] = [
        ("scheduler", Role::Scheduler),
        ("detokenizer", Role::Detokenizer),
        ("data_parallel_controller", Role::DpController),
        ("tokenizer_worker", Role::TokenizerWorker),
    ];
    // A server that a router started, and a router: the title took the place of their arguments.
    let destroyed = |router| {
        let server = Server {
            router,
            ..Server::new(ENGINE, DEFAULT_HOST, UNKNOWN_PORT)
        };
        Identity::Server(Box::new(server))
    };
    match title {
        "server" => return Some(destroyed(false)),
        "router" => return Some(destroyed(true)),
        _ => {}
    }
    ROLES
        .iter()
        .find(|(start, _)| title.starts_with(start))
        .map(|(_, role)| Identity::Titled(*role))
}

/// How the process itself was started, with the server's own arguments: not a shell, container runtime,
/// editor or test that merely has the words on its command line.
fn started_as<'a>(argv: &'a [&'a str]) -> Option<(&'static str, Vec<&'a str>)> {
    match python::run(argv) {
        Some(Run::Module(name, args)) => match name {
            "sglang.launch_server" => Some((MODULE, args.to_vec())),
            "sglang" | "sglang.cli.main" => serve(args),
            "sglang_router.launch_router" => Some((ROUTER, args.to_vec())),
            "sglang_router" | "smg" => launch(args),
            _ => None,
        },
        Some(Run::Script(path, args)) => match basename(path) {
            "launch_server.py"
                if path == "sglang/launch_server.py"
                    || path.ends_with("/sglang/launch_server.py") =>
            {
                Some((MODULE, args.to_vec()))
            }
            name => program(name, args),
        },
        None => program(basename(argv.first()?), argv.get(1..)?),
    }
}

/// A program that the packages install.
fn program<'a>(name: &str, args: &[&'a str]) -> Option<(&'static str, Vec<&'a str>)> {
    match name {
        "sglang" => serve(args),
        "sglang-router" | "smg" | "amg" | "sgl-model-gateway" => launch(args),
        _ => None,
    }
}

/// `launch …` of a router; the native program takes its options without that word, too.
fn launch<'a>(args: &[&'a str]) -> Option<(&'static str, Vec<&'a str>)> {
    match args.split_first()? {
        (&("launch" | "start"), rest) => Some((ROUTER, rest.to_vec())),
        (first, _) if first.starts_with("--") && !first.starts_with("--version") => {
            Some((ROUTER, args.to_vec()))
        }
        _ => None,
    }
}

/// `serve MODEL …`: the model may come first, without its option. Which kind of model it is may stand before it.
fn serve<'a>(args: &[&'a str]) -> Option<(&'static str, Vec<&'a str>)> {
    let (&"serve", args) = args.split_first()? else {
        return None;
    };
    let args = match args {
        [MODEL_TYPE, _, rest @ ..] => rest,
        [first, rest @ ..]
            if first
                .strip_prefix(MODEL_TYPE)
                .is_some_and(|it| it.starts_with('=')) =>
        {
            rest
        }
        args => args,
    };
    let positional = args.first().is_some_and(|arg| !arg.starts_with('-'));
    let option = positional.then_some("--model-path");
    let args = option.into_iter().chain(args.iter().copied()).collect();
    Some((SERVE, args))
}

fn server(command: &'static str, args: &[&str]) -> Server {
    let mut server = Server {
        command,
        ..Server::new(ENGINE, DEFAULT_HOST, DEFAULT_PORT)
    };
    let (mut path, mut served) = (None, None);
    let (mut max_running, mut dp_attention, mut attention_dp) = (None::<u32>, false, 1);
    args::parse(args, OPTIONS, |key, value| {
        let value = value.unwrap_or_default();
        let number = |default| value.parse().unwrap_or(default);
        match key {
            Key::Host => server.host = cut(value),
            Key::Port => server.set_port(value),
            Key::ModelPath => path = Some(value),
            Key::ServedName => served = Some(value),
            Key::Tp => server.tp = number(1),
            Key::Dp => server.dp = number(1),
            Key::Pp => server.pp = number(1),
            Key::Ep => server.ep = number(1),
            Key::Nodes => server.nodes = number(1),
            Key::NodeRank => server.node_rank = number(0),
            Key::Metrics => server.metrics = true,
            Key::Certificate => server.tls = true,
            Key::Config => server.config_file = true,
            Key::Grpc => server.grpc = true,
            Key::SidecarPort => server.sidecar_port = value.parse().ok(),
            Key::MaxRunning => max_running = value.parse().ok().filter(|max| *max > 0),
            Key::DpAttention => dp_attention = true,
            Key::AttentionDp => attention_dp = number(1),
            Key::PrometheusPort => {}
        }
    });
    // Replicas have as much each; with DP attention they share it.
    let replicas = if dp_attention { 1 } else { server.dp };
    server.max_running = max_running.and_then(|max| max.checked_mul(replicas));
    server.dp = server.dp.saturating_mul(attention_dp);
    server.model = model(served, path);
    server
}

fn router(args: &[&str]) -> Server {
    let mut server = Server {
        router: true,
        metrics_port: Some(ROUTER_METRICS_PORT),
        ..Server::new(ENGINE, DEFAULT_HOST, DEFAULT_PORT)
    };
    args::parse(args, ROUTER_OPTIONS, |key, value| {
        let value = value.unwrap_or_default();
        match key {
            Key::Host => server.host = cut(value),
            Key::Port => server.set_port(value),
            Key::PrometheusPort => server.metrics_port = value.parse().ok(),
            _ => {}
        }
    });
    server
}

#[cfg(test)]
mod tests;
