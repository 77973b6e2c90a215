//! Whole process tables, with every server that is in them and none that is not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::{Processes, identify, locate, trees};
use crate::host_probe::ProcessId;
use crate::processes::tests::FakeProc;

const TABLES: &str = include_str!("../../../tests/fixtures/processes/tables.txt");

/// Splits at blanks; a quoted part stays whole.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (vec![], None::<String>, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The table as the kernel would show it.
fn laid_out(lines: &[&str]) -> FakeProc {
    let proc = FakeProc::new();
    for line in lines {
        let words = words(line);
        let (Ok(pid), [_, ppid, state, argv @ ..]) = (words[0].parse(), &*words) else {
            continue;
        };
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let name = argv[0].rsplit('/').next().unwrap_or_default();
        let comm: String = name.chars().take(15).collect();
        let state = state.chars().next().unwrap();
        proc.process(pid, ppid.parse().unwrap(), &comm, state, &argv);
    }
    proc
}

/// What is found, as the table's last lines have it.
fn found(lines: &[&str]) -> Vec<String> {
    let proc = laid_out(lines);
    let mut processes = Processes::new(proc.path(), identify);
    processes.scan(Instant::now()).unwrap();
    let mut sockets: BTreeMap<u32, Vec<SocketAddr>> = BTreeMap::new();
    for line in lines.iter().filter_map(|line| line.strip_prefix("listen ")) {
        let mut words = line.split(' ');
        let pid = words.next().unwrap().parse().unwrap();
        sockets.insert(pid, words.map(|word| word.parse().unwrap()).collect());
    }
    let told = !sockets.is_empty();
    let listening = |id: ProcessId| {
        assert_eq!(id.start_ticks, 100 + u64::from(id.pid), "not that process");
        told.then(|| sockets.get(&id.pid).cloned().unwrap_or_default())
    };
    let mut trees = trees(&processes);
    locate(&mut trees, listening, |pid| {
        Some(processes.get(pid)?.start_ticks)
    });
    let line = |tree: &super::Tree| {
        let kind = if tree.server.router {
            "router"
        } else {
            "server"
        };
        let members: String = tree
            .members
            .iter()
            .map(|(pid, _)| format!(" {pid}"))
            .collect();
        format!(
            "{kind} {} {}{members}",
            tree.server.engine,
            tree.server.name()
        )
    };
    trees.iter().map(line).collect()
}

#[test]
fn every_server_of_every_table_is_found_and_nothing_else() {
    let (mut tables, mut of_sglang) = (0, 0);
    for table in TABLES.split("\n== ").skip(1) {
        let lines: Vec<_> = table.lines().filter(|line| !line.is_empty()).collect();
        let is_expected = |line: &&&str| line.starts_with("server ") || line.starts_with("router ");
        let mut expected: Vec<_> = lines[1..]
            .iter()
            .filter(is_expected)
            .map(|it| (*it).to_owned())
            .collect();
        let mut found = found(&lines[1..]);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{}", lines[0]);
        tables += 1;
        let named = ["sglang", "smg"].map(|name| table.contains(name));
        of_sglang += usize::from(named.contains(&true));
    }
    assert!(
        tables >= 90 && of_sglang >= 80,
        "only {tables} tables, {of_sglang} of SGLang"
    );
}

#[test]
fn a_routers_metrics_are_where_it_does_not_answer_requests() {
    let router = |port: u16| super::Server {
        router: true,
        ..super::Server::new("sglang", "127.0.0.1", port)
    };
    let ports = |server, sockets: &[&str]| {
        let addresses: Vec<SocketAddr> = sockets.iter().map(|it| it.parse().unwrap()).collect();
        let mut trees = vec![super::Tree {
            pid: 1,
            start_ticks: 1,
            server,
            listening: None,
            members: vec![],
        }];
        locate(&mut trees, |_| Some(addresses.clone()), |_| None);
        (trees[0].server.port, trees[0].server.metrics_port)
    };
    assert_eq!(
        ports(router(0), &["0.0.0.0:29000", "0.0.0.0:30000"]),
        (30000, Some(29000))
    );
    assert_eq!(
        ports(router(0), &["0.0.0.0:28000", "0.0.0.0:29000"]),
        (28000, Some(29000))
    );
    assert_eq!(
        ports(router(0), &["0.0.0.0:9100", "0.0.0.0:30000"]),
        (30000, Some(9100))
    );
    let given = super::Server {
        port_given: true,
        metrics_port: Some(9200),
        ..router(31000)
    };
    assert_eq!(
        ports(given, &["0.0.0.0:9200", "0.0.0.0:31000"]),
        (31000, Some(9200))
    );
}
