//! Requests as read and answers as written.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read};

/// Longest request line or header.
const MAX_LINE: u64 = 8 << 10;
/// Most headers.
const MAX_HEADERS: usize = 100;
/// Longest body that is read, to be ignored.
const MAX_BODY: u64 = 1 << 20;
/// Size of a chunk: small enough to split a page in the middle of a line.
const CHUNK_BYTES: usize = 8 << 10;

/// What a client asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Without query.
    pub path: String,
    pub keep_alive: bool,
    /// Whether the client understands chunks.
    pub http_1_1: bool,
    /// The key after `Authorization: Bearer`.
    pub key: Option<String>,
}

impl Request {
    /// The next request; `None` when the client has closed the connection.
    ///
    /// # Errors
    /// If it is no HTTP/1 request, is too long, or the client is silent for too long.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(line) = read_line(reader)? else {
            return Ok(None);
        };
        let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let path = target.split('?').next().unwrap_or(target).to_owned();
        let http_1_1 = version == "HTTP/1.1";
        let mut request = Self {
            method: method.to_owned(),
            path,
            keep_alive: http_1_1,
            http_1_1,
            key: None,
        };
        let mut body = 0;
        for _ in 0..MAX_HEADERS {
            let header = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if header.is_empty() {
                io::copy(&mut reader.take(body), &mut io::sink())?;
                return Ok(Some(request));
            }
            let (name, value) = header.split_once(':').unwrap_or((&header, ""));
            if name.eq_ignore_ascii_case("authorization") {
                let key = value.trim().strip_prefix("Bearer ");
                request.key = key.map(ToOwned::to_owned);
            }
            match (
                name.to_ascii_lowercase().as_str(),
                value.trim().to_ascii_lowercase().as_str(),
            ) {
                ("connection", "close") => request.keep_alive = false,
                ("connection", "keep-alive") => request.keep_alive = true,
                ("content-length", length) => {
                    let length = length.parse().ok().filter(|length| *length <= MAX_BODY);
                    body = length.ok_or(io::ErrorKind::InvalidData)?;
                }
                _ => {}
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    match reader.take(MAX_LINE).read_line(&mut line)? {
        0 => Ok(None),
        _ if !line.ends_with('\n') => Err(io::ErrorKind::InvalidData.into()),
        _ => Ok(Some(line.trim_end().to_owned())),
    }
}

/// What a client gets.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    /// Without `Content-Length`, as SGLang sends its metrics.
    pub chunked: bool,
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: body.into(),
            chunked: false,
        }
    }

    /// FastAPI's way to say what is wrong.
    pub fn detail(status: u16) -> Self {
        Self::json(status, format!("{{\"detail\":\"{}\"}}", reason(status)))
    }

    /// The bytes on the wire, as the asking client takes them.
    pub fn encode(&self, asked: &Request) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let _ = write!(
            head,
            "server: uvicorn\r\ncontent-type: {}\r\n",
            self.content_type
        );
        if !asked.keep_alive {
            head.push_str("connection: close\r\n");
        }
        if !(self.chunked && asked.http_1_1) {
            let _ = write!(head, "content-length: {}\r\n\r\n", self.body.len());
            return [head.as_bytes(), self.body.as_bytes()].concat();
        }
        head.push_str("transfer-encoding: chunked\r\n\r\n");
        let mut bytes = head.into_bytes();
        for chunk in self.body.as_bytes().chunks(CHUNK_BYTES) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200..=299 => "OK",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unspecified",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Option<Request>> {
        Request::read(&mut text.as_bytes())
    }

    #[test]
    fn http_1_1_keeps_the_connection_unless_told_otherwise() {
        let request = read("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(
            (request.path.as_str(), request.keep_alive),
            ("/metrics", true)
        );
        let close = read("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            .unwrap()
            .unwrap();
        assert!(!close.keep_alive);
        assert!(!read("GET / HTTP/1.0\r\n\r\n").unwrap().unwrap().keep_alive);
    }

    #[test]
    fn a_body_is_skipped_so_that_the_next_request_is_found() {
        let text =
            "POST /generate HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n";
        let mut reader = text.as_bytes();
        assert_eq!(Request::read(&mut reader).unwrap().unwrap().method, "POST");
        assert_eq!(Request::read(&mut reader).unwrap().unwrap().path, "/");
        assert_eq!(Request::read(&mut reader).unwrap(), None);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for bad in [
            "hello\r\n\r\n",
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000))).is_err());
    }

    #[test]
    fn chunks_carry_the_whole_body_and_an_end() {
        let body = "0123456789abcdef".repeat(1024);
        let asked = read("GET / HTTP/1.1\r\n\r\n").unwrap().unwrap();
        let answer = Answer {
            status: 200,
            content_type: "text/plain",
            body: body.clone(),
            chunked: true,
        };
        let wire = String::from_utf8(answer.encode(&asked)).unwrap();
        let (head, mut rest) = wire.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("chunked"));
        let mut decoded = String::new();
        loop {
            let (size, after) = rest.split_once("\r\n").unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                assert_eq!(after, "\r\n");
                break;
            }
            decoded.push_str(&after[..size]);
            rest = &after[size + 2..];
        }
        assert_eq!(decoded, body);
        let old = read("GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(
            String::from_utf8(answer.encode(&old))
                .unwrap()
                .ends_with(&format!("\r\n\r\n{body}"))
        );
    }
}
