//! Names of an image's content: the file's own checksum, and the digest under which a registry holds it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Read at once.
const CHUNK: usize = 1 << 20;

/// SHA-256 of a file in hexadecimal digits.
pub fn of_file(path: &Path) -> Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut sum = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).with_context(reading)? {
            0 => return Ok(hex(&sum.finalize())),
            count => sum.update(&chunk[..count]),
        }
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
}

/// The registry's digest of the image that `pull` has just written, from the runtime's cache: it keeps each
/// manifest under its digest, and what it made of it under the sum of digest and architecture. None where the
/// cache says nothing: another runtime, or no registry.
pub fn in_cache(cache: &Path, image: &Path, sum: &str) -> Option<String> {
    let cache = cache.join("cache");
    let index = fs::read(cache.join("blob/index.json")).ok()?;
    let index: Index = serde_json::from_slice(&index).ok()?;
    let bytes = fs::metadata(image).ok()?.len();
    index
        .manifests
        .into_iter()
        .map(|manifest| manifest.digest)
        .find(|digest| {
            let Some((_, digits)) = digest.split_once(':') else {
                return false;
            };
            let name = hex(&Sha256::digest(format!("{digits}{}", architecture())));
            let made = cache.join("oci-tmp").join(name);
            fs::metadata(&made).is_ok_and(|meta| meta.len() == bytes)
                && of_file(&made).is_ok_and(|made| made == sum)
        })
}

/// As registries call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_sum_that_sha256sum_prints() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&file).unwrap(), expected);
    }

    #[test]
    fn the_registrys_digest_is_that_of_the_manifest_the_image_was_made_of() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        fs::create_dir_all(cache.join("blob")).unwrap();
        fs::create_dir_all(cache.join("oci-tmp")).unwrap();
        let index =
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:aa"},{"digest":"sha256:bb"}]}"#;
        fs::write(cache.join("blob/index.json"), index).unwrap();
        for (digits, content) in [("aa", "old!"), ("bb", "new!")] {
            let name = hex(&Sha256::digest(format!("{digits}{}", architecture())));
            fs::write(cache.join("oci-tmp").join(name), content).unwrap();
        }
        let image = dir.path().join("image");
        fs::write(&image, "new!").unwrap();
        let sum = of_file(&image).unwrap();
        let found = in_cache(dir.path(), &image, &sum);
        assert_eq!(found.as_deref(), Some("sha256:bb"));
        fs::write(&image, "none").unwrap();
        let sum = of_file(&image).unwrap();
        assert_eq!(in_cache(dir.path(), &image, &sum), None);
    }
}
