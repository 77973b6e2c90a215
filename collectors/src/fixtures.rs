//! Captures of real servers, and pages written like theirs, for the tests of every module.

use std::fs;
use std::path::PathBuf;

/// Versions of which the repository holds captures.
pub const VERSIONS: [&str; 4] = ["0.4.6.post5", "0.5.12", "0.5.23", "0.5.23-dp2-auth"];

/// The folder of `version`'s captures.
pub fn sglang(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/sglang")
        .join(version)
}

/// The page `/metrics` had at `moment`: `idle`, `load_t0`, `load_t10` (10 s later) or `after`.
pub fn page(version: &str, moment: &str) -> Vec<u8> {
    let path = sglang(version).join(format!("metrics_{moment}.txt"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every captured page with its name.
pub fn pages() -> impl Iterator<Item = (String, Vec<u8>)> {
    VERSIONS.into_iter().flat_map(|version| {
        ["idle", "load_t0", "load_t10", "after"]
            .map(|moment| (format!("{version} {moment}"), page(version, moment)))
    })
}

/// The metrics of 22 versions: name, first and last version, type, labels of its own.
pub fn metrics_of_all_versions() -> Vec<[String; 5]> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/sglang-metrics.tsv");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let row = |line: &str| {
        let cells: Vec<_> = line.split('\t').map(str::to_owned).collect();
        [0, 1, 2, 3, 5].map(|at: usize| cells[at].clone())
    };
    text.lines().skip(1).map(row).collect()
}

/// The page of another engine (`vllm`, `llamacpp`, `tgi`) at second 0 or 10 of a steady load.
pub fn engine_page(engine: &str, second: u32) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/prometheus")
        .join(format!("{engine}_t{second}.txt"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
