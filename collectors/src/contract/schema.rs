//! config_schema.json of each module: what go.d's dynamic configuration and editors know of a file.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::{directory, read};
use crate::config::{shared_keys, to_json};
use crate::modules::{MODULES, Module};

fn schema(module: &Module) -> Value {
    let text = read(&directory(module.name).join("config_schema.json"));
    let all: Value = serde_json::from_str(&text).expect("config_schema.json is JSON");
    all["jsonSchema"].clone()
}

/// What is wrong with `value` under `schema`, for the words of JSON schema that ours use.
fn faults(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |schema: &Value| {
            let mut inner = vec![];
            faults(schema, value, at, &mut inner);
            inner.is_empty()
        };
        if !any.iter().any(fits) {
            found.push(format!("{at}: fits none of its forms"));
        }
        return;
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        // What YAML takes for a number may be meant as text.
        Some("string") => value.is_string() || value.is_number() || value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        other => panic!("{at}: type {other:?} in a schema"),
    };
    if !fits {
        return found.push(format!("{at}: is of another type"));
    }
    let number = value.as_f64();
    let below = schema["minimum"]
        .as_f64()
        .zip(number)
        .is_some_and(|(least, n)| n < least);
    let above = schema["maximum"]
        .as_f64()
        .zip(number)
        .is_some_and(|(most, n)| n > most);
    let pattern = schema["pattern"].as_str().zip(value.as_str());
    let unlike =
        pattern.is_some_and(|(pattern, text)| !Regex::new(pattern).unwrap().is_match(text));
    if below || above || unlike {
        found.push(format!("{at}: is out of range"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        faults(&schema["items"], item, &format!("{at}[{index}]"), found);
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        match (
            schema["properties"].get(key),
            &schema["additionalProperties"],
        ) {
            (Some(schema), _) => faults(schema, inner, &at, found),
            (None, Value::Object(_)) => faults(&schema["additionalProperties"], inner, &at, found),
            (None, _) => found.push(format!("{at}: is unknown")),
        }
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().unwrap_or_default()).is_none() {
            found.push(format!("{at}: {key} is missing"));
        }
    }
}

/// The mistakes of a file under the schema, which is of one job: each job inherits what stands above it.
fn faults_of_file(schema: &Value, text: &str) -> Vec<String> {
    let mut found = vec![];
    let Some(mut top) = to_json(text).unwrap() else {
        return found;
    };
    let jobs = top.as_object_mut().and_then(|top| top.remove("jobs"));
    let mut base = schema.clone();
    base["required"] = Value::Null;
    faults(&base, &top, "top", &mut found);
    for job in jobs.iter().filter_map(Value::as_array).flatten() {
        faults(schema, job, "job", &mut found);
    }
    found
}

#[test]
fn every_option_is_in_the_schema_and_every_property_an_option() {
    for module in MODULES {
        let schema = schema(module);
        let properties = schema["properties"].as_object().unwrap().keys().cloned();
        let own = (module.config.keys)().iter().chain(shared_keys());
        let mut keys: BTreeSet<String> = own.map(|key| (*key).to_owned()).collect();
        keys.insert("name".to_owned());
        assert_eq!(properties.collect::<BTreeSet<_>>(), keys, "{}", module.name);
        assert_eq!(schema["additionalProperties"], false, "{}", module.name);
        let every = &schema["properties"]["update_every"]["default"];
        assert_eq!(every.as_u64(), Some(module.config.update_every.into()));
    }
}

#[test]
fn the_stock_file_validates_as_it_is_and_with_everything_uncommented() {
    for module in MODULES {
        let path = format!("../conf.d/rs.d/{}.conf", module.name);
        let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        let schema = schema(module);
        for text in [&text, &super::stock::uncommented(&text, true)] {
            assert_eq!(faults_of_file(&schema, text), [""; 0], "{}", module.name);
        }
    }
}

#[test]
fn a_schema_refuses_what_the_plugin_refuses() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/configs/invalid");
    let sglang = MODULES
        .iter()
        .find(|module| module.name == "sglang")
        .unwrap();
    for name in [
        "unknown_key",
        "unknown_nested_key",
        "wrong_type",
        "fraction",
        "negative",
        "too_large_a_number",
        "update_every_zero",
        "bad_url",
        "missing_url",
        "missing_name",
        "priority_zero",
        "label_with_keys",
        "secret_in_place_of_a_file",
        "objective_above_100",
    ] {
        let text = read(&fixtures.join(format!("sglang.{name}.yaml")));
        assert_ne!(faults_of_file(&schema(sglang), &text), [""; 0], "{name}");
    }
}
