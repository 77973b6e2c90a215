//! Keys in every place where a server may have them, and none in what the plugin says, logs or answers.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::bearers::{Bearers, holds_no_key};
use harness::instance::only;
use harness::place::Place;

use crate::process::{Plugin, configuration, program};

const READ_WITHIN: Duration = Duration::from_secs(60);

/// Neither on its output, with the answers of its functions, nor in its log at its most talkative.
pub fn stay(place: &Place) -> anyhow::Result<()> {
    let bearers = Bearers::start(place)?;
    let conf = only(&bearers.servers());
    let fast = format!("{conf}update_every: 1\n");
    let files = [("sglang.conf", &*fast), ("servers.conf", &*conf)];
    let dir = configuration(place, "keys", &files)?;
    let probe = place
        .command(program(place))
        .arg("--host-probe")
        .arg(dir.join("rs.d-host-probe.sock"))
        // It ends with its input.
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run the host probe")?;
    let _probe = Ended(probe);
    let mut plugin = Plugin::start(place.command(program(place)), &dir)?;
    let charts = [
        (bearers.showing.port, "token_throughput", "decode"),
        (bearers.showing.port, "decode_sum_seq_lens_gauge", "value"),
        (bearers.logging.port, "token_throughput", "decode"),
        (bearers.asked.port, "requests_in_flight", "running"),
    ];
    plugin.wait_for("charts of all servers", READ_WITHIN, || {
        for (port, chart, dim) in charts {
            let id = format!("sglang_{port}.{chart}");
            let newest = plugin.said(|said| said.newest(&id, dim));
            newest.with_context(|| format!("{id} has no {dim}"))?;
        }
        for source in ["metrics", "log", "api"] {
            let label = format!("CLABEL 'source' '{source}'");
            let there = plugin.said(|said| said.text.contains(&label));
            ensure!(there, "nothing comes from {source}");
        }
        Ok(())
    })?;
    for function in ["rs-gpu-processes", "rs-inference-servers"] {
        for (number, arguments) in ["", " info"].iter().enumerate() {
            plugin.say(&format!(
                "FUNCTION {function}-{number} 10 \"{function}{arguments}\" \"0x1f\" \"test\""
            ))?;
        }
    }
    plugin.wait_for("the answers of both functions", READ_WITHIN, || {
        let answers = plugin.said(|said| said.text.matches("FUNCTION_RESULT_END").count());
        ensure!(answers == 4, "{answers} answers");
        Ok(())
    })?;
    let said = plugin.said(|said| said.text.clone());
    for server in bearers.servers() {
        let row = format!("127.0.0.1:{}", server.port);
        ensure!(
            said.lines()
                .any(|line| line.starts_with('{') && line.contains(&row)),
            "no function tells of {row}"
        );
    }
    let log = plugin.log();
    ensure!(
        log.contains("--enable-metrics") && log.contains("level=debug"),
        "not the whole of its log: {log}"
    );
    holds_no_key("the plugin's output", &said)?;
    holds_no_key("the plugin's log", &log)
}

/// A process that ends with this.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
