//! The endpoints that tell a server's load where neither metrics nor its log do. Each asks its scheduler, and
//! hangs with it: rarely, briefly, and not again for a while once one did.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Figures, Source};
use crate::http::{Client, Scheme};

/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// Time for an answer: a scheduler that works gives one within a round.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause after none came in time: asking may have frozen the whole server.
const AFTER_SILENCE: Duration = Duration::from_secs(300);
/// Pause after every endpoint was refused: another answer takes another server, or another key.
const AFTER_REFUSAL: Duration = Duration::from_secs(600);
/// Longest answer taken; the longest of real servers has 56 KiB.
const MAX_ANSWER: usize = 1 << 20;
/// The endpoints, best first: 0.5.8 and later, 0.4.10 to 0.5.20, 0.5.6 and later, before.
const ENDPOINTS: [(&str, Parse); 4] = [
    ("/v1/loads", v1_loads),
    ("/get_load", get_load),
    ("/server_info", server_info),
    ("/get_server_info", server_info),
];

type Parse = fn(&[u8]) -> Option<Figures>;

/// Asks one server.
#[derive(Debug)]
pub struct Api {
    client: Option<Client>,
    endpoint: usize,
    ask_at: Option<Instant>,
    last: Option<(Figures, Instant)>,
    told_key: bool,
    /// The rate as it was told last, before it was judged.
    told_decode: Option<f64>,
}

impl Api {
    /// Has asked nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            client: None,
            endpoint: 0,
            ask_at: None,
            last: None,
            told_key: false,
            told_decode: None,
        }
    }

    /// What the server that speaks `scheme` at `address` says, at most one question ago. `key` goes into the
    /// header alone.
    pub fn figures(
        &mut self,
        (scheme, address): (Scheme, SocketAddr),
        key: Option<&str>,
        now: Instant,
    ) -> Option<Figures> {
        if self.ask_at.is_none_or(|at| now >= at) {
            self.ask_at = Some(now + ASK_EVERY);
            let mut figures = self.ask((scheme, address), key, now);
            if let Some(figures) = &mut figures {
                let told = std::mem::replace(&mut self.told_decode, figures.decode);
                figures.decode = fresh(figures, told);
            }
            self.last = figures.map(|figures| (figures, now));
        }
        let (figures, at) = self.last?;
        (now.saturating_duration_since(at) <= ASK_EVERY * 2).then_some(figures)
    }

    fn ask(
        &mut self,
        (scheme, address): (Scheme, SocketAddr),
        key: Option<&str>,
        now: Instant,
    ) -> Option<Figures> {
        let mut body = Vec::new();
        while let Some((path, parse)) = ENDPOINTS.get(self.endpoint) {
            let client = match self.client.take() {
                Some(client) => client,
                None => Client::new(scheme, address, path, PATIENCE, MAX_ANSWER)
                    .ok()?
                    .with_bearer(key),
            };
            match client.get(&mut body) {
                Ok(200) => {
                    if let Some(figures) = parse(&body) {
                        self.client = Some(client);
                        return Some(figures);
                    }
                }
                Ok(401 | 403) => {
                    if !std::mem::replace(&mut self.told_key, true) {
                        log::info!(
                            "{} wants the server's API key: for its load name a file with it as \
                             api_key_file in rs.d/sglang.conf, or start it with --enable-metrics",
                            client.url()
                        );
                    }
                    self.ask_at = Some(now + AFTER_REFUSAL);
                    return None;
                }
                Ok(status) => log::debug!("{}: status {status}", client.url()),
                Err(error) => {
                    log::debug!("{error:#}");
                    self.ask_at = Some(now + AFTER_SILENCE);
                    return None;
                }
            }
            self.endpoint += 1;
        }
        self.endpoint = 0;
        self.ask_at = Some(now + AFTER_REFUSAL);
        None
    }
}

/// `/v1/loads`: an entry a data-parallel rank.
#[derive(Deserialize)]
struct Loads {
    loads: Vec<Load>,
}

#[derive(Deserialize)]
struct Load {
    num_running_reqs: Option<f64>,
    num_waiting_reqs: Option<f64>,
    num_used_tokens: Option<f64>,
    max_total_num_tokens: Option<f64>,
    max_running_requests: Option<f64>,
    token_usage: Option<f64>,
    gen_throughput: Option<f64>,
}

fn v1_loads(body: &[u8]) -> Option<Figures> {
    let Loads { loads } = serde_json::from_slice(body).ok()?;
    let first = loads.first()?;
    let sum = |of: fn(&Load) -> Option<f64>| sum(loads.iter().map(of));
    // The gauge is the fullest rank's; tokens over capacity is exact.
    let exact = sum(|it| it.num_used_tokens)
        .zip(sum(|it| it.max_total_num_tokens))
        .filter(|(_, capacity)| *capacity > 0.0)
        .map(|(used, capacity)| used / capacity);
    let highest = || {
        loads
            .iter()
            .filter_map(|it| it.token_usage)
            .reduce(f64::max)
    };
    first.num_running_reqs?;
    Some(Figures {
        running: sum(|it| it.num_running_reqs),
        queued: sum(|it| it.num_waiting_reqs),
        usage: exact.or_else(highest),
        max_running: sum(|it| it.max_running_requests),
        // The rate of the last batch, which stays when nothing runs any more.
        decode: sum(|it| match it.num_running_reqs {
            Some(0.0) => Some(0.0),
            _ => it.gen_throughput,
        }),
        ..Figures::of(Source::Api)
    })
}

/// The rate of the last batch, where something says that it still runs: the number of requests, or that the
/// rate is another one than before. Otherwise it may be of any age.
fn fresh(figures: &Figures, told: Option<f64>) -> Option<f64> {
    let rate = figures.decode?;
    let moved = told.is_some_and(|told| told != rate);
    (rate == 0.0 || figures.running.is_some() || moved).then_some(rate)
}

/// `/get_load`: `num_reqs` counts running and waiting requests.
#[derive(Deserialize)]
struct OldLoad {
    num_reqs: f64,
    num_waiting_reqs: f64,
}

fn get_load(body: &[u8]) -> Option<Figures> {
    let loads: Vec<OldLoad> = serde_json::from_slice(body).ok()?;
    loads.first()?;
    Some(Figures {
        running: sum(loads
            .iter()
            .map(|it| Some(it.num_reqs - it.num_waiting_reqs))),
        queued: sum(loads.iter().map(|it| Some(it.num_waiting_reqs))),
        ..Figures::of(Source::Api)
    })
}

/// `/server_info`, of which nothing else is looked at: it holds the keys, too.
#[derive(Deserialize)]
struct ServerInfo {
    internal_states: Vec<InternalState>,
}

#[derive(Deserialize)]
struct InternalState {
    last_gen_throughput: Option<f64>,
}

fn server_info(body: &[u8]) -> Option<Figures> {
    let info: ServerInfo = serde_json::from_slice(body).ok()?;
    let decode = sum(info.internal_states.iter().map(|it| it.last_gen_throughput));
    decode.map(|decode| Figures {
        decode: Some(decode),
        ..Figures::of(Source::Api)
    })
}

/// The sum, if every part of it is known.
fn sum(parts: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    parts
        .sum::<Option<f64>>()
        .filter(|sum| sum.is_finite() && *sum >= 0.0)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const V1: &[u8] = br#"{"version":"0.5.23","loads":[
        {"dp_rank":0,"num_running_reqs":6,"num_waiting_reqs":1,"num_used_tokens":1873,
         "max_total_num_tokens":20000,"token_usage":0.0936,"gen_throughput":281.47},
        {"dp_rank":1,"num_running_reqs":2,"num_waiting_reqs":0,"num_used_tokens":602,
         "max_total_num_tokens":20000,"token_usage":0.0301,"gen_throughput":207.72}]}"#;

    #[test]
    fn the_load_of_every_rank_counts() {
        let figures = v1_loads(V1).unwrap();
        assert_eq!((figures.running, figures.queued), (Some(8.0), Some(1.0)));
        assert_eq!(figures.usage, Some(2475.0 / 40000.0));
        assert!((figures.decode.unwrap() - 489.19).abs() < 1e-9);
        assert_eq!(figures.source, Source::Api);
        assert_eq!(figures.max_running, None, "an older version");
        let newer = br#"{"loads":[{"num_running_reqs":6,"max_running_requests":2500},
            {"num_running_reqs":2,"max_running_requests":2500}]}"#;
        assert_eq!(v1_loads(newer).unwrap().max_running, Some(5000.0));
    }

    #[test]
    fn older_answers_say_less_and_nothing_is_made_up() {
        // As 0.5.12 answered.
        let body = br#"[{"dp_rank":null,"num_reqs":14,"num_waiting_reqs":2,"num_tokens":4431}]"#;
        let figures = get_load(body).unwrap();
        assert_eq!((figures.running, figures.queued), (Some(12.0), Some(2.0)));
        assert_eq!((figures.usage, figures.decode), (None, None));
        let body = br#"{"api_key":"s3cret","internal_states":[{"last_gen_throughput":659.75}]}"#;
        let figures = server_info(body).unwrap();
        assert_eq!((figures.decode, figures.running), (Some(659.75), None));
        for body in [
            &b""[..],
            b"Internal Server Error",
            // `/get_load` of 0.4.10 and 0.5.1: tokens, of running and waiting requests together.
            br#"{"load":4431}"#,
            b"[]",
            b"{}",
            br#"{"loads":[]}"#,
        ] {
            assert_eq!(v1_loads(body), None);
            assert_eq!(get_load(body), None);
            assert_eq!(server_info(body), None);
        }
    }

    /// Answers by path, and tells what it was asked, with which key.
    fn serve(answer: fn(&str) -> (u16, Vec<u8>)) -> (SocketAddr, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, questions) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mut path, mut key, mut line) = (String::new(), String::new(), String::new());
                let mut reader = BufReader::new(&stream);
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    let lower = line.to_ascii_lowercase();
                    if let Some(rest) = line.strip_prefix("GET ") {
                        path = rest.split(' ').next().unwrap().to_owned();
                    } else if lower.starts_with("authorization: ") {
                        key = line["authorization: ".len()..].trim().to_owned();
                    }
                    line.clear();
                }
                let (status, body) = answer(&path);
                let _ = asked.send(format!("{path} {key}"));
                let head = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let _ = (&stream).write_all(&[head.as_bytes(), &body].concat());
            }
        });
        (address, questions)
    }

    #[test]
    fn what_is_not_there_is_asked_once_and_then_only_what_answered() {
        let (address, questions) = serve(|path| match path {
            "/v1/loads" => (500, b"Internal Server Error".to_vec()),
            "/get_load" => (200, br#"[{"num_reqs":3,"num_waiting_reqs":1}]"#.to_vec()),
            _ => (404, vec![]),
        });
        let (mut api, start) = (Api::new(), Instant::now());
        assert_eq!(
            api.figures((Scheme::Http, address), Some("k3y"), start)
                .unwrap()
                .running,
            Some(2.0)
        );
        let soon = start + Duration::from_secs(14);
        assert_eq!(
            api.figures((Scheme::Http, address), Some("k3y"), soon)
                .unwrap()
                .running,
            Some(2.0)
        );
        let later = start + Duration::from_secs(15);
        assert!(
            api.figures((Scheme::Http, address), Some("k3y"), later)
                .is_some()
        );
        let asked: Vec<_> = questions.try_iter().collect();
        assert_eq!(
            asked,
            [
                "/v1/loads Bearer k3y",
                "/get_load Bearer k3y",
                "/get_load Bearer k3y"
            ]
        );
    }

    #[test]
    fn a_server_that_wants_a_key_or_has_none_of_them_is_left_alone_for_long() {
        for status in [401, 404] {
            let (address, questions) = serve(match status {
                401 => |_| (401, vec![]),
                _ => |_| (404, vec![]),
            });
            let (mut api, start) = (Api::new(), Instant::now());
            for seconds in [0, 20, 599] {
                let now = start + Duration::from_secs(seconds);
                assert_eq!(api.figures((Scheme::Http, address), None, now), None);
            }
            let asked = questions.try_iter().count();
            assert_eq!(asked, if status == 401 { 1 } else { ENDPOINTS.len() });
        }
    }

    #[test]
    fn a_server_that_hangs_is_not_asked_again_for_minutes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (mut api, start) = (Api::new(), Instant::now());
        assert_eq!(api.figures((Scheme::Http, address), None, start), None);
        let asked = Instant::now();
        assert_eq!(
            api.figures(
                (Scheme::Http, address),
                None,
                start + Duration::from_secs(299)
            ),
            None
        );
        assert!(asked.elapsed() < PATIENCE, "it was asked again");
    }

    #[test]
    fn a_rate_that_nothing_says_is_of_now_is_none() {
        let of = |running, decode| Figures {
            running,
            decode: Some(decode),
            ..Figures::of(Source::Api)
        };
        assert_eq!(fresh(&of(Some(3.0), 281.5), Some(281.5)), Some(281.5));
        assert_eq!(fresh(&of(None, 281.5), None), None, "any age");
        assert_eq!(fresh(&of(None, 281.5), Some(281.5)), None, "the same batch");
        assert_eq!(fresh(&of(None, 290.0), Some(281.5)), Some(290.0));
        let idle = br#"{"loads": [{"num_running_reqs": 0, "gen_throughput": 281.5}]}"#;
        assert_eq!(v1_loads(idle).unwrap().decode, Some(0.0));
    }
}
