//! What a server's own log says: the lines `Prefill batch` and `Decode batch`, which cost it nothing. Wording
//! and punctuation differ by version; the keys are the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Figures, Source};
use crate::host_probe::Tail;

/// Silence after which a rank's last line says nothing any more. Busy, it writes one at every prefill and
/// every 40 decode steps.
const SPEAKS_WITHIN: Duration = Duration::from_secs(45);
/// Most data-parallel ranks kept.
const MAX_RANKS: usize = 256;

/// What one line says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// `DPn` of its time stamp.
    pub dp_rank: u32,
    /// Whether a later pipeline stage wrote it, which tells the same requests again.
    pub repeated: bool,
    /// `#running-req`.
    pub running: Option<f64>,
    /// `#queue-req`.
    pub queued: Option<f64>,
    /// `token usage`, 0 to 1; of several pools the fullest one's.
    pub usage: Option<f64>,
    /// `gen throughput (token/s)` of a decode line.
    pub decode: Option<f64>,
    /// `#new-token` of a prefill line: prompt tokens computed.
    pub new_tokens: Option<f64>,
    /// `#cached-token` of a prefill line: prompt tokens found in the prefix cache.
    pub cached_tokens: Option<f64>,
}

impl Line {
    /// Reads a line; `None` if it is none of the two kinds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stamp, rest) = text.strip_prefix('[')?.split_once("] ")?;
        let (prefill, rest) = match rest.strip_prefix("Prefill batch") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("Decode batch")?),
        };
        let mut line = Self::default();
        for tag in stamp.split(' ') {
            if let Some(rank) = tag.strip_prefix("DP").and_then(|rank| rank.parse().ok()) {
                line.dp_rank = rank;
            }
            let stage = tag.strip_prefix("PP").and_then(|rank| rank.parse().ok());
            line.repeated |= stage.is_some_and(|stage: u32| stage > 0);
        }
        // `.`, `,`, and the batch's number in brackets: the first key begins with a `#`.
        for pair in rest.get(rest.find('#')?..)?.split(", ") {
            let Some((key, value)) = pair.rsplit_once(": ") else {
                continue;
            };
            let number = || {
                value
                    .parse::<f64>()
                    .ok()
                    .filter(|it| it.is_finite() && *it >= 0.0)
            };
            match key {
                "#running-req" => line.running = number(),
                "#queue-req" => line.queued = number(),
                "#new-token" if prefill => line.new_tokens = number(),
                "#cached-token" if prefill => line.cached_tokens = number(),
                "gen throughput (token/s)" if !prefill => line.decode = number(),
                "token usage" | "full token usage" | "swa token usage" | "mamba usage" => {
                    line.usage = line.usage.into_iter().chain(number()).reduce(f64::max);
                }
                _ => {}
            }
        }
        Some(line)
    }
}

/// The last that a rank said.
#[derive(Clone, Copy, Debug)]
struct Rank {
    spoke: Instant,
    last: Line,
    decode: Option<(f64, Instant)>,
}

/// A log as it is followed.
#[derive(Clone, Debug, Default)]
pub struct Log {
    ranks: BTreeMap<u32, Rank>,
    read: Option<Instant>,
    prefill: Option<[f64; 2]>,
}

impl Log {
    /// Takes what the log gained, as it was read at `now`.
    pub fn take(&mut self, tail: &Tail, now: Instant) {
        let mut tokens = [0.0; 2];
        let lines = tail.lines.iter().filter_map(|line| Line::parse(line));
        for line in lines.filter(|line| !line.repeated) {
            tokens[0] += line.new_tokens.unwrap_or(0.0);
            tokens[1] += line.cached_tokens.unwrap_or(0.0);
            self.hear(line, now);
        }
        // What was skipped had tokens too, and what came before the first reading cannot be dated.
        let since = self.read.replace(now).filter(|_| !tail.skipped);
        self.prefill = since
            .map(|since| now.saturating_duration_since(since).as_secs_f64())
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| tokens.map(|tokens| tokens / seconds));
    }

    /// It could not be read: the next reading only starts anew.
    pub fn miss(&mut self) {
        *self = Self::default();
    }

    fn hear(&mut self, line: Line, now: Instant) {
        if !self.ranks.contains_key(&line.dp_rank) && self.ranks.len() >= MAX_RANKS {
            return;
        }
        let rank = self.ranks.entry(line.dp_rank).or_insert(Rank {
            spoke: now,
            last: line,
            decode: None,
        });
        rank.spoke = now;
        rank.last = line;
        if let Some(decode) = line.decode {
            rank.decode = Some((decode, now));
        }
    }

    /// What is known at `now`; `None` while no rank has spoken lately. A rank that is silent beside others has
    /// nothing to do, and its last line, written before its last request ended, is not counted.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Option<Figures> {
        let lately = |then: Instant| now.saturating_duration_since(then) <= SPEAKS_WITHIN;
        let speaking = || self.ranks.values().filter(|rank| lately(rank.spoke));
        speaking().next()?;
        let sum =
            |of: fn(&Rank) -> Option<f64>| speaking().filter_map(of).reduce(|sum, one| sum + one);
        let decodes = speaking().filter_map(|rank| rank.decode);
        Some(Figures {
            source: Source::Log,
            running: sum(|rank| rank.last.running),
            queued: sum(|rank| rank.last.queued),
            usage: speaking()
                .filter_map(|rank| rank.last.usage)
                .reduce(f64::max),
            max_running: None,
            prefill_compute: self.prefill.map(|rates| rates[0]),
            prefill_cache: self.prefill.map(|rates| rates[1]),
            decode: decodes
                .filter(|(_, at)| lately(*at))
                .map(|(rate, _)| rate)
                .reduce(|sum, one| sum + one),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    const CAPTURES: [&str; 4] = ["0.4.6.post5", "0.5.12", "0.5.23", "0.5.23-dp2-auth"];

    fn lines(version: &str) -> Vec<String> {
        let text = std::fs::read_to_string(fixtures::sglang(version).join("server.log")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn tail(lines: &[String]) -> Tail {
        Tail {
            lines: lines.to_vec(),
            ..Tail::default()
        }
    }

    /// The number after `key` in a line, by cutting text: shares nothing with the parser.
    fn plainly(line: &str, key: &str) -> Option<f64> {
        let rest = &line[line.find(key)? + key.len()..];
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    }

    /// Of the last line that has `key` of each of two ranks.
    fn last_of_ranks(lines: &[String], kind: &str, key: &str) -> Vec<f64> {
        let of_rank = |tag: &str| {
            let mut own = lines.iter().rev().filter(|line| line[..40].contains(tag));
            own.find(|line| line.contains(kind))
                .and_then(|line| plainly(line, key))
        };
        if lines.iter().any(|line| line.contains(" DP1] ")) {
            ["DP0", "DP1"]
                .iter()
                .filter_map(|tag| of_rank(tag))
                .collect()
        } else {
            of_rank("[").into_iter().collect()
        }
    }

    #[test]
    fn the_figures_of_every_captured_log_are_those_of_its_last_lines() {
        for version in CAPTURES {
            let batches: Vec<_> = lines(version)
                .into_iter()
                .filter(|line| line.contains(" batch"))
                .collect();
            assert!(batches.len() > 100, "{version}");
            let (mut log, start) = (Log::default(), Instant::now());
            log.take(&Tail::default(), start);
            for (i, until) in (1..).zip((7..batches.len()).step_by(7)) {
                let now = start + Duration::from_secs(5 * i);
                log.take(&tail(&batches[until - 7..until]), now);
                // The server wrote them within seconds; here each reading is five of them later.
                let lately = &batches[until.saturating_sub(7 * 10)..until];
                let so_far = &batches[..until];
                let figures = log.figures(now).unwrap();
                let sum = |key| last_of_ranks(lately, " batch", key).iter().sum::<f64>();
                assert_eq!(
                    figures.running,
                    Some(sum("#running-req: ")),
                    "{version}, {until}"
                );
                assert_eq!(
                    figures.queued,
                    Some(sum("#queue-req: ")),
                    "{version}, {until}"
                );
                let usage = last_of_ranks(lately, " batch", "token usage: ");
                let usage = usage.into_iter().reduce(f64::max);
                assert_eq!(figures.usage, usage, "{version}, {until}");
                let decode = last_of_ranks(lately, "Decode", "gen throughput (token/s): ");
                let decode = decode.into_iter().reduce(|sum, one| sum + one);
                assert_eq!(figures.decode, decode, "{version}, {until}");
                let new = so_far[until - 7..]
                    .iter()
                    .filter(|line| line.contains("Prefill"));
                let tokens = new
                    .filter_map(|line| plainly(line, "#new-token: "))
                    .sum::<f64>();
                assert_eq!(
                    figures.prefill_compute,
                    Some(tokens / 5.0),
                    "{version}, {until}"
                );
            }
        }
    }

    #[test]
    fn lines_of_other_versions_and_kinds_of_models_are_read() {
        let line = Line::parse(
            "[2026-11-22 06:33:55 DP3 TP6 PP1] Prefill batch [12], #new-seq: 1, #new-token: 256, \
             #cached-token: 8, full token usage: 0.04, swa token usage: 0.50, #running-req: 2, \
             #queue-req: 3, timestamp: x",
        );
        let expected = Line {
            dp_rank: 3,
            repeated: true,
            running: Some(2.0),
            queued: Some(3.0),
            usage: Some(0.5),
            decode: None,
            new_tokens: Some(256.0),
            cached_tokens: Some(8.0),
        };
        assert_eq!(line, Some(expected));
    }

    #[test]
    fn what_is_no_line_of_a_batch_or_no_number_says_nothing() {
        for text in [
            "",
            "[x] Decode batch",
            "[x] INFO: Decode batch, #a: 1",
            "Decode batch, #a: 1",
        ] {
            assert_eq!(Line::parse(text), None, "{text}");
        }
        let line =
            Line::parse("[x] Decode batch, #running-req: -1, #queue-req: nan, token usage: inf");
        assert_eq!(line, Some(Line::default()));
    }

    #[test]
    fn silence_is_a_gap_and_a_silent_rank_does_not_count() {
        let line = |rank: u32| format!("[x DP{rank}] Decode batch, #running-req: 2, #queue-req: 1");
        let (mut log, start) = (Log::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(log.figures(start), None);
        log.take(&tail(&[line(0), line(1)]), start);
        assert_eq!(log.figures(at(45)).unwrap().running, Some(4.0));
        log.take(&tail(&[line(1)]), at(40));
        assert_eq!(log.figures(at(50)).unwrap().running, Some(2.0));
        assert_eq!(log.figures(at(86)), None);
    }

    #[test]
    fn tokens_that_may_be_incomplete_are_no_rate() {
        let line =
            || vec!["[x] Prefill batch, #new-seq: 1, #new-token: 10, #cached-token: 5".to_owned()];
        let (mut log, start) = (Log::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        log.take(&tail(&line()), start);
        assert_eq!(log.figures(start).unwrap().prefill_compute, None);
        log.take(&tail(&line()), at(5));
        assert_eq!(log.figures(at(5)).unwrap().prefill_compute, Some(2.0));
        assert_eq!(log.figures(at(5)).unwrap().prefill_cache, Some(1.0));
        let skipped = Tail {
            skipped: true,
            ..tail(&line())
        };
        log.take(&skipped, at(10));
        assert_eq!(log.figures(at(10)).unwrap().prefill_compute, None);
    }
}
