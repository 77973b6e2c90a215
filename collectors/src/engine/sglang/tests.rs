//! Command lines of servers and of what only looks like one.

use super::*;
use crate::engine::server::MAX_NAME;
use crate::engine::{Address, identify};
use crate::fixtures;

/// Splits at blanks; a quoted part stays whole.
fn argv(line: &str) -> Vec<&str> {
    let mut parts = line.split('\'');
    let mut argv = vec![];
    while let Some(plain) = parts.next() {
        argv.extend(plain.split_ascii_whitespace());
        argv.extend(parts.next());
    }
    argv
}

fn read(line: &str) -> Option<Server> {
    match recognise(&argv(line))? {
        Identity::Server(server) => {
            (!server.router && server.port != UNKNOWN_PORT).then_some(*server)
        }
        Identity::Titled(_) => None,
    }
}

/// Command line; name of the server; model.
const SERVERS: &[(&str, &str, Option<&str>)] = &[
    ("python -m sglang.launch_server", "127.0.0.1:30000", None),
    (
        "python3 -m sglang.launch_server --model-path /models/meta/Llama-3.1-8B/ --host 0.0.0.0 --port 30000 --tp 4",
        "127.0.0.1:30000",
        Some("Llama-3.1-8B"),
    ),
    (
        "/opt/conda/bin/python3.11 -u -m sglang.launch_server --model qwen/Qwen3 --port=31000",
        "127.0.0.1:31000",
        Some("Qwen3"),
    ),
    (
        "python -uB -msglang.launch_server --po 31001",
        "127.0.0.1:31001",
        None,
    ),
    (
        "python -W ignore -X dev -m sglang.launch_server --po=31002",
        "127.0.0.1:31002",
        None,
    ),
    (
        "python -Wignore -m sglang.launch_server --port 1 --port 31003",
        "127.0.0.1:31003",
        None,
    ),
    (
        "python -m sglang.launch_server --ho :: --port 31004",
        "[::1]:31004",
        None,
    ),
    (
        "python -m sglang.launch_server --host localhost",
        "127.0.0.1:30000",
        None,
    ),
    (
        "python -m sglang.launch_server --host 10.0.0.7",
        "10.0.0.7:30000",
        None,
    ),
    (
        "python -m sglang.launch_server --host gpu1.lab",
        "gpu1.lab:30000",
        None,
    ),
    (
        "python -m sglang.launch_server --model-p a/b --se nice",
        "127.0.0.1:30000",
        Some("nice"),
    ),
    (
        "python -m sglang.launch_server --model-path a/b --served-model-name x --served-model-name y",
        "127.0.0.1:30000",
        Some("y"),
    ),
    (
        "python /usr/lib/python3/site-packages/sglang/launch_server.py --port 31005",
        "127.0.0.1:31005",
        None,
    ),
    (
        "python sglang/launch_server.py --port 31006",
        "127.0.0.1:31006",
        None,
    ),
    (
        "sglang serve meta/Llama --port 31007",
        "127.0.0.1:31007",
        Some("Llama"),
    ),
    (
        "/venv/bin/python /venv/bin/sglang serve --model-path m/n",
        "127.0.0.1:30000",
        Some("n"),
    ),
    (
        "python -m sglang.cli.main serve m/n --port 31008",
        "127.0.0.1:31008",
        Some("n"),
    ),
    (
        "python -m sglang.launch_server --api-key s3cret --admin-api-key=s3cret --port 31009",
        "127.0.0.1:31009",
        None,
    ),
    (
        "python -m sglang.launch_server --json-model-override-args '{\"--port\": 1}' --port 31010",
        "127.0.0.1:31010",
        None,
    ),
    (
        "python -m sglang.launch_server --port none",
        "127.0.0.1:30000",
        None,
    ),
];

const DECOYS: &[&str] = &[
    "",
    "python",
    "python -m",
    "python -m sglang",
    "python -m sglang.bench_serving --port 30000",
    "python -m sglang.launch_server_router",
    "python -m sglang_router.launch_server --port 30000",
    "python -m sglang.launch_server --help",
    "python -m pytest test/sglang/launch_server.py",
    "python -c 'import os' -m sglang.launch_server",
    "python3 -c from",
    "python run.py -m sglang.launch_server",
    "python my_launch_server.py",
    "python other/launch_server.py",
    "python /x/sglang/launch_server.py.bak",
    "vim /x/sglang/launch_server.py",
    "vim launch_server.py",
    "grep -r sglang.launch_server .",
    "less sglang",
    "tail -f sglang.launch_server.log",
    "bash -c 'python -m sglang.launch_server --port 30000'",
    "sh run.sh -m sglang.launch_server",
    "apptainer exec --nv sglang.sif python3 -m sglang.launch_server --port 30000",
    "singularity run x.sif python3 -m sglang.launch_server",
    "Apptainer runtime parent",
    "docker run lmsysorg/sglang python3 -m sglang.launch_server",
    "srun python -m sglang.launch_server",
    "nohup python -m sglang.launch_server",
    "timeout 60 python -m sglang.launch_server",
    "sudo python -m sglang.launch_server",
    "uv run python -m sglang.launch_server",
    "sglang version",
    "sglang generate --prompt serve",
    "sglang-router launch --port 30000",
    "sglang::scheduler_TP0",
    "sglang::detokenizer",
    "sglang::server",
    "ssh host python -m sglang.launch_server",
];

#[test]
fn servers_are_recognised_with_their_address_and_model() {
    for (line, name, model) in SERVERS {
        let server = read(line).unwrap_or_else(|| panic!("not recognised: {line}"));
        assert_eq!(
            (&*server.name(), server.model.as_deref()),
            (*name, *model),
            "{line}"
        );
    }
}

#[test]
fn what_only_mentions_a_server_is_none() {
    for line in DECOYS {
        assert_eq!(read(line), None, "{line}");
    }
}

#[test]
fn titled_children_have_the_role_of_their_title() {
    for (title, expected) in [
        ("sglang::scheduler", Some(Role::Scheduler)),
        ("sglang::scheduler_DP1_PP0_TP3_EP3", Some(Role::Scheduler)),
        ("sglang::detokenizer", Some(Role::Detokenizer)),
        ("sglang::data_parallel_controller", Some(Role::DpController)),
        ("sglang::tokenizer_worker:4711", Some(Role::TokenizerWorker)),
        ("sglang::", None),
    ] {
        assert_eq!(
            recognise(&[title]),
            expected.map(Identity::Titled),
            "{title}"
        );
    }
}

#[test]
fn routers_and_what_they_started_are_servers_whose_port_may_be_unknown() {
    for (line, router, port) in [
        ("sglang::router", true, UNKNOWN_PORT),
        ("sglang::server", false, UNKNOWN_PORT),
        ("sglang-router launch --port 31000", true, 31000),
        ("python -m sglang_router.launch_router", true, DEFAULT_PORT),
        ("smg launch --port 31001", true, 31001),
    ] {
        let Some(Identity::Server(server)) = recognise(&argv(line)) else {
            panic!("not recognised: {line}")
        };
        assert_eq!((server.router, server.port), (router, port), "{line}");
    }
}

#[test]
fn the_way_it_was_started_is_known() {
    for (line, command) in [
        (
            "python -m sglang.launch_server",
            "python3 -m sglang.launch_server",
        ),
        ("python /v/bin/sglang serve m", "sglang serve"),
    ] {
        assert_eq!(read(line).unwrap().command, command);
    }
}

#[test]
fn sizes_and_switches_are_read() {
    let line = "python -m sglang.launch_server --tp 4 --data-parallel-size=2 --pp-s 3 --ep 8 \
                --nnodes 2 --node-rank 1 --enable-metrics --ssl-certfile a.pem --conf f.yaml";
    let server = read(line).unwrap();
    assert_eq!((server.tp, server.dp, server.pp, server.ep), (4, 2, 3, 8));
    assert_eq!((server.nodes, server.node_rank), (2, 1));
    assert!(server.metrics && server.tls && server.config_file);
    let server = read("python -m sglang.launch_server --dp 2 --attn-dp-size=4").unwrap();
    assert_eq!(server.dp, 8);
    let server = read("python -m sglang.launch_server --tensor 2 --tp x").unwrap();
    assert_eq!(server.tp, 1);
    assert!(!server.metrics && !server.tls && !server.config_file);
}

#[test]
fn a_switch_for_all_schedulers_alone_does_not_turn_metrics_on() {
    let line = "python -m sglang.launch_server --enable-metrics-for-all-schedulers";
    assert!(!read(line).unwrap().metrics);
}

#[test]
fn how_many_requests_may_run_is_over_all_replicas() {
    for (line, most) in [
        ("--max-running-requests 64", Some(64)),
        ("--max-run=64 --dp 4", Some(256)),
        (
            "--max-running-requests 64 --dp-size 4 --enable-dp-attention",
            Some(64),
        ),
        ("--max-running-requests 64 --attn-dp-size 4", Some(64)),
        ("--max-running-requests 0", None),
        ("--max-running-requests many", None),
        ("--max-running-requests 4294967295 --dp 2", None),
        ("", None),
    ] {
        let server = read(&format!("python -m sglang.launch_server {line}")).unwrap();
        assert_eq!(server.max_running, most, "{line}");
    }
}

#[test]
fn no_secret_of_a_command_line_is_kept() {
    let line = "python -m sglang.launch_server --api-key s3cret --admin-api-key=s3cret --port 1";
    let kept = format!("{:?}", recognise(&argv(line)));
    assert!(!kept.contains("s3cret"), "{kept}");
}

#[test]
fn names_are_cut_and_hold_no_control_characters() {
    let evil = format!(
        "python -m sglang.launch_server --served-model-name a\u{7}{}",
        "b".repeat(500)
    );
    let model = read(&evil).unwrap().model.unwrap();
    assert_eq!(model.chars().count(), MAX_NAME);
    assert!(model.starts_with("a_b"), "{model}");
}

#[test]
fn the_captured_processes_of_each_version_have_their_roles() {
    for (version, port, roles) in [
        (
            "0.4.6.post5",
            31504,
            vec![Role::Scheduler, Role::Detokenizer],
        ),
        ("0.5.12", 31512, vec![Role::Scheduler, Role::Detokenizer]),
        ("0.5.23", 31523, vec![Role::Scheduler, Role::Detokenizer]),
        (
            "0.5.23-dp2-auth",
            31525,
            vec![
                Role::Scheduler,
                Role::Scheduler,
                Role::Detokenizer,
                Role::DpController,
            ],
        ),
    ] {
        let (mut servers, mut found) = (vec![], vec![]);
        for entry in std::fs::read_dir(fixtures::sglang(version)).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with("_cmdline.bin") {
                match identify(&std::fs::read(&path).unwrap()) {
                    Some(Identity::Server(server)) => servers.push(server),
                    Some(Identity::Titled(role)) => found.push(role),
                    None => {}
                }
            }
        }
        found.sort();
        assert_eq!(found, roles, "{version}");
        assert_eq!(servers.len(), 1, "{version}");
        assert!(matches!(servers[0].address(), Address::Literal(a) if a.port() == port));
        assert!(servers[0].metrics);
    }
}
