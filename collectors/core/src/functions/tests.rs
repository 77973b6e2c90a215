//! The format of answers, and what calls are refused. A [`Wire`] is a desk whose answers are read back.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::column::Column;
use super::desk::Desk;
use super::table::{Cell, Chart, Row, Severity, View};
use super::{Access, Call, Function, Refusal, offer};
use crate::output::Output;
use crate::stdin::Messages;

pub const LONG: Duration = Duration::from_secs(20);

static COLUMNS: [Column; 3] = [
    Column::number("GPU", "Index of the GPU").unique().sticky(),
    Column::text("Command", "Name of the program"),
    Column::quantity("Memory", "Memory held", "MiB"),
];

fn view() -> View {
    View {
        columns: &COLUMNS,
        sorted_by: "Memory",
        charts: &[Chart {
            id: "Memory",
            name: "Memory",
            columns: &["Memory"],
        }],
        grouped_by: &["Command", "GPU"],
        update_every: 5,
    }
}

pub fn rows() -> Vec<Row> {
    let row = |gpu: u32, command: Option<&str>, memory: Option<f64>| Row {
        cells: vec![gpu.into(), command.map(str::to_owned).into(), memory.into()],
        severity: Severity::default(),
    };
    vec![
        row(0, Some("a \"b\"\nFUNCTION_RESULT_END"), Some(1.0 / 3.0)),
        row(1, None, Some(7.0)),
        row(2, Some("c"), None),
    ]
}

/// What the agent reads, answer by answer.
pub struct Wire {
    answers: Receiver<Vec<u8>>,
    pub desk: Desk,
}

struct Sent(Sender<Vec<u8>>);

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The desk of a function `f` with these rows.
pub fn desk(
    access: Access,
    rows: impl Fn(&Call) -> Result<Vec<Row>, Refusal> + Send + Sync + 'static,
) -> Wire {
    let (sent, answers) = channel();
    let function = Function {
        name: "f",
        help: "What it is.",
        access,
        timeout: LONG,
        view: view(),
        rows: Box::new(rows),
    };
    Wire {
        answers,
        desk: Desk::new(vec![function], Output::new(Sent(sent))),
    }
}

impl Wire {
    pub fn say(&self, lines: &str) {
        self.say_at(lines, Instant::now());
    }

    pub fn say_at(&self, lines: &str, now: Instant) {
        Messages::new(lines.as_bytes()).for_each(|message| self.desk.take(message, now));
    }

    /// The next answer: its transaction, its status, and its body, written at once.
    pub fn answer(&self) -> (String, u64, Value) {
        let bytes = self.answers.recv_timeout(LONG).expect("an answer");
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<_> = text.split('\n').collect();
        let [begin, body, "FUNCTION_RESULT_END", ""] = lines[..] else {
            panic!("{text:?}");
        };
        let words: Vec<_> = begin.split(' ').collect();
        let [
            "FUNCTION_RESULT_BEGIN",
            transaction,
            status,
            "'application/json'",
            _expires,
        ] = words[..]
        else {
            panic!("{begin:?}");
        };
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["status"].to_string(), status);
        let transaction = transaction.trim_matches('\'').to_owned();
        (transaction, status.parse().unwrap(), body)
    }

    pub fn silent(&self) -> bool {
        self.answers.try_recv().is_err()
    }
}

pub fn message(body: &Value) -> &str {
    body["errorMessage"].as_str().unwrap()
}

#[test]
fn a_function_is_offered_in_one_line_that_names_what_it_demands() {
    let function = Function {
        name: "rs-f",
        help: "What it's about, in words.",
        access: Access::PROCESSES,
        timeout: Duration::from_secs(10),
        view: view(),
        rows: Box::new(|_| Ok(vec![])),
    };
    assert_eq!(
        offer(&[function]),
        "FUNCTION GLOBAL \"rs-f\" 10 \"What it's about, in words.\" \"top\" 0x13 100 3\n"
    );
}

#[test]
fn an_answer_is_a_table_in_the_agents_format() {
    let wire = desk(Access::ANYBODY, |_| Ok(rows()));
    wire.say("FUNCTION t1 10 \"f\" \"0x8\"\n");
    let (transaction, status, body) = wire.answer();
    assert_eq!((transaction.as_str(), status), ("t1", 200));
    let normal = json!({"rowOptions": {"severity": "normal"}});
    let data = json!([
        [0, "a \"b\"\nFUNCTION_RESULT_END", 0.333, normal],
        [1, null, 7.0, normal],
        [2, "c", null, normal],
    ]);
    assert_eq!(body["data"], data);
    assert_eq!(body["type"], "table");
    assert_eq!(body["has_history"], false);
    assert_eq!(body["update_every"], 5);
    assert_eq!(body["default_sort_column"], "Memory");
    assert_eq!(body["charts"]["Memory"]["columns"], json!(["Memory"]));
    assert_eq!(body["default_charts"], json!([["Memory", "Command"]]));
    assert_eq!(body["group_by"]["GPU"]["columns"], json!(["GPU"]));
    let memory = json!({
        "index": 2, "unique_key": false, "name": "Memory held", "visible": true,
        "type": "bar-with-integer", "units": "MiB", "visualization": "bar",
        "value_options": {
            "units": "MiB", "transform": "number", "decimal_points": 2, "default_value": null
        },
        "max": 7.0, "sort": "descending", "sortable": true, "sticky": false, "summary": "sum",
        "filter": "range", "full_width": false, "wrap": false, "default_expanded_filter": false,
    });
    assert_eq!(body["columns"]["Memory"], memory);
    assert_eq!(body["columns"]["GPU"]["unique_key"], true);
    assert_eq!(body["columns"]["rowOptions"]["index"], 3);
}

#[test]
fn info_says_what_the_function_is_and_asks_nobody() {
    let wire = desk(Access::ANYBODY, |_| panic!("asked"));
    wire.say("FUNCTION t 10 \"f info after:-600 before:0\" \"0x8\"\n");
    let (_, status, body) = wire.answer();
    assert_eq!(status, 200);
    assert_eq!(body["help"], "What it is.");
    assert_eq!(body["v"], 3);
    assert_eq!(body["accepted_params"], json!([]));
    assert_eq!(body.get("data"), None);
}

#[test]
fn rows_are_chosen_by_arguments_and_by_a_payload() {
    let wire = desk(Access::ANYBODY, |_| Ok(rows()));
    let gpus = |call: &str| {
        wire.say(call);
        let (_, _, body) = wire.answer();
        let rows = body["data"].as_array().unwrap();
        rows.iter()
            .map(|row| row[0].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(gpus("FUNCTION t 10 \"f gpu:2,1\" \"0x8\"\n"), [1, 2]);
    assert_eq!(
        gpus("FUNCTION t 10 \"f GPU:1 command:c\" \"0x8\"\n"),
        [0; 0]
    );
    let payload = |json: &str| {
        format!(
            "FUNCTION_PAYLOAD t 10 \"f\" \"0x8\" \"s\" \"application/json\"\n{json}\nFUNCTION_PAYLOAD_END\n"
        )
    };
    let chosen = r#"{"after": -600, "selections": {"Command": ["c", null], "GPU": []}}"#;
    assert_eq!(gpus(&payload(chosen)), [1, 2]);
    assert_eq!(gpus(&payload("{}")), [0, 1, 2]);
    assert_eq!(gpus(&payload("")), [0, 1, 2]);
}

#[test]
fn a_wrong_argument_is_named_with_those_there_are() {
    let wire = desk(Access::ANYBODY, |_| panic!("asked"));
    for (call, why) in [
        (
            "FUNCTION t 10 \"f pid:1\" \"0x8\"\n",
            "There is no \"pid\" to choose rows by; there are GPU, Command.",
        ),
        (
            "FUNCTION t 10 \"f memory:1\" \"0x8\"\n",
            "There is no \"memory\" to choose rows by; there are GPU, Command.",
        ),
        (
            "FUNCTION t 10 \"f everything\" \"0x8\"\n",
            "\"everything\" is no argument: use info, or column:value[,value].",
        ),
        (
            "FUNCTION_PAYLOAD t 10 \"f\" \"0x8\"\n[]\nFUNCTION_PAYLOAD_END\n",
            "The payload is no JSON object.",
        ),
        (
            "FUNCTION_PAYLOAD t 10 \"f\" \"0x8\"\n{\"selections\": 1}\nFUNCTION_PAYLOAD_END\n",
            "The payload has selections that are no object.",
        ),
        (
            "FUNCTION_PAYLOAD t 10 \"f\" \"0x8\"\n{\"selections\": {\"GPU\": 1}}\nFUNCTION_PAYLOAD_END\n",
            "The payload has a selection that is no list.",
        ),
        ("FUNCTION t 10\n", "The call names no function."),
    ] {
        wire.say(call);
        let (_, status, body) = wire.answer();
        assert_eq!((status, message(&body)), (400, why), "{call}");
    }
    let nested = "[".repeat(100_000);
    wire.say(&format!(
        "FUNCTION_PAYLOAD t 10 \"f\" \"0x8\"\n{nested}\nFUNCTION_PAYLOAD_END\n"
    ));
    assert_eq!(wire.answer().1, 400);
}

#[test]
fn an_unknown_name_and_a_caller_without_access_are_refused() {
    let wire = desk(Access::PROCESSES, |_| Ok(rows()));
    wire.say("FUNCTION t 10 \"g\" \"0x13\"\n");
    assert_eq!(wire.answer().1, 404);
    for access in ["0x8", "0x12", "", "everything", "0xg"] {
        wire.say(&format!("FUNCTION t 10 \"f\" \"{access}\"\n"));
        assert_eq!(wire.answer().1, 403, "{access}");
    }
    wire.say("FUNCTION t 10 \"f\" \"0x7ff\"\n");
    assert_eq!(wire.answer().1, 200);
}

#[test]
fn a_cell_that_is_no_number_is_empty() {
    for value in [None, Some(f64::NAN), Some(f64::INFINITY)] {
        assert_eq!(Cell::from(value), Cell::Unknown);
    }
}
