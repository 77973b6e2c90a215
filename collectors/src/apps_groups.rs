//! The stock `apps_groups.conf` as Netdata's apps.plugin reads it: which processes are charted together.

use std::path::Path;

/// A group and its patterns.
type Group = (String, Vec<String>);

/// As apps.plugin cuts lines: blanks and colons part words, quotes at a word's beginning keep it whole, and a
/// backslash means nothing.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut rest) = (vec![], line);
    loop {
        rest = rest.trim_start_matches([' ', ':', '\t']);
        let quote = rest.chars().next().filter(|it| matches!(it, '\'' | '"'));
        let end = match quote {
            _ if rest.is_empty() => return words,
            Some(quote) => {
                rest = &rest[1..];
                rest.find(quote)
            }
            None => rest.find([' ', ':', '\t']),
        };
        let (word, more) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word.to_owned());
        rest = more.get(1..).unwrap_or_default();
    }
}

fn groups() -> Vec<Group> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf.d/apps_groups.conf");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let cut = lines.map(words).filter(|words| !words.is_empty());
    cut.map(|mut words| (words.remove(0), words)).collect()
}

/// The group of a process by its own name and command line.
fn group(groups: &[Group], comm: &str, cmdline: &str) -> String {
    let fits = |pattern: &String| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(text), Some(_)) => cmdline.contains(text.trim_end_matches('*')),
        (Some(end), None) => comm.ends_with(end),
        (None, Some(start)) => comm.starts_with(start),
        (None, None) => comm == pattern,
    };
    let found = groups.iter().find(|(_, all)| all.iter().any(fits));
    found.map_or_else(String::new, |(name, _)| name.clone())
}

#[test]
fn no_pattern_takes_everything() {
    let groups = groups();
    assert!(groups.len() > 20);
    for (name, patterns) in &groups {
        assert!(!patterns.is_empty(), "{name}");
        for pattern in patterns {
            let text = pattern.trim_matches('*');
            assert!(
                text.len() > 1 && !text.contains('\\'),
                "{name}: {pattern:?}"
            );
        }
    }
}

#[test]
fn engines_have_groups_of_their_own() {
    let groups = groups();
    let python = "python3";
    for (comm, cmdline, expected) in [
        ("sglang::schedul", "sglang::scheduler_TP0", "sglang"),
        ("sglang::detoken", "sglang::detokenizer", "sglang"),
        (
            python,
            "python3 -m sglang.launch_server --port 30000",
            "sglang",
        ),
        ("VLLM::EngineCor", "VLLM::EngineCore_DP0", "vllm"),
        (python, "/usr/bin/python3 /usr/bin/vllm serve model", "vllm"),
        (
            python,
            "python3 -m vllm.entrypoints.openai.api_server",
            "vllm",
        ),
        ("llama-server", "llama-server -m model.gguf", "llama.cpp"),
        ("ollama", "ollama serve", "ollama"),
        ("text-generation", "text-generation-launcher", "tgi"),
        ("local-ai", "local-ai run", "localai"),
        (
            "accelerate",
            "python3 /usr/bin/accelerate launch train.py",
            "training",
        ),
        ("netdata", "/usr/sbin/netdata -D", "netdata"),
        ("rs.d.plugin", "rs.d.plugin 1", "rs.d.plugin"),
        ("bash", "bash", "shells"),
        (python, "python3 train.py", ""),
        ("init", "/sbin/init", "system"),
    ] {
        assert_eq!(group(&groups, comm, cmdline), expected, "{comm}: {cmdline}");
    }
}
