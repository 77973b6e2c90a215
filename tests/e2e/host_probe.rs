//! The host probe beside the real container: what it reads is charted, what it must not say it does not, and
//! without it nothing but its readings is missing. Servers without metrics are understood from their logs.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::server::Server;
use harness::{unix_now, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use procfs::process::Process;

/// How much of each captured log is written: all of them are under load then.
const PERCENT: usize = 60;
/// Five seconds a scrape, the first of which only finds the log's end.
const CHARTED_WITHIN: Duration = Duration::from_secs(60);
/// Keys that no log, label or chart may hold: of arguments, of the environment, of captured answers.
const KEYS: [&str; 4] = ["argv-s3cret", "admin-s3cret", "secret123", "admin456"];

/// All of it, on one instance.
pub fn beside_the_container(place: &Place) -> anyhow::Result<()> {
    let percent = PERCENT.to_string();
    let options = ["--no-metrics", "--log", &percent];
    let start = |capture: &str, more: &[&str]| {
        let log = place.dir.join(format!("server-{capture}.log"));
        Server::start_logging(place, capture, &[&options[..], more].concat(), &log)
    };
    let cmdline = "python3 -m sglang.launch_server --port {port} --api-key argv-s3cret \
                   --admin-api-key=admin-s3cret";
    let logging = [
        start("0.4.6.post5", &["--cmdline", cmdline])?,
        start("0.5.12", &[])?,
        start("0.5.23", &["--tp", "2"])?,
        start("0.5.23-dp2-auth", &["--dp", "2"])?,
    ];
    // Its log goes nowhere: what is known of it, it answers.
    let asked = Server::start(place, "0.5.23-dp2-auth", &["--no-metrics"])?;
    let instance = Instance::new(place, "probe", &[])?;
    let servers: Vec<_> = logging.iter().chain([&asked]).collect();
    instance.sees(&servers)?;
    instance.start()?;
    let probe = probe_of(&instance)?;
    only_its_user_is_answered(place, &instance)?;
    for server in &logging {
        figures_are_those_of_the_log(&instance, server)?;
    }
    figures_are_those_of_the_answer(&instance, &asked)?;
    readings_are_charted(&instance, &logging[2])?;
    without_it_only_its_readings_are_missing(&instance, &logging[2], probe)?;
    no_key_leaves_a_server(&instance)?;
    instance.stop()?;
    ensure!(
        instance.processes().is_empty(),
        "left behind: {:?}",
        instance.processes()
    );
    Ok(())
}

fn probe_of(instance: &Instance) -> anyhow::Result<i32> {
    wait_for("the host probe", Duration::from_secs(90), || {
        let mut all = instance.processes().into_iter();
        let probe = all.find(|known| known.comm == "rs.d-host-probe");
        Ok(probe.context("it does not run")?.pid)
    })
}

fn socket_of(instance: &Instance) -> PathBuf {
    instance.home.join("state/run/rs.d-host-probe.sock")
}

/// Nobody else can connect, root gets no word, and of other users' processes nothing is told.
fn only_its_user_is_answered(place: &Place, instance: &Instance) -> anyhow::Result<()> {
    let socket = socket_of(instance);
    let mode = std::fs::metadata(&socket)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the socket has mode {mode:o}");
    // A link of a length that an address has room for.
    let short = Path::new("/tmp").join(format!("probe-{}", std::process::id()));
    std::os::unix::fs::symlink(socket.parent().context("no directory")?, &short)?;
    let at = short.join("rs.d-host-probe.sock");
    let init = Process::new(1)?.stat()?.starttime;
    let own = Process::new(probe_of(instance)?)?.stat()?;
    let script = "import socket, sys\n\
                  s = socket.socket(socket.AF_UNIX); s.settimeout(5)\n\
                  try: s.connect(sys.argv[1])\n\
                  except OSError as e: print(type(e).__name__); sys.exit()\n\
                  s.sendall((sys.argv[2] + '\\n').encode())\n\
                  print(s.makefile().read())\n";
    let as_user = |request: String| -> anyhow::Result<String> {
        let mut command = place.command(&place.python);
        let output = command
            .args(["-c", script])
            .arg(&at)
            .arg(request)
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let outcome = (|| {
        let own = as_user(format!("usage {}:{}", own.pid, own.starttime))?;
        ensure!(
            own.contains(&format!("= {} ", own_pid(&own))) && own.contains("\nok"),
            "{own}"
        );
        let foreign = as_user(format!("listening 1:{init}"))?;
        ensure!(
            foreign.contains("error no such process of this user"),
            "{foreign}"
        );
        // Whose it is, as /proc shows to everybody, and no more.
        let whose = as_user(format!("owner 1:{init}"))?;
        ensure!(whose.ends_with("\n= 0\nok\n\n"), "{whose:?}");
        if Uid::current().is_root() {
            let mut stranger = std::process::Command::new("/usr/bin/setpriv");
            stranger.env_clear().env("PATH", "/usr/bin:/bin");
            stranger.current_dir("/").args([
                "--reuid",
                "65534",
                "--regid",
                "65534",
                "--clear-groups",
            ]);
            let output = stranger
                .args(["python3", "-c", script])
                .arg(&at)
                .arg("usage")
                .output()
                .context("cannot run setpriv")?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(said.trim() == "PermissionError", "another user: {output:?}");
            let mut stream = UnixStream::connect(&at)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            let _ = stream.write_all(b"usage\n");
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            ensure!(
                said.is_empty(),
                "root was told {:?}",
                String::from_utf8_lossy(&said)
            );
        }
        Ok(())
    })();
    std::fs::remove_file(&short)?;
    outcome
}

/// The pid of the first line of data.
fn own_pid(answer: &str) -> &str {
    let line = answer.lines().find_map(|line| line.strip_prefix("= "));
    line.and_then(|line| line.split(' ').next()).unwrap_or("?")
}

/// The number after `key`, by cutting text.
fn number(line: &str, key: &str) -> Option<f64> {
    let rest = &line[line.find(key)? + key.len()..];
    let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// Running, queued, usage and throughput are those of the last lines, over ranks.
fn figures_are_those_of_the_log(instance: &Instance, server: &Server) -> anyhow::Result<()> {
    let log = std::fs::read_to_string(server.capture.join("server.log"))?;
    let lines: Vec<_> = log.lines().collect();
    let lines: Vec<_> = lines[..lines.len() * PERCENT / 100]
        .iter()
        .filter(|line| line.contains(" batch"))
        .collect();
    let ranks: &[&str] = if log.contains(" DP1] ") {
        &[" DP0] ", " DP1] "]
    } else {
        &["] "]
    };
    let last = |kind: &str, key: &str| -> Vec<f64> {
        let of = |rank: &&str| {
            let mut own = lines.iter().rev().filter(|line| line.contains(*rank));
            own.find(|line| line.contains(kind))
                .and_then(|line| number(line, key))
        };
        ranks.iter().filter_map(of).collect()
    };
    let sum = |values: Vec<f64>| values.iter().sum::<f64>();
    let usage = last(" batch", "token usage: ")
        .into_iter()
        .fold(0.0, f64::max);
    let decode = sum(last("Decode batch", "gen throughput (token/s): "));
    ensure!(decode > 0.0, "no throughput at the end of the log");
    for (chart, dim, expected) in [
        (
            "requests_in_flight",
            "running",
            sum(last(" batch", "#running-req: ")),
        ),
        (
            "requests_in_flight",
            "queued",
            sum(last(" batch", "#queue-req: ")),
        ),
        ("kv_cache_usage", "usage", usage * 100.0),
        ("token_throughput", "decode", decode),
    ] {
        charted(instance, server, chart, dim, expected, "log")?;
    }
    Ok(())
}

/// What it answered when it was captured.
fn figures_are_those_of_the_answer(instance: &Instance, server: &Server) -> anyhow::Result<()> {
    let answer = std::fs::read_to_string(server.capture.join("v1_loads_load_t0.json"))?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let loads = answer["loads"].as_array().context("no loads")?;
    let sum = |key: &str| {
        loads
            .iter()
            .filter_map(|load| load[key].as_f64())
            .sum::<f64>()
    };
    charted(
        instance,
        server,
        "requests_in_flight",
        "running",
        sum("num_running_reqs"),
        "api",
    )?;
    charted(
        instance,
        server,
        "token_throughput",
        "decode",
        sum("gen_throughput"),
        "api",
    )
}

fn charted(
    instance: &Instance,
    server: &Server,
    name: &str,
    dim: &str,
    expected: f64,
    source: &str,
) -> anyhow::Result<()> {
    let id = format!("sglang_{}.{name}", server.port);
    wait_for(
        &format!("{id} {dim} as its {source} says"),
        CHARTED_WITHIN,
        || {
            let value = instance.api().series(&id, 10)?.values(dim)?;
            let value = value
                .last()
                .with_context(|| format!("no value; expected {expected}"))?;
            ensure!(
                (value - expected).abs() <= expected * 0.001 + 0.001,
                "{value}, not {expected}"
            );
            Ok(())
        },
    )?;
    let labels = instance.api().charts()?[&id]["chart_labels"].clone();
    ensure!(labels["source"] == source, "{id} has the labels {labels}");
    Ok(())
}

/// Open files and PSS of a scheduler are what the kernel says.
fn readings_are_charted(instance: &Instance, server: &Server) -> anyhow::Result<()> {
    let state = server.state()?;
    let schedulers = state["pids"]["schedulers"]
        .as_array()
        .context("no schedulers")?;
    let mut files = 0.0;
    for pid in schedulers {
        let fds = format!("/proc/{pid}/fd");
        files += std::fs::read_dir(&fds).with_context(|| fds)?.count() as f64;
    }
    let id = |name: &str| format!("server_{}.scheduler_{name}", server.port);
    let value = |name: &str, dim: &str| -> anyhow::Result<f64> {
        let values = instance.api().series(&id(name), 10)?.values(dim)?;
        values
            .last()
            .copied()
            .with_context(|| format!("{} {dim} has no value", id(name)))
    };
    wait_for("what the probe reads", CHARTED_WITHIN, || {
        let open = value("open_files", "open")?;
        ensure!(open == files, "{open} open files instead of {files}");
        let (resident, pss) = (
            value("process_memory", "resident")?,
            value("process_memory", "pss")?,
        );
        ensure!(
            pss > 0.0 && pss <= resident,
            "PSS {pss}, resident {resident}"
        );
        value("process_io", "reads").map(drop)
    })
}

/// With the probe killed its readings become gaps, nothing else misses a tick, and it comes back.
fn without_it_only_its_readings_are_missing(
    instance: &Instance,
    server: &Server,
    probe: i32,
) -> anyhow::Result<()> {
    let from = unix_now()?;
    kill(Pid::from_raw(probe), Signal::SIGKILL)?;
    wait_for("another probe", Duration::from_secs(15), || {
        let now = probe_of(instance)?;
        ensure!(now != probe, "the killed one is still there");
        Ok(())
    })?;
    // Again, and held off: the one that is there is stopped, which is as good as gone.
    let second = Pid::from_raw(probe_of(instance)?);
    kill(second, Signal::SIGSTOP)?;
    let id = |name: &str| format!("server_{}.scheduler_{name}", server.port);
    // A chart that has gaps only is no longer known after ten of them; it was there a moment ago.
    let last = |name: &str, dim: &str| -> Option<f64> {
        let points = instance.api().series(&id(name), 5).ok()?.dim(dim).ok()?;
        points.iter().rev().nth(1).and_then(|(_, value)| *value)
    };
    let gap = wait_for("a gap", Duration::from_secs(40), || {
        ensure!(last("open_files", "open").is_none(), "still charted");
        Ok(())
    });
    kill(second, Signal::SIGKILL)?;
    gap?;
    wait_for("its readings", Duration::from_secs(90), || {
        last("open_files", "open").context("still a gap")
    })?;
    let seconds = u64::try_from(unix_now()? - from)?;
    let cpu = instance
        .api()
        .series(&id("process_cpu"), seconds)?
        .dim("user")?;
    // The last point may be in the making.
    let whole = cpu.get(..cpu.len().saturating_sub(2)).unwrap_or_default();
    let gaps: Vec<_> = whole.iter().filter(|(_, value)| value.is_none()).collect();
    ensure!(
        whole.len() > 10 && gaps.is_empty(),
        "CPU has gaps: {gaps:?} of {}",
        whole.len()
    );
    let logs = instance.logs();
    let told = logs.matches("the host probe does not answer").count();
    ensure!(
        (1..=2).contains(&told),
        "told {told} times that it is missing"
    );
    ensure!(
        logs.contains("the host probe answers again"),
        "its return is not told"
    );
    Ok(())
}

/// In no log, label, chart or message there is a key.
fn no_key_leaves_a_server(instance: &Instance) -> anyhow::Result<()> {
    let mut all = instance.logs();
    all += &instance.api().text("/api/v1/charts")?;
    all += &instance.api().text("/api/v1/allmetrics?format=json")?;
    ensure!(all.contains("--enable-metrics"), "not the whole of it");
    for key in KEYS {
        ensure!(!all.contains(key), "{key} leaked");
    }
    Ok(())
}
