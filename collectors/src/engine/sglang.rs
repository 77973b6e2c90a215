//! SGLang's processes: `python -m sglang.launch_server`, `sglang serve`, and the titles it gives its
//! children. Knows command lines only.

use super::args::{self, Opt};
use super::{Identity, Role, Server};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 30000;
/// Names longer than this are cut: they are labels, and anybody's to choose.
const MAX_NAME: usize = 120;

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
];

/// Recognises a server or a titled child.
pub fn recognise(argv: &[&str]) -> Option<Identity> {
    if let Some(title) = argv.first()?.strip_prefix("sglang::") {
        return role(title).map(Identity::Titled);
    }
    let args = server_args(argv)?;
    if args.iter().any(|arg| matches!(*arg, "-h" | "--help")) {
        return None;
    }
    Some(Identity::Server(Box::new(server(&args))))
}

/// `scheduler_DP1_TP0` and the like, without the engine's `sglang::`.
fn role(title: &str) -> Option<Role> {
    const ROLES: [(&str, Role); 5] = [
        ("scheduler", Role::Scheduler),
        ("detokenizer", Role::Detokenizer),
        ("data_parallel_controller", Role::DpController),
        ("tokenizer_worker", Role::TokenizerWorker),
        ("router", Role::Router),
    ];
    ROLES
        .iter()
        .find(|(start, _)| title.starts_with(start))
        .map(|(_, role)| *role)
}

/// The server's own arguments, if the process itself is one: not a shell, container runtime, editor or
/// test that merely has the words on its command line.
fn server_args<'a>(argv: &[&'a str]) -> Option<Vec<&'a str>> {
    let (program, args) = argv.split_first()?;
    match basename(program) {
        "sglang" => serve(args),
        name if name.starts_with("python") || name.starts_with("pypy") => python(args),
        _ => None,
    }
}

/// What Python is told to run: a module or a script, after options of its own.
fn python<'a>(args: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        at += 1;
        let Some(flags) = arg.strip_prefix('-') else {
            return script(arg, &args[at..]);
        };
        if flags.starts_with('-') {
            // `--check-hash-based-pycs WHEN` is the only long option.
            at += usize::from(arg == "--check-hash-based-pycs");
            continue;
        }
        // Flags may be joined (`-uB`); the first that takes a value takes the rest or the next word.
        let Some((i, flag)) = flags.char_indices().find(|(_, c)| "cmWX".contains(*c)) else {
            continue;
        };
        let joined = &flags[i + 1..];
        let value = if joined.is_empty() {
            at += 1;
            args.get(at - 1)?
        } else {
            joined
        };
        match flag {
            'm' => return module(value, args.get(at..).unwrap_or_default()),
            'c' => return None,
            _ => {}
        }
    }
    None
}

fn module<'a>(name: &str, args: &[&'a str]) -> Option<Vec<&'a str>> {
    match name {
        "sglang.launch_server" => Some(args.to_vec()),
        "sglang" | "sglang.cli.main" => serve(args),
        _ => None,
    }
}

fn script<'a>(path: &str, args: &[&'a str]) -> Option<Vec<&'a str>> {
    if path == "sglang/launch_server.py" || path.ends_with("/sglang/launch_server.py") {
        Some(args.to_vec())
    } else if basename(path) == "sglang" {
        serve(args)
    } else {
        None
    }
}

/// `serve MODEL …`: the model may come first, without its option.
fn serve<'a>(args: &[&'a str]) -> Option<Vec<&'a str>> {
    let (&"serve", args) = args.split_first()? else {
        return None;
    };
    let positional = args.first().is_some_and(|arg| !arg.starts_with('-'));
    let option = positional.then_some("--model-path");
    Some(option.into_iter().chain(args.iter().copied()).collect())
}

fn server(args: &[&str]) -> Server {
    let mut server = Server {
        engine: "sglang",
        host: DEFAULT_HOST.to_owned(),
        port: DEFAULT_PORT,
        model: None,
        tp: 1,
        dp: 1,
        pp: 1,
        ep: 1,
        nodes: 1,
        node_rank: 0,
        metrics: false,
        tls: false,
        config_file: false,
    };
    let (mut path, mut served) = (None, None);
    args::parse(args, OPTIONS, |key, value| {
        let value = value.unwrap_or_default();
        let number = |default| value.parse().unwrap_or(default);
        match key {
            Key::Host => server.host = cut(value),
            Key::Port => server.port = value.parse().unwrap_or(DEFAULT_PORT),
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
        }
    });
    server.model = served
        .or_else(|| path.map(|path: &str| basename(path.trim_end_matches('/'))))
        .filter(|name| !name.is_empty())
        .map(cut);
    server
}

fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn cut(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .take(MAX_NAME)
        .collect()
}

#[cfg(test)]
mod tests;
