//! The stock files: every option is in them, commented, with its default or an example.

use std::fs;
use std::path::Path;

use super::read;
use crate::config::{Source, shared_keys};
use crate::modules::{MODULES, Module};

/// Commented options of a text, uncommented: a comment has one blank after its `#`, an option none, and what
/// belongs to an option two or more. Blocks whose comment speaks of an example are left out if `!examples`.
pub fn uncommented(text: &str, examples: bool) -> String {
    let mut out = String::new();
    for block in text.split("\n\n") {
        let is_option = |line: &&str| {
            line.starts_with('#') && (!line.starts_with("# ") || line.starts_with("#  "))
        };
        let (options, comments): (Vec<_>, Vec<_>) = block.lines().partition(is_option);
        if examples || !comments.concat().to_lowercase().contains("example") {
            for line in options {
                out += &line[1..];
                out.push('\n');
            }
        }
    }
    out
}

fn stock(module: &Module) -> String {
    let path = format!("../conf.d/rs.d/{}.conf", module.name);
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

/// A source with `text` as the module's file, and the virtual node of the examples.
fn source(module: &Module, text: &str) -> (tempfile::TempDir, Source) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("rs.d")).unwrap();
    fs::create_dir(root.path().join("vnodes")).unwrap();
    let vnodes = "- hostname: gpu-7\n  guid: 3b241101-e2bb-4255-8caf-4136c566a962\n";
    fs::write(root.path().join("vnodes/vnodes.conf"), vnodes).unwrap();
    let path = root
        .path()
        .join("rs.d")
        .join(format!("{}.conf", module.name));
    fs::write(path, text).unwrap();
    let source = Source {
        user: Some(root.path().to_owned()),
        ..Source::default()
    };
    (root, source)
}

#[test]
fn stock_files_are_right_as_they_are_and_with_each_option_and_example_uncommented() {
    for module in MODULES {
        let text = stock(module);
        // One line at a time where each stands for itself: some exclude each other.
        let lines = text
            .lines()
            .filter(|line| line.starts_with('#') && !line.starts_with("# "));
        let alone = lines.filter(|line| !line.starts_with("#  ") && !line.ends_with(':'));
        let mut texts: Vec<String> = alone.map(|line| format!("{}\n", &line[1..])).collect();
        // And blocks that begin with a heading.
        texts.extend(
            text.split("\n\n")
                .map(|block| uncommented(block, true))
                .filter(|block| block.lines().next().is_some_and(|line| line.ends_with(':'))),
        );
        texts.push(text);
        for text in &texts {
            let (_root, source) = source(module, text);
            let problems = (module.config.check)(&source);
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(lines, [""; 0], "{text}");
        }
    }
}

#[test]
fn every_option_is_in_the_stock_file() {
    for module in MODULES {
        let text = stock(module);
        let keys = (module.config.keys)().iter().chain(shared_keys());
        for key in keys {
            let at_top = text
                .lines()
                .any(|line| line.starts_with(&format!("#{key}:")));
            // Of a listed job only.
            let in_job = text
                .lines()
                .any(|line| line.starts_with(&format!("#    {key}:")));
            assert!(at_top || in_job, "{key} is not in {}.conf", module.name);
        }
        assert!(
            text.contains("\n#jobs:\n"),
            "{}.conf shows no job",
            module.name
        );
    }
}

#[test]
fn what_stands_in_the_stock_file_is_the_default_unless_it_is_an_example() {
    for module in MODULES {
        let (_root, written) = source(module, &uncommented(&stock(module), false));
        let (_root, none) = source(module, "");
        assert!(
            (module.config.same_base)(&written, &none),
            "{}",
            module.name
        );
    }
}
