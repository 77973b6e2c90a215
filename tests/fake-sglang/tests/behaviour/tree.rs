//! The processes, as /proc shows them.

use std::fs;
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal;

use crate::fake::{Fake, eventually, fails, fixture, parent_and_state, proc_file};

fn comm(pid: u64) -> String {
    proc_file(pid, "comm").unwrap().trim_end().to_owned()
}

fn cmdline(pid: u64) -> String {
    proc_file(pid, "cmdline").unwrap()
}

/// Inodes of the sockets a process has open.
fn sockets(pid: u64) -> Vec<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let links = links.map(|link| link.to_string_lossy().into_owned());
    links
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect()
}

/// Inode of the socket that listens on a port of 127.0.0.1.
fn listening(port: u16) -> String {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    let fields = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = fields
        .into_iter()
        .find(|row| row[1] == local && row[3] == "0A")
        .unwrap();
    row[9].to_owned()
}

#[test]
fn a_tensor_parallel_server_has_the_processes_of_a_real_one() {
    let fake = Fake::start(
        "0.5.23",
        &["--tp", "4", "--model", "org/Model-7B (replayed)"],
    );
    let server = fake.pids("server")[0];
    let port = fake.port;
    let argv = format!(
        "python3\0-m\0sglang.launch_server\0--model-path\0org/Model-7B (replayed)\0--host\0\
         127.0.0.1\0--port\0{port}\0--tp\x004\0--enable-metrics\0"
    );
    assert_eq!(
        (comm(server), cmdline(server)),
        ("python3".to_owned(), argv)
    );
    assert_eq!(parent_and_state(server).0, u64::from(fake.run.id()));

    let schedulers = fake.pids("schedulers");
    assert_eq!(schedulers.len(), 4);
    for (rank, &pid) in schedulers.iter().enumerate() {
        assert_eq!(comm(pid), "sglang::schedul");
        let line = cmdline(pid);
        assert_eq!(
            line.trim_end_matches('\0'),
            format!("sglang::scheduler_TP{rank}")
        );
        assert_eq!(line.len(), 140);
        assert_eq!(parent_and_state(pid).0, server);
    }
    let detokenizer = fake.pids("detokenizer")[0];
    let captured = fs::read(fixture("0.5.23").join("proc_25438_cmdline.bin")).unwrap();
    assert_eq!(comm(detokenizer), "sglang::detoken");
    assert_eq!(cmdline(detokenizer).as_bytes(), captured);
    let tracker = fake.pids("tracker")[0];
    assert_eq!(comm(tracker), "python3");
    assert!(cmdline(tracker).contains("-c\0from multiprocessing.resource_tracker import main"));
    for pid in [detokenizer, tracker] {
        assert_eq!(parent_and_state(pid).0, server);
    }
}

#[test]
fn only_the_main_process_holds_the_listening_socket() {
    let fake = Fake::start("0.5.23", &["--dp", "2"]);
    let inode = listening(fake.port);
    let server = fake.pids("server")[0];
    assert!(sockets(server).contains(&inode));
    let others = fake.tree().into_iter().filter(|pid| *pid != server);
    for pid in others.chain([u64::from(fake.run.id())]) {
        assert!(!sockets(pid).contains(&inode), "{pid} {}", comm(pid));
    }
}

#[test]
fn replicas_have_a_controller_as_parent() {
    let fake = Fake::start("0.5.23-dp2-auth", &["--dp", "2"]);
    let controller = fake.pids("controller")[0];
    assert_eq!(comm(controller), "sglang::data_pa");
    assert_eq!(parent_and_state(controller).0, fake.pids("server")[0]);
    let titles: Vec<_> = fake.pids("schedulers").into_iter().map(cmdline).collect();
    assert!(
        titles
            .iter()
            .any(|title| title.starts_with("sglang::scheduler_DP1\0")),
        "{titles:?}"
    );
    for pid in fake.pids("schedulers") {
        assert_eq!(parent_and_state(pid).0, controller);
    }
}

#[test]
fn another_command_line_is_shown_with_its_port() {
    let line = "/opt/v/bin/python /opt/v/bin/sglang serve 'my model' --po={port}";
    let fake = Fake::start("0.5.12", &["--cmdline", line]);
    let server = fake.pids("server")[0];
    let port = fake.port;
    assert_eq!(comm(server), "sglang");
    let shown = format!("/opt/v/bin/python\0/opt/v/bin/sglang\0serve\0my model\0--po={port}\0");
    assert_eq!(cmdline(server), shown);
}

#[test]
fn the_pid_file_names_the_process_to_end_and_ending_it_leaves_nothing() {
    let mut fake = Fake::start("0.5.23", &["--tp", "2", "--dp", "2"]);
    let pid = fs::read_to_string(fake.folder.path().join("pid")).unwrap();
    assert_eq!(pid.trim_end(), fake.run.id().to_string());
    fake.tell("stop-scheduler");
    let tree = fake.tree();
    assert_eq!(tree.len(), 8);
    fake.signal(Signal::SIGTERM);
    assert!(fake.run.wait().unwrap().success());
    for pid in tree {
        assert_eq!(proc_file(pid, "comm"), None);
    }
    assert_eq!(fs::read_dir(fake.folder.path()).unwrap().count(), 0);
    drop(TcpListener::bind(("127.0.0.1", fake.port)).unwrap());
}

#[test]
fn a_killed_run_takes_its_tree_along() {
    let mut fake = Fake::start("0.5.23", &["--tp", "2", "--dp", "2"]);
    let tree = fake.tree();
    fake.signal(Signal::SIGKILL);
    fake.run.wait().unwrap();
    for pid in tree {
        eventually("the tree is gone", || proc_file(pid, "comm").is_none());
    }
}

#[test]
fn a_taken_port_is_refused_by_name() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = fails(&["--port", &port]);
    assert!(
        said.contains(&format!("port {port}")) && said.contains("in use"),
        "{said}"
    );
}

#[test]
fn a_connection_to_a_scheduler_is_noticed() {
    let fake = Fake::start("0.5.23", &[]);
    let state = fake.state();
    assert_eq!(state["scheduler_connections"], 0);
    let port = u16::try_from(state["scheduler_ports"][0].as_u64().unwrap()).unwrap();
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    eventually("the connection is counted", || {
        fake.state()["scheduler_connections"] == 1
    });
    fake.tell("restart");
    assert_eq!(fake.state()["scheduler_connections"], 1);
}
