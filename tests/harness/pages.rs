//! Serves pages of metrics over HTTP, as an application does: from two moments 10 s apart every page in between
//! and after.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// Seconds between the two moments.
const APART: f64 = 10.0;
/// A connection that is silent for this long is closed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the page at a number of seconds.
type Page = Arc<dyn Fn(f64) -> String + Send + Sync>;

/// A server that answers until the process ends.
pub struct PageServer {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl PageServer {
    /// Serves what lies between and beyond `first` and `second`: numbers that differ grow evenly.
    ///
    /// # Errors
    /// When the two have not the same lines, or no port is free.
    pub fn growing(first: &str, second: &str) -> anyhow::Result<Self> {
        let lines: Vec<_> = first
            .lines()
            .map(str::to_owned)
            .zip(second.lines().map(str::to_owned))
            .collect();
        let counts = (first.lines().count(), second.lines().count());
        ensure!(counts.0 == counts.1, "pages of {counts:?} lines");
        Self::start(Arc::new(move |seconds| {
            let mut page = String::new();
            for (before, after) in &lines {
                page.push_str(&between(before, after, seconds));
                page.push('\n');
            }
            page
        }))
    }

    /// Serves always the same.
    ///
    /// # Errors
    /// When no port is free.
    pub fn fixed(page: String) -> anyhow::Result<Self> {
        Self::start(Arc::new(move |_| page.clone()))
    }

    fn start(page: Page) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for a page")?;
        let (port, began) = (listener.local_addr()?.port(), Instant::now());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let page = Arc::clone(&page);
                thread::spawn(move || answer(&stream, &page, began));
            }
        });
        Ok(Self { port })
    }
}

/// A line at `seconds`: its number, where the two moments differ, and all else as it is.
fn between(before: &str, after: &str, seconds: f64) -> String {
    let number = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
    match (before == after, number(before), number(after)) {
        (false, Some(low), Some(high)) => {
            let name = before.rsplit_once(' ').map_or("", |(name, _)| name);
            format!("{name} {}", low + (high - low) * seconds / APART)
        }
        _ => after.to_owned(),
    }
}

fn answer(stream: &TcpStream, page: &Page, began: Instant) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        let body = page(began.elapsed().as_secs_f64());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        writer.write_all(head.as_bytes()).ok()?;
        writer.write_all(body.as_bytes()).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_grows_evenly_and_the_rest_stays() {
        assert_eq!(
            between("a{x=\"1\"} 10", "a{x=\"1\"} 30", 5.0),
            "a{x=\"1\"} 20"
        );
        assert_eq!(between("a 7", "a 7", 5.0), "a 7");
        assert_eq!(
            between("# TYPE a counter", "# TYPE a counter", 5.0),
            "# TYPE a counter"
        );
    }
}
