//! What is known of an image: where it came from, and by which names it can be told from another.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::paths::Paths;

/// Hexadecimal digits of a digest that people compare.
const SHORT: usize = 12;

/// What is known of `netdata.sif`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageRecord {
    /// As the user wrote it.
    pub source: String,
    /// Seconds since 1970.
    pub pulled_at: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Version of the Netdata inside, as it says itself.
    pub version: Option<String>,
    /// The registry's name for the content, `sha256:…`: the same however often it is packed.
    pub digest: Option<String>,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: Option<String>,
}

impl ImageRecord {
    /// None where there is no record, or one that cannot be read.
    pub fn load(paths: &Paths) -> Option<Self> {
        serde_json::from_slice(&fs::read(paths.image_record()).ok()?).ok()
    }

    /// Writes it beside the image.
    pub fn store(&self, paths: &Paths) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).context("writing the image's record")?;
        files::write_private(&paths.image_record(), &json)
    }

    /// Whether both hold the same Netdata. Unknown is not the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let equal = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        equal(&self.digest, &other.digest) || equal(&self.sha256, &other.sha256)
    }

    /// The best name there is for the content, short.
    pub fn name(&self) -> String {
        let (kind, digits) = match (&self.digest, &self.sha256) {
            (Some(digest), _) => ("", digest.as_str()),
            (None, Some(sha256)) => ("file ", sha256.as_str()),
            (None, None) => return "unknown digest".to_owned(),
        };
        let (algorithm, digits) = digits.split_once(':').unwrap_or(("sha256", digits));
        let short: String = digits.chars().take(SHORT).collect();
        format!("{kind}{algorithm}:{short}")
    }

    /// The version, or that it is unknown.
    pub fn version(&self) -> &str {
        self.version.as_deref().unwrap_or("unknown version")
    }

    /// What an update changes, a line for each thing.
    pub fn changes(&self, earlier: Option<&Self>) -> Vec<String> {
        let none = Self::default();
        let earlier = earlier.unwrap_or(&none);
        let mut lines = vec![
            format!("image    {} -> {}", earlier.name(), self.name()),
            format!("Netdata  {} -> {}", earlier.version(), self.version()),
        ];
        if earlier.source != self.source {
            lines.push(format!("source   {} -> {}", earlier.source, self.source));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(digest: Option<&str>, sha256: Option<&str>) -> ImageRecord {
        ImageRecord {
            digest: digest.map(str::to_owned),
            sha256: sha256.map(str::to_owned),
            ..ImageRecord::default()
        }
    }

    #[test]
    fn the_same_content_packed_twice_is_the_same_image_and_unknown_is_not() {
        let packed = |file| record(Some("sha256:aa"), Some(file));
        assert!(packed("1").is_same_as(&packed("2")));
        assert!(!record(Some("sha256:aa"), None).is_same_as(&record(Some("sha256:bb"), None)));
        assert!(record(None, Some("1")).is_same_as(&record(None, Some("1"))));
        assert!(!record(None, None).is_same_as(&record(None, None)));
    }

    #[test]
    fn what_changes_is_told_by_digest_and_version() {
        let old = ImageRecord {
            version: Some("v1.37.1".to_owned()),
            ..record(None, Some("0123456789abcdef"))
        };
        let new = ImageRecord {
            version: Some("v2.11.0".to_owned()),
            ..record(Some("sha256:fedcba9876543210"), Some("1"))
        };
        assert_eq!(
            new.changes(Some(&old)),
            [
                "image    file sha256:0123456789ab -> sha256:fedcba987654",
                "Netdata  v1.37.1 -> v2.11.0"
            ]
        );
    }

    #[test]
    fn a_record_of_an_earlier_launcher_is_read() {
        let text = r#"{"source":"debian","pulled_at":1,"bytes":2,"version":"1.37.1-2"}"#;
        let read: ImageRecord = serde_json::from_str(text).unwrap();
        assert_eq!((read.bytes, read.digest), (2, None));
    }
}
