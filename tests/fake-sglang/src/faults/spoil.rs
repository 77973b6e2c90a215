//! Spoils the answer to `/metrics`: its encoding, its length, its pace, its type, its place, its labels.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

/// Size of the long page, and of the short one once it is unpacked.
const HUGE_BYTES: usize = 50 << 20;
/// What a bomb unpacks to: short, so that it packs well.
const LINE: &str = "sglang:num_running_reqs{tp_rank=\"0\"} 1.0\n";
/// Pause after each byte of a page that drips.
const DRIP: Duration = Duration::from_millis(200);

/// The ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// As it is.
    #[default]
    Off,
    /// The connection closes halfway through the body.
    Truncated,
    /// 50 MB of samples.
    Huge,
    /// A byte at a time.
    Drip,
    /// Packed, although nobody asked.
    Gzip,
    /// A small body that unpacks to 50 MB.
    Bomb,
    /// A web page, as a proxy in between would answer.
    Html,
    /// Sent on to another host.
    Redirect,
    /// Series have a label that is another one on each page.
    Labels,
    /// Every series of rank 0 is there of fifteen more ranks.
    Ranks,
    /// Bytes that are no text.
    Binary,
}

#[derive(Default)]
pub struct Spoil {
    way: Mutex<Way>,
    pages: AtomicU64,
}

impl Spoil {
    /// Sets the way.
    ///
    /// # Errors
    /// If there is no such way.
    pub fn set(&self, text: &str) -> Result<(), String> {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Way::from_str(text, false)?;
        Ok(())
    }

    /// The way in force.
    pub fn way(&self) -> Way {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers with `page`, spoilt; false if it is to be answered as usual. Closing the connection is up to
    /// the caller.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn answer(&self, page: impl Fn() -> String, mut client: &TcpStream) -> io::Result<bool> {
        const TEXT: &str = "content-type: text/plain; version=0.0.4\r\n";
        let way = self.way();
        let (status, headers, body) = match way {
            Way::Off => return Ok(false),
            Way::Truncated | Way::Drip => ("200 OK", TEXT.to_owned(), page().into_bytes()),
            Way::Huge => ("200 OK", TEXT.to_owned(), repeated(&page())),
            Way::Gzip => ("200 OK", packed(TEXT), gzip(page().as_bytes())?),
            Way::Bomb => ("200 OK", packed(TEXT), gzip(&repeated(LINE))?),
            Way::Html => {
                let body = b"<!DOCTYPE html><title>Sign in</title>".to_vec();
                ("200 OK", "content-type: text/html\r\n".to_owned(), body)
            }
            Way::Redirect => {
                // An address for documentation: nobody is there.
                let to = "location: http://192.0.2.1/metrics\r\n".to_owned();
                ("302 Found", to, Vec::new())
            }
            Way::Labels => {
                let number = self.pages.fetch_add(1, Ordering::Relaxed);
                let body = labelled(&page(), &format!("page=\"{number}\","));
                ("200 OK", TEXT.to_owned(), body.into_bytes())
            }
            Way::Ranks => ("200 OK", TEXT.to_owned(), ranks(&page()).into_bytes()),
            Way::Binary => (
                "200 OK",
                TEXT.to_owned(),
                (0..=255).cycle().take(65536).collect(),
            ),
        };
        let length = body.len();
        write!(
            client,
            "HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n"
        )?;
        match way {
            Way::Truncated => client.write_all(&body[..length / 2])?,
            Way::Drip => {
                for byte in body {
                    if self.way() != Way::Drip {
                        break;
                    }
                    client.write_all(&[byte])?;
                    thread::sleep(DRIP);
                }
            }
            _ => client.write_all(&body)?,
        }
        Ok(true)
    }
}

fn packed(headers: &str) -> String {
    format!("{headers}content-encoding: gzip\r\n")
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

fn repeated(page: &str) -> Vec<u8> {
    page.bytes().cycle().take(HUGE_BYTES).collect()
}

/// The page with `label` in front of every series' labels.
fn labelled(page: &str, label: &str) -> String {
    page.replace('{', &format!("{{{label}"))
}

/// The page with fifteen copies of every sample of rank 0.
fn ranks(page: &str) -> String {
    const RANK: &str = "dp_rank=\"0\"";
    let mut text = String::with_capacity(page.len() * 16);
    for line in page.lines() {
        let _ = writeln!(text, "{line}");
        if line.contains(RANK) && !line.starts_with('#') {
            for rank in 1..16 {
                let _ = writeln!(
                    text,
                    "{}",
                    line.replace(RANK, &format!("dp_rank=\"{rank}\""))
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_ranks_change_series_and_nothing_else() {
        let page = "# TYPE x gauge\nx{dp_rank=\"0\"} 1\ny{a=\"b\"} 2\n";
        assert_eq!(
            labelled(page, "page=\"7\","),
            "# TYPE x gauge\nx{page=\"7\",dp_rank=\"0\"} 1\ny{page=\"7\",a=\"b\"} 2\n"
        );
        let ranks = ranks(page);
        assert_eq!(ranks.lines().count(), 3 + 15);
        assert!(ranks.contains("x{dp_rank=\"15\"} 1\n"));
    }

    #[test]
    fn a_bomb_is_small_until_it_is_unpacked() {
        let bomb = gzip(&repeated(LINE)).unwrap();
        assert!(bomb.len() < HUGE_BYTES / 100, "{}", bomb.len());
    }
}
