//! The functions of the real plugin over its real input and output, with simulated GPUs and a process that
//! looks like an inference server.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Nothing that is waited for takes longer.
const LONG: Duration = Duration::from_secs(60);
/// What a signed-in user in the agent's space may do, as the agent says it.
const MEMBER: &str = "0x1f";
const PORT: u16 = 39_741;

const GPUS: &str = "
driver_version: 580.95.05
cuda_version: '13.0'
models:
  board:
    name: Test board (simulated)
    architecture: hopper
    brand: nvidia
    compute_capability: '9.0'
    memory: {total_mib: 40000, reserved_mib: 500, bus_width_bits: 384}
    readings:
      gpu_utilization: 50
      memory_base_mib: 4
      power_w: 200
      temperature_c: 50
gpus:
  - {model: board, uuid: GPU-a, pci_bus_id: '00000000:01:00.0', processes: [{pid: PID, memory_mib: 800, sm: 40}]}
  - {model: board, uuid: GPU-b, pci_bus_id: '00000000:02:00.0', processes: [{pid: PID, memory_mib: 700, sm: 40}]}
";

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The plugin, and a server that has started and does not listen yet.
struct Host {
    _plugin: Ended,
    server: Ended,
    _dir: tempfile::TempDir,
    input: ChildStdin,
    lines: Receiver<String>,
    calls: u32,
}

impl Host {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Ended(looks_like_a_server(dir.path()));
        let library = simulated_gpus(dir.path(), server.0.id());
        let config = dir.path().join("config");
        fs::create_dir_all(config.join("rs.d")).unwrap();
        fs::write(
            config.join("rs.d/nvidia.conf"),
            format!("library: {library}\n"),
        )
        .unwrap();
        let mut plugin = Command::new(env!("CARGO_BIN_EXE_rs-d-plugin"))
            .env("NETDATA_VERSION", "v2.11.0")
            .env("NETDATA_USER_CONFIG_DIR", &config)
            .env_remove("NETDATA_HOST_PREFIX")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(plugin.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self {
            input: plugin.stdin.take().unwrap(),
            _plugin: Ended(plugin),
            server,
            _dir: dir,
            lines,
            calls: 0,
        }
    }

    fn say(&mut self, lines: &str) {
        self.input.write_all(lines.as_bytes()).unwrap();
    }

    /// The next answer: transaction, status, body.
    fn answer(&mut self) -> (String, u16, Value) {
        loop {
            let line = self.lines.recv_timeout(LONG).expect("a line");
            let Some(head) = line.strip_prefix("FUNCTION_RESULT_BEGIN ") else {
                continue;
            };
            let head: Vec<_> = head.split(' ').collect();
            let body = serde_json::from_str(&self.lines.recv_timeout(LONG).unwrap()).unwrap();
            assert_eq!(
                self.lines.recv_timeout(LONG).unwrap(),
                "FUNCTION_RESULT_END"
            );
            return (
                head[0].trim_matches('\'').to_owned(),
                head[1].parse().unwrap(),
                body,
            );
        }
    }

    fn call(&mut self, function: &str) -> (u16, Value) {
        self.calls += 1;
        let transaction = format!("call-{}", self.calls);
        self.say(&format!(
            "FUNCTION {transaction} 10 \"{function}\" \"{MEMBER}\" \"test\"\n"
        ));
        let (answered, status, body) = self.answer();
        assert_eq!(answered, transaction);
        (status, body)
    }

    /// Calls until the table has `rows` rows of which `ready` holds.
    fn rows(&mut self, function: &str, count: usize, ready: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let (status, body) = self.call(function);
            let rows = body["data"].as_array().map_or(0, Vec::len);
            if status == 200 && rows == count && ready(&body) {
                return body;
            }
            assert!(began.elapsed() < LONG, "{status}: {body:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A shell that is called as SGLang is, and waits for a line that never comes.
fn looks_like_a_server(dir: &Path) -> Child {
    fs::write(dir.join("sglang.launch_server"), "read -r line\n").unwrap();
    Command::new("/bin/sh")
        .arg0("python3")
        .args([
            "-m",
            "sglang.launch_server",
            "--model-path",
            "org/Model-7B",
            "--api-key",
            "SECRET",
        ])
        .args(["--port", &PORT.to_string()])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn simulated_gpus(dir: &Path, pid: u32) -> String {
    let library = dir.join("libnvidia-ml.so.1");
    // Cargo puts the library of a dev-dependency beside the test's own program.
    let built = std::env::current_exe()
        .unwrap()
        .with_file_name("libfake_nvml.so");
    fs::copy(&built, &library).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let scenario = dir.join("libnvidia-ml.so.1.scenario.yaml");
    fs::write(scenario, GPUS.replace("PID", &pid.to_string())).unwrap();
    library.to_str().unwrap().to_owned()
}

/// The cell of a row in the column `id`.
fn cell<'a>(body: &'a Value, row: usize, id: &str) -> &'a Value {
    let index = body["columns"][id]["index"].as_u64().expect(id);
    &body["data"][row][usize::try_from(index).unwrap()]
}

#[test]
fn both_functions_answer_with_tables_and_mistakes_are_told() {
    let mut host = Host::start();
    let offers: Vec<_> = (0..2)
        .map(|_| host.lines.recv_timeout(LONG).unwrap())
        .collect();
    assert!(
        offers[0].starts_with("FUNCTION GLOBAL \"rs-gpu-processes\" 10 \""),
        "{offers:?}"
    );
    assert!(offers[0].ends_with(" \"top\" 0x13 100 3"), "{offers:?}");
    assert!(
        offers[1].starts_with("FUNCTION GLOBAL \"rs-inference-servers\" 10 \""),
        "{offers:?}"
    );
    assert!(offers[1].ends_with(" \"top\" 0x8 100 3"), "{offers:?}");

    let pid = host.server.0.id();
    let name = format!("127.0.0.1:{PORT}");
    let processes = host.rows("rs-gpu-processes", 2, |body| {
        cell(body, 0, "Server").is_string() && cell(body, 0, "Command").is_string()
    });
    assert_eq!(cell(&processes, 0, "PID"), &json!(pid));
    assert_eq!(cell(&processes, 0, "GPU"), &json!(0));
    assert_eq!(cell(&processes, 1, "GPU"), &json!(1));
    assert_eq!(cell(&processes, 1, "GPU UUID"), "GPU-b");
    assert_eq!(cell(&processes, 0, "Memory"), &json!(800.0));
    assert_eq!(cell(&processes, 0, "Command"), "sh");
    assert_eq!(cell(&processes, 0, "Server"), &json!(name));
    assert!(cell(&processes, 0, "User").is_string());
    assert!(!processes.to_string().contains("SECRET"));

    let chosen = host.rows("rs-gpu-processes gpu:1", 1, |_| true);
    assert_eq!(cell(&chosen, 0, "Memory"), &json!(700.0));

    let server = format!("rs-inference-servers server:{name}");
    let servers = host.rows(&server, 1, |body| cell(body, 0, "State") == "starting");
    assert_eq!(cell(&servers, 0, "Engine"), "sglang");
    assert_eq!(cell(&servers, 0, "Model"), "Model-7B");
    assert_eq!(cell(&servers, 0, "GPUs"), "0, 1");
    assert_eq!(cell(&servers, 0, "Power"), &json!(400.0));
    assert_eq!(cell(&servers, 0, "Share"), "exclusive");
    assert_eq!(cell(&servers, 0, "Running"), &Value::Null);
    assert!(cell(&servers, 0, "Metrics").is_string());
    assert!(!servers.to_string().contains("SECRET"));

    let (status, info) = host.call("rs-inference-servers info");
    assert_eq!((status, info.get("data")), (200, None));
    let (status, refused) = host.call("rs-nothing");
    assert_eq!(status, 404, "{refused}");
    let (status, refused) = host.call("rs-gpu-processes memory:7");
    assert_eq!(status, 400, "{refused}");
    host.say("FUNCTION anonymous 10 \"rs-gpu-processes\" \"0x8\" \"test\"\n");
    assert_eq!(host.answer().1, 403);

    host.say(&format!(
        "FUNCTION two-a 10 \"rs-gpu-processes\" \"{MEMBER}\"\nFUNCTION two-b 10 \"rs-inference-servers\" \"{MEMBER}\"\n"
    ));
    let mut both =
        [host.answer(), host.answer()].map(|(transaction, status, _)| (transaction, status));
    both.sort();
    assert_eq!(both, [("two-a".to_owned(), 200), ("two-b".to_owned(), 200)]);

    // These functions are quick: some calls are over before their cancellation comes, each in one way.
    let mut cancelled = 0;
    for call in 0..200 {
        host.say(&format!(
            "FUNCTION c{call} 10 \"rs-inference-servers\" \"{MEMBER}\"\nFUNCTION_CANCEL c{call}\n"
        ));
        let (transaction, status, _) = host.answer();
        assert_eq!(transaction, format!("c{call}"));
        assert!(status == 200 || status == 499, "{status}");
        cancelled += u32::from(status == 499);
    }
    assert!(cancelled > 0, "no call could be cancelled");
}
