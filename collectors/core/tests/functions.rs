//! Functions of a whole plugin, over its real input and output: the example `slow_functions`.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing that is waited for takes longer.
const LONG: Duration = Duration::from_secs(40);

/// A line of output, and when it came.
type Line = (Instant, String);

struct Plugin {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Line>,
    /// Lines that were not answers, in order.
    charted: Vec<Line>,
    in_block: bool,
}

impl Plugin {
    fn start(version: &str) -> Self {
        let program = std::env::current_exe()
            .unwrap()
            .parent()
            .and_then(|deps| deps.parent())
            .map(|debug| debug.join("examples/slow_functions"))
            .expect("a folder of examples");
        let mut child = Command::new(&program)
            .env("NETDATA_VERSION", version)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}: `cargo build --examples` makes it",
                    program.display()
                )
            });
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = send.send((Instant::now(), line));
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            charted: vec![],
            in_block: false,
        }
    }

    fn say(&mut self, lines: &str) {
        let input = self.input.as_mut().expect("it still listens");
        input.write_all(lines.as_bytes()).unwrap();
    }

    fn line(&mut self) -> Line {
        self.lines.recv_timeout(LONG).expect("a line")
    }

    /// Reads on to a line of the charts that begins so.
    fn until(&mut self, beginning: &str) {
        loop {
            let line = self.line();
            let found = line.1.starts_with(beginning);
            self.keep(line);
            if found {
                return;
            }
        }
    }

    fn keep(&mut self, line: Line) {
        match line.1.split(' ').next() {
            Some("BEGIN") => self.in_block = true,
            Some("END") => self.in_block = false,
            _ => {}
        }
        self.charted.push(line);
    }

    /// Reads on to the next answer: its transaction, status, body, and when it came.
    fn answer(&mut self) -> (String, u16, Value, Instant) {
        loop {
            let line = self.line();
            let Some(head) = line.1.strip_prefix("FUNCTION_RESULT_BEGIN ") else {
                self.keep(line);
                continue;
            };
            assert!(!self.in_block, "an answer within a chart's values");
            let head: Vec<_> = head.split(' ').collect();
            let body = serde_json::from_str(&self.line().1).unwrap();
            assert_eq!(self.line().1, "FUNCTION_RESULT_END");
            let transaction = head[0].trim_matches('\'').to_owned();
            return (transaction, head[1].parse().unwrap(), body, line.0);
        }
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_function_of_twenty_seconds_delays_no_tick_and_no_other_call() {
    let mut plugin = Plugin::start("v2.11.0");
    plugin.until("END");
    plugin.until("END");
    let asked = Instant::now();
    plugin.say(
        "FUNCTION t1 60 \"slow\" \"0x8\" \"test\"\nFUNCTION t2 60 \"quick\" \"0x8\" \"test\"\n",
    );
    let (first, status, _, at) = plugin.answer();
    assert_eq!((first.as_str(), status), ("t2", 200));
    assert!(at - asked < Duration::from_secs(5));
    let (second, status, body, answered) = plugin.answer();
    assert_eq!((second.as_str(), status), ("t1", 200));
    assert_eq!(body["data"][0][0], "a row");
    assert!(answered - asked >= Duration::from_secs(20));
    let ticks: Vec<u64> = plugin
        .charted
        .iter()
        .filter(|(at, _)| (asked..answered).contains(at))
        .filter_map(|(_, line)| line.strip_prefix("SET 'count' = "))
        .map(|count| count.parse().unwrap())
        .collect();
    assert!(ticks.len() >= 19, "{ticks:?}");
    assert!(
        // The first tick is off the grid: the second may come within the same second.
        ticks.windows(2).all(|two| two[1] <= two[0] + 1),
        "{ticks:?}"
    );
}

#[test]
fn calls_are_cancelled_timed_out_refused_and_fail_without_harm() {
    let mut plugin = Plugin::start("v2.11.0");
    plugin.say("FUNCTION c 60 \"slow\" \"0x8\" \"test\"\n");
    plugin.say("FUNCTION_CANCEL c\n");
    let (transaction, status, ..) = plugin.answer();
    assert_eq!((transaction.as_str(), status), ("c", 499));
    let asked = Instant::now();
    plugin.say("FUNCTION t 2 \"slow\" \"0x8\" \"test\"\n");
    let (transaction, status, body, at) = plugin.answer();
    assert_eq!((transaction.as_str(), status), ("t", 504));
    assert!(at - asked < Duration::from_secs(2), "{:?}", at - asked);
    assert_eq!(body["errorMessage"], "There was no answer in time.");
    for (call, expected) in [
        ("FUNCTION x 9 \"nothing\" \"0x8\" \"test\"\n", 404),
        ("FUNCTION x 9 \"quick size:1\" \"0x8\" \"test\"\n", 400),
        ("FUNCTION x 9 \"quick\" \"0x0\" \"test\"\n", 403),
        ("FUNCTION x 9 \"broken\" \"0x8\" \"test\"\n", 500),
        ("FUNCTION x 9 \"quick name:a\" \"0x8\" \"test\"\n", 200),
    ] {
        plugin.say(call);
        assert_eq!(plugin.answer().1, expected, "{call}");
    }
    plugin.until("END");
}

#[test]
fn the_plugin_ends_when_its_input_does_and_not_at_a_line_that_says_quit() {
    let mut plugin = Plugin::start("v2.11.0");
    plugin.say("QUIT\nFUNCTION t 9 \"quick\" \"0x8\" \"test\"\n");
    assert_eq!(plugin.answer().0, "t");
    plugin.say("QUIT");
    plugin.input = None;
    let began = Instant::now();
    while plugin.child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < LONG, "it goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(plugin.child.wait().unwrap().success());
}

#[test]
fn an_older_agent_hears_nothing_of_functions() {
    let mut plugin = Plugin::start("v1.37.1");
    plugin.until("END");
    plugin.until("END");
    assert!(
        !plugin
            .charted
            .iter()
            .any(|(_, line)| line.contains("FUNCTION"))
    );
    plugin.say("FUNCTION t 9 \"quick\"\n");
    assert_eq!(plugin.answer().1, 404);
}
