//! What the documents promise, compared with what there is: every test that they name, every command and flag that they
//! show, every check of `doctor`.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lab::{Lab, RUNS, STAYS};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn document(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

/// What stands between backticks on one line.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn sources(dir: &Path, found: &mut String) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *found += &fs::read_to_string(&path).unwrap();
        }
    }
}

/// Functions under `#[test]`, and the end-to-end tests, which are a table of names.
fn tests() -> BTreeSet<String> {
    let mut text = String::new();
    for part in ["collectors", "launcher", "tests"] {
        sources(&repository().join(part), &mut text);
    }
    let mut names = BTreeSet::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line == "#[test]" {
            let function = lines.find_map(|line| line.strip_prefix("fn "));
            let name = function.unwrap().split('(').next().unwrap();
            names.insert(name.to_owned());
        }
    }
    let table = document("tests/e2e/main.rs");
    let quoted = table.split('"').skip(1).step_by(2);
    names.extend(quoted.map(|name| name.trim_start_matches("sglang: ").to_owned()));
    names
}

/// A sentence is a test's name; a shorter word may be a metric's.
fn is_sentence(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    word.matches('_').count() >= 3 && word.chars().all(plain)
}

#[test]
fn every_test_that_the_launchers_documents_name_exists() {
    let tests = tests();
    for name in ["docs/launcher.md", "docs/security.md"] {
        let text = document(name);
        let named: Vec<&str> = code(&text).filter(|word| is_sentence(word)).collect();
        assert!(named.len() > 20, "{name} names {}", named.len());
        let missing: Vec<&&str> = named
            .iter()
            .filter(|test| !tests.contains(**test))
            .collect();
        assert!(
            missing.is_empty(),
            "{name} names tests that are not: {missing:?}"
        );
    }
}

#[test]
fn every_row_of_the_launchers_tables_has_its_proof() {
    let sections = [
        ("docs/launcher.md", "| before | now | test |"),
        ("docs/launcher.md", "| fault | means | test |"),
        ("docs/security.md", "| who | could try to | gets | test |"),
    ];
    for (name, head) in sections {
        let text = document(name);
        let (_, table) = text.split_once(head).unwrap();
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let mut count = 0;
        for row in rows {
            let proof = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
            assert!(code(proof).any(is_sentence), "{name}: no test in {row}");
            count += 1;
        }
        assert!(count > 10, "{name}: {count} rows below {head}");
    }
}

#[test]
fn every_command_and_flag_that_the_documents_show_exists() {
    let lab = Lab::new(RUNS, STAYS);
    let mut seen = BTreeSet::new();
    for name in [
        "README.md",
        "docs/launcher.md",
        "docs/security.md",
        "docs/alerts.md",
    ] {
        let text = document(name);
        for shown in code(&text) {
            let mut words = shown
                .split_whitespace()
                .skip_while(|word| *word == "--home" || *word == "…");
            if words.next() != Some("launcher") {
                continue;
            }
            let words: Vec<&str> = words.collect();
            let verbs = words
                .iter()
                .filter(|word| word.chars().all(|c| c.is_ascii_lowercase()));
            let mut verbs: Vec<&str> = verbs.copied().collect();
            // What follows may be another verb, or an argument.
            let nested = ["notify", "service"].contains(verbs.first().unwrap_or(&""));
            verbs.truncate(1 + usize::from(nested));
            verbs.push("--help");
            let (code, help) = lab.run(&verbs);
            assert_eq!(code, Some(0), "{name}: {shown}: {help}");
            for flag in words
                .iter()
                .filter(|word| word.starts_with('-') && word.len() > 1)
            {
                let flag = flag.trim_end_matches([',', ')']);
                assert!(
                    flag == "--" || help.contains(flag),
                    "{name}: {shown}: no {flag}"
                );
            }
            seen.insert(verbs[0].to_owned());
        }
    }
    assert!(seen.len() > 15, "only {seen:?}");
}

#[test]
fn every_flag_that_a_restart_keeps_is_a_setting_too() {
    let lab = Lab::new(RUNS, STAYS);
    let (_, help) = lab.run(&["restart", "--help"]);
    let (_, settings) = lab.run(&["config"]);
    let flags = help.lines().filter_map(|line| {
        let (_, rest) = line.split_once("--")?;
        rest.split([' ', ',']).next()
    });
    let flags: Vec<&str> = flags
        .filter(|flag| !["help", "env-file", "home"].contains(flag))
        .collect();
    assert!(flags.len() > 10, "{flags:?}");
    for flag in flags {
        let name = format!("LAUNCHER_{}", flag.to_uppercase().replace('-', "_"));
        let plural = format!("{name}S");
        assert!(
            settings
                .lines()
                .any(|line| line.starts_with(&format!("{name} ")) || line.starts_with(&plural)),
            "--{flag} is no setting"
        );
    }
}

#[test]
fn every_trouble_of_the_earlier_script_has_a_check_that_exists() {
    let lab = Lab::new(RUNS, STAYS);
    let output = lab.command(&["doctor", "--json"]).output().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids: BTreeSet<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    let text = document("docs/launcher.md");
    let (_, table) = text
        .split_once("| trouble | before | now | check |")
        .unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() >= 5, "{rows:?}");
    for row in rows {
        let checks = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(code(checks).count() > 0, "no check: {row}");
        for check in code(checks) {
            assert!(ids.contains(check), "there is no check {check}: {row}");
        }
    }
}
