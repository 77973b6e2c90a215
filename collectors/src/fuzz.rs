//! What is fuzzed: everything that reads what others wrote, up to what the agent makes of the result.
//! `make fuzz` builds the plugin with `--cfg fuzzing`: its main is then libFuzzer's, and FUZZ_TARGET names
//! the target. The seeds and whatever was once found are ordinary tests.

mod targets;

/// A function that must stand any input.
pub struct Target {
    /// As in FUZZ_TARGET, and the folder of its seeds in tests/fuzz.
    pub name: &'static str,
    /// Panics on a finding.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "writer",
        run: targets::writer,
    },
    Target {
        name: "page",
        run: targets::page,
    },
    Target {
        name: "sglang",
        run: targets::sglang,
    },
    Target {
        name: "command_line",
        run: targets::command_line,
    },
    Target {
        name: "calls",
        run: targets::calls,
    },
    Target {
        name: "config",
        run: targets::config,
    },
];

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    use std::sync::LazyLock;
    static TARGET: LazyLock<&Target> = LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let target = TARGETS.iter().find(|target| target.name == name);
        target.expect("FUZZ_TARGET names a target")
    });
    (TARGET.run)(input);
});

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_target_stands_its_seeds_and_what_was_once_found() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
        for target in TARGETS {
            let files: Vec<_> = fs::read_dir(seeds.join(target.name)).unwrap().collect();
            assert!(!files.is_empty(), "{} has no seeds", target.name);
            for file in files {
                (target.run)(&fs::read(file.unwrap().path()).unwrap());
            }
        }
    }
}
