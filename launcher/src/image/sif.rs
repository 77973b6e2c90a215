//! What a SIF file says of itself in its first bytes: that it is one, and how long it has to be.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, bail};

/// Launch script, magic, version, architecture, id, times and the table's numbers.
const HEADER: usize = 128;
/// After 32 bytes of launch script.
const MAGIC: &[u8] = b"SIF_MAGIC";
const MAGIC_AT: usize = 32;
/// Where the data begins and how long it is, both in bytes, little-endian.
const DATA_OFFSET_AT: usize = 112;
const DATA_SIZE_AT: usize = 120;

/// Tells a whole SIF file from everything else.
pub fn check(path: &Path) -> Result<()> {
    let mut header = [0; HEADER];
    let length = File::open(path).and_then(|mut file| {
        file.read_exact(&mut header)?;
        Ok(file.metadata()?.len())
    });
    let Some(length) = length
        .ok()
        .filter(|_| header[MAGIC_AT..].starts_with(MAGIC))
    else {
        bail!("{} is not a SIF image (or cannot be read)", path.display());
    };
    let needed = number(&header, DATA_OFFSET_AT).saturating_add(number(&header, DATA_SIZE_AT));
    if length < needed {
        bail!(
            "{} is cut short: {length} bytes of {needed}; get it again",
            path.display()
        );
    }
    Ok(())
}

fn number(header: &[u8; HEADER], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn image(data: u64) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[MAGIC_AT..MAGIC_AT + MAGIC.len()].copy_from_slice(MAGIC);
        bytes[DATA_OFFSET_AT..][..8].copy_from_slice(&128u64.to_le_bytes());
        bytes[DATA_SIZE_AT..][..8].copy_from_slice(&data.to_le_bytes());
        bytes
    }

    #[test]
    fn a_truncated_image_is_told_from_a_whole_one_and_from_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sif");
        let said = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            check(&path).map_err(|error| error.to_string())
        };
        let mut whole = image(5);
        whole.extend_from_slice(b"12345");
        assert_eq!(said(&whole), Ok(()));
        let error = said(&whole[..132]).unwrap_err();
        assert!(error.contains("cut short: 132 bytes of 133"), "{error}");
        for other in [&b""[..], b"#!/bin/sh\n", &[b'#'; 4096]] {
            let error = said(other).unwrap_err();
            assert!(error.contains("is not a SIF image"), "{error}");
        }
    }
}
