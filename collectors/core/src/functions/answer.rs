//! What is said to a call: a table, what the function is (`info`), or why there is no table.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::table::{Chosen, Row};
use super::{Function, Refusal, Transaction};
use crate::stdin::Request;

/// Characters of what a caller said that an answer repeats.
const MAX_REPEATED: usize = 60;
/// Arguments with a value that the dashboard adds to every call; they mean something to logs only.
const FOR_LOGS: &[&str] = &[
    "after",
    "anchor",
    "before",
    "data_only",
    "delta",
    "direction",
    "facets",
    "histogram",
    "if_modified_since",
    "last",
    "query",
    "sampling",
    "slice",
    "sort",
    "tail",
    "timeout",
];

/// What a caller wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What the function is.
    Info,
    /// Its rows, or some of them.
    Rows(Chosen),
}

/// Understands the arguments and the payload of a call of `function`.
pub(super) fn wanted(function: &Function, request: &Request) -> Result<Wanted, Refusal> {
    let mut chosen = Chosen::default();
    for arg in &request.args {
        let (key, value) = arg.split_once(':').unwrap_or((arg, ""));
        if arg == "info" {
            return Ok(Wanted::Info);
        }
        if FOR_LOGS.contains(&key) {
            continue;
        }
        if value.is_empty() {
            return Err(Refusal::bad_request(format!(
                "{:?} is no argument: use info, or column:value[,value].",
                shortened(arg)
            )));
        }
        chosen.add(
            &function.view,
            shortened(key),
            value.split(',').map(str::to_owned),
        )?;
    }
    if let Some(payload) = request.payload.as_deref().map(<[u8]>::trim_ascii)
        && !payload.is_empty()
    {
        choose_by(payload, function, &mut chosen)?;
    }
    Ok(Wanted::Rows(chosen))
}

/// Takes `{"selections": {"column": ["value", …], …}, …}`; the rest is for logs.
fn choose_by(payload: &[u8], function: &Function, chosen: &mut Chosen) -> Result<(), Refusal> {
    let wrong = |why: &str| Err(Refusal::bad_request(format!("The payload {why}.")));
    let payload = match serde_json::from_slice(payload) {
        Ok(Value::Object(payload)) => payload,
        Ok(_) => return wrong("is no JSON object"),
        Err(error) => return wrong(&format!("is no JSON: {error}")),
    };
    if payload.get("info") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let selections = match payload.get("selections") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(selections)) => selections,
        Some(_) => return wrong("has selections that are no object"),
    };
    for (id, values) in selections {
        let Some(values) = values.as_array() else {
            return wrong("has a selection that is no list");
        };
        // Nothing selected is everything selected.
        if values.is_empty() {
            continue;
        }
        let word = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        chosen.add(&function.view, shortened(id), values.iter().map(word))?;
    }
    Ok(())
}

fn shortened(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(MAX_REPEATED)
        .map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// What the function is, without rows.
pub(super) fn info(function: &Function) -> Value {
    json!({
        "v": super::PROTOCOL,
        "status": 200,
        "type": "table",
        "has_history": false,
        "update_every": function.view.update_every,
        "help": function.help,
        "accepted_params": [],
        "required_params": [],
    })
}

/// The rows wanted.
pub(super) fn table(function: &Function, mut rows: Vec<Row>, chosen: &Chosen) -> Value {
    function.view.keep(&mut rows, chosen);
    let mut answer = info(function);
    if let (Value::Object(answer), Value::Object(table)) = (&mut answer, function.view.json(&rows))
    {
        answer.extend(table);
    }
    answer
}

/// Why there is no table.
pub(super) fn error(refusal: &Refusal) -> Value {
    json!({"status": refusal.status, "errorMessage": refusal.message})
}

/// An answer as the agent takes it, to be written at once. A new line ends the body, which has none of
/// its own: JSON escapes them.
pub(super) fn framed(transaction: &Transaction, answer: &mut Value, fresh_for: u32) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let expires = now + u64::from(fresh_for);
    answer["expires"] = expires.into();
    let status = &answer["status"];
    format!(
        "FUNCTION_RESULT_BEGIN '{transaction}' {status} 'application/json' {expires}\n{answer}\nFUNCTION_RESULT_END\n"
    )
}
