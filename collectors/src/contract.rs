//! What a module owes besides code: a stock file, metadata.yaml, config_schema.json; each is compared with the
//! code, so that none of them can be wrong.

mod charts;
mod metadata;
mod schema;
mod stock;

use std::fs;
use std::path::{Path, PathBuf};

use crate::modules::MODULES;

/// The directory of a module's code, from the crate's root.
fn directory(module: &str) -> PathBuf {
    let name = match module {
        "prometheus" => "prometheus_job",
        name => name,
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)
}

/// A file of the repository.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_module_is_in_rs_d_conf() {
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf.d/rs.d.conf"));
    for module in MODULES {
        let line = format!("#  {}: yes", module.name);
        assert!(text.contains(&line), "{line:?} is not in rs.d.conf");
    }
}
