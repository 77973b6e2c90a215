//! The record itself: one line an answer, and only where it differs from the one before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::calls::Answer;

/// How the text begins; the simulated library knows a record by it.
const FIRST_LINE: &str = "nvml-record 1";

/// Longest record, bytes: a machine whose answers never rest must not fill a disk.
const MOST_BYTES: usize = 64 * 1024 * 1024;

const ABOUT: &str = "# Answers of an NVIDIA driver: milliseconds since the beginning, GPU, call, code, values.
# Only what differs from the answer before is written. UUIDs, serial numbers and pids are replaced, each always by
# the same; names of processes and users were not asked for.
";

/// What was answered so far.
pub struct Log {
    /// Time since the beginning.
    elapsed: Box<dyn Fn() -> Duration>,
    /// The latest answer of each call.
    latest: BTreeMap<(String, String, Vec<u64>), Answer>,
    lines: String,
    count: usize,
    bytes: usize,
}

/// How a record begins that is played in `length`.
pub fn header(length: Duration) -> String {
    format!("{FIRST_LINE}\n{ABOUT}seconds {}\n", length.as_secs_f64())
}

impl Log {
    /// Nothing yet.
    pub fn new(elapsed: impl Fn() -> Duration + 'static) -> Self {
        Self {
            elapsed: Box::new(elapsed),
            latest: BTreeMap::new(),
            lines: String::new(),
            count: 0,
            bytes: 0,
        }
    }

    /// Lines so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it is as long as one may be.
    pub fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES
    }

    /// The lines since this was last called.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.lines)
    }

    /// Notes an answer, unless it is the same as before.
    pub fn add(&mut self, gpu: &str, call: &str, arguments: &[u64], answer: Answer) {
        let key = (gpu.to_owned(), call.to_owned(), arguments.to_vec());
        if self.latest.get(&key) == Some(&answer) {
            return;
        }
        self.line(gpu, call, arguments, &answer);
        self.latest.insert(key, answer);
    }

    /// Notes something that happened, however often it did.
    pub fn add_event(&mut self, gpu: &str, call: &str, answer: &Answer) {
        self.line(gpu, call, &[], answer);
    }

    fn line(&mut self, gpu: &str, call: &str, arguments: &[u64], answer: &Answer) {
        if self.is_full() {
            return;
        }
        self.count += 1;
        let before = self.lines.len();
        let at_ms = (self.elapsed)().as_millis();
        let arguments: Vec<_> = arguments.iter().map(u64::to_string).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            self.lines,
            "{at_ms} {gpu} {call}({}) {}",
            arguments.join(","),
            answer.code
        );
        for value in &answer.values {
            let _ = write!(self.lines, " {value}");
        }
        self.lines.push('\n');
        self.bytes += self.lines.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_and_no_more_than_the_longest_record() {
        let mut log = Log::new(|| Duration::from_millis(70));
        for number in [5, 5, 6] {
            log.add(
                "0",
                "nvmlDeviceGetPowerUsage",
                &[],
                Answer::of_number(number),
            );
        }
        log.add("0", "nvmlDeviceGetClockInfo", &[1], Answer::refused(3));
        let lines = "70 0 nvmlDeviceGetPowerUsage() 0 5\n70 0 nvmlDeviceGetPowerUsage() 0 6\n\
                     70 0 nvmlDeviceGetClockInfo(1) 3\n";
        assert_eq!((log.take().as_str(), log.len()), (lines, 3));
        log.bytes = MOST_BYTES - 1;
        log.add_event("0", "nvmlEventSetWait_v2", &Answer::of_number(79));
        log.add_event("0", "nvmlEventSetWait_v2", &Answer::of_number(79));
        assert!(log.is_full());
        assert_eq!(log.take().lines().count(), 1);
    }
}
