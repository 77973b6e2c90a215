//! Calls that hang for ever, for a minute, for a second, or are slow.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use crate::board::Machine;
use crate::host::Host;
use crate::plugin::{Plugin, chart, named, place, power};

const CALL: &str = "nvmlDeviceGetPowerUsage";

pub fn one_of_eight() {
    let whole = Machine::simple(8);
    let dir = place(&whole);
    let page = page();
    let jobs = format!("jobs:\n  - {{name: page, url: \"{page}\", update_every: 1}}\n");
    std::fs::write(dir.path().join("rs.d/prometheus.conf"), jobs).unwrap();
    let host = Host::new();
    let server = ["python3", "-m", "sglang.launch_server", "--port", "39731"];
    host.process(4711, "python3", &server);
    let modules = "nvidia,servers,sglang,prometheus";
    let mut plugin = Plugin::with(dir.path(), modules, Some(host.root()));
    plugin.wait_for_gpus(plugin.started, 0..8);
    // Servers' metrics are asked for every 5 s, all else every second.
    let every = |chart: &str| if chart.starts_with("sglang") { 5 } else { 1 };
    let others = |plugin: &Plugin| {
        let mut charts = plugin.charts_of("");
        charts.retain(|(chart, dim)| {
            let often = plugin.since(plugin.started, chart, dim).len() > 1;
            !chart.contains(".gpu_") && often
        });
        charts
    };
    let modules = ["server_39731", "sglang_39731", "prometheus", "netdata.rs_d"];
    plugin.wait_for("charts of the other modules", 30, |plugin| {
        let others = others(plugin);
        let of = |module: &&str| others.iter().any(|(chart, _)| chart.starts_with(*module));
        modules.iter().all(of)
    });
    let others = others(&plugin);

    let begun = plugin.becomes(
        &whole
            .clone()
            .fault(format!("call: {CALL}, gpu: 3, hang: true")),
    );
    let said = format!("GPU 3 (GPU-3): {CALL} has not answered for 5 s");
    plugin.wait_for("word of the hang", 20, |plugin| {
        plugin.logged(begun, &said).is_some()
    });
    let (told, _) = plugin.logged(begun, &said).unwrap();
    // It hung 5 s before that was told: ten are left of the fifteen.
    let seven = [0, 1, 2, 4, 5, 6, 7];
    plugin.wait_for_gpus(told, seven);
    let mut longest = Duration::ZERO;
    for gpu in seven {
        let first = plugin.since(told, &power(gpu), "power_draw")[0].at;
        let took = first.duration_since(told).unwrap() + Duration::from_secs(5);
        assert!(took < Duration::from_secs(15), "GPU {gpu} after {took:?}");
        longest = longest.max(took);
    }
    let state = |plugin: &Plugin, gpu| plugin.state(told, &named(gpu));
    plugin.wait_for("word that it is stale", 10, |plugin| {
        state(plugin, 3) == Some("stale") && state(plugin, 2) == Some("ok")
    });
    assert!(
        !plugin.charted(told, &power(3), "power_draw"),
        "a flat line of a GPU that hangs"
    );
    assert_eq!(plugin.children(), 1);
    // The rest of the plugin did not notice.
    for (chart, dim) in &others {
        let pause = plugin.longest_pause(begun, chart, dim);
        let limit = Duration::from_millis(every(chart) * 1000 + 2900);
        assert!(pause < limit, "{chart} {dim}: {pause:?} without a point");
    }
    for module in modules {
        let of = others.iter().filter(|(chart, _)| chart.starts_with(module));
        let pauses = of.map(|(chart, dim)| plugin.longest_pause(begun, chart, dim));
        println!(
            "one of eight hangs: {module}: longest pause {:?}",
            pauses.max()
        );
    }
    println!(
        "one of eight hangs: the seven are back after {longest:?}; GPU 3 stale, no power; {}",
        plugin.logged(begun, &said).unwrap().1
    );
    // And back.
    let cleared = plugin.becomes(&whole);
    plugin.wait_for_gpus(cleared, [3]);
    plugin.wait_for("word of its return", 10, |plugin| {
        plugin.logged(cleared, "every GPU is read again").is_some()
    });
    plugin.wait_for("end of the child", 10, |plugin| plugin.children() == 0);
}

pub fn a_second_one() {
    let whole = Machine::simple(3);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..3);
    let one = whole
        .clone()
        .fault("call: \"nvmlDevice*\", gpu: 0, hang: true");
    let begun = plugin.becomes(&one);
    plugin.wait_for("the first hang", 30, |plugin| {
        plugin.logged(begun, "GPU 0 (GPU-0)").is_some()
    });
    plugin.wait_for_gpus(SystemTime::now(), [1, 2]);
    let begun = plugin.becomes(&one.fault("call: \"nvmlDevice*\", gpu: 1, hang: true"));
    plugin.wait_for("the second hang", 30, |plugin| {
        plugin.logged(begun, "GPU 1 (GPU-1)").is_some()
    });
    plugin.wait_for_gpus(SystemTime::now(), [2]);
    assert_eq!(plugin.children(), 1, "the child that hung was not ended");
    println!("a second one hangs: GPU 2 is charted, by one child");
}

/// After three ticks without a reading the state says so; nothing else is charted from the first on.
pub fn three_ticks() {
    let whole = Machine::rich(2);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..2);
    plugin.becomes(
        &whole
            .clone()
            .fault(format!("call: {CALL}, gpu: 1, hang: true")),
    );
    let state = chart("nvidia", "gpu-1", "gpu_state");
    let is_stale = |plugin: &Plugin| {
        let points = plugin.since(plugin.started, &state, "stale");
        points.into_iter().find(|point| point.value == 1.0)
    };
    plugin.wait_for("word that it is stale", 20, |plugin| {
        is_stale(plugin).is_some()
    });
    let stale = is_stale(&plugin).unwrap().at;
    let ok = plugin.since(plugin.started, &state, "ok");
    let last_ok = ok.iter().rfind(|point| point.value == 1.0).unwrap().at;
    let took = stale.duration_since(last_ok).unwrap();
    assert!(
        took > Duration::from_millis(2500) && took < Duration::from_millis(5500),
        "{took:?}"
    );
    // In between nothing was charted, and with the state comes nothing that was read before.
    let between = |at: SystemTime| {
        at > last_ok + Duration::from_millis(500) && at < stale + Duration::from_millis(900)
    };
    for (chart, dim) in plugin.charts_of("") {
        let of_gpus = chart.contains("gpu_gpu-")
            && !chart.ends_with("_gpu_state")
            && !chart.contains("_xid_");
        let points = plugin.since(last_ok, &chart, &dim);
        let flat = points.iter().any(|point| between(point.at));
        assert!(
            !(of_gpus && flat),
            "{chart} {dim} goes on while nothing is read"
        );
    }
    plugin.wait_for("the reason", 10, |plugin| {
        plugin
            .logged(
                stale,
                "GPU 1 (GPU-1): nvmlDeviceGetPowerUsage has not answered",
            )
            .is_some()
    });
    println!(
        "three ticks missed: stale {took:?} after the last reading, every other chart a gap; then the log names GPU and call"
    );
}

pub fn for_a_second() {
    let whole = Machine::simple(2);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    let points = |plugin: &Plugin, since| plugin.since(since, &power(1), "power_draw").len();
    plugin.wait_for("first charts", 20, |plugin| {
        points(plugin, plugin.started) > 2
    });
    let begun = plugin.becomes(
        &whole
            .clone()
            .fault(format!("call: {CALL}, gpu: 0, delay_ms: 1200")),
    );
    std::thread::sleep(Duration::from_secs(2));
    let cleared = plugin.becomes(&whole);
    plugin.wait_for("charts again", 20, |plugin| points(plugin, cleared) > 5);
    assert!(plugin.logged(begun, "has not answered").is_none());
    assert_eq!(plugin.children(), 0);
    println!(
        "hangs for a second: longest pause {:?}, nothing logged, no process",
        plugin.longest_pause(begun, &power(1), "power_draw")
    );
}

pub fn for_a_minute() {
    let whole = Machine::simple(2);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..2);
    let begun = plugin.becomes(
        &whole
            .clone()
            .fault(format!("call: {CALL}, gpu: 0, delay_ms: 60000")),
    );
    plugin.wait_for("word of the hang", 20, |plugin| {
        plugin
            .logged(begun, "GPU 0 (GPU-0): nvmlDeviceGetPowerUsage has not")
            .is_some()
    });
    // The call sleeps on; later ones would not.
    let cleared = plugin.becomes(&whole);
    plugin.wait_for_gpus(cleared, [1]);
    plugin.wait_for("its return", 70, |plugin| {
        plugin.logged(cleared, "every GPU is read again").is_some()
    });
    let (returned, _) = plugin.logged(cleared, "every GPU is read again").unwrap();
    let (stale, took) = (
        plugin
            .since(cleared, &power(0), "power_draw")
            .iter()
            .filter(|p| p.at < returned)
            .count(),
        returned.duration_since(begun).unwrap(),
    );
    assert_eq!(stale, 0, "values of a GPU that is not read");
    assert!(took > Duration::from_secs(55), "{took:?}");
    plugin.wait_for_gpus(returned, 0..2);
    plugin.wait_for("end of the child", 10, |plugin| plugin.children() == 0);
    let pause = plugin.longest_pause(cleared + Duration::from_secs(8), &power(1), "power_draw");
    println!(
        "hangs for a minute: it returned after {took:?}; the other GPU's longest pause meanwhile {pause:?}"
    );
}

pub fn slow_everywhere() {
    let slow = Machine::simple(1).fault("call: \"nvmlDevice*\", delay_ms: 300");
    let dir = place(&slow);
    let mut plugin = Plugin::start(dir.path());
    // Nothing was read for three ticks: that is said, and no old value is repeated.
    plugin.wait_for("word that it is stale", 30, |plugin| {
        plugin.state(plugin.started, "gpu-0") == Some("stale")
    });
    plugin.wait_for("a reading", 60, |plugin| {
        plugin.charted(plugin.started, &power(0), "power_draw")
    });
    assert!(plugin.logged(plugin.started, "has not answered").is_none());
    assert_eq!(plugin.children(), 0);
    println!("300 ms a call: stale until the first reading, then read; nothing logged, no process");
}

pub fn slow_in_one_call() {
    let slow = Machine::simple(1).fault(format!("call: {CALL}, delay_ms: 700"));
    let dir = place(&slow);
    let mut plugin = Plugin::start(dir.path());
    // Twice what a reading takes.
    let every = Duration::from_secs(2);
    plugin.wait_for("several readings", 40, |plugin| {
        plugin.since(plugin.started, &power(0), "power_draw").len() > 5
    });
    let points = plugin.since(plugin.started, &power(0), "power_draw");
    let last = points.windows(2).next_back().unwrap();
    let pause = last[1].at.duration_since(last[0].at).unwrap();
    assert!(
        pause > every - Duration::from_millis(600),
        "{pause:?}: not stretched"
    );
    assert_eq!(plugin.state(plugin.started, "gpu-0"), Some("ok"));
    assert!(plugin.logged(plugin.started, "has not answered").is_none());
    println!("700 ms in one call: read every {pause:?}, state ok, nothing logged");
}

/// A page of metrics, and whoever asks gets it.
fn page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let mut asked = [0; 4096];
            while matches!(stream.read(&mut asked), Ok(length) if length > 0) {
                let body = "# TYPE room_celsius gauge\nroom_celsius 21\n";
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all((head + body).as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    url
}
