//! What the agent says to us: calls of functions, with or without a payload, their cancellation, and the
//! end. Reads with a bound, so that no line and no payload can grow without end. Part of a call comes from
//! whoever calls the agent's web API, so every word of it is untrusted.

use std::io::{BufRead, Read};
use std::time::Duration;

use crate::functions::{Access, Transaction};

/// Longest line taken; the agent's own are at most 15 KiB.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Largest payload taken: a selection of rows is written by a browser.
const MAX_PAYLOAD_BYTES: usize = 256 * 1024;
/// Words of a line looked at: a call has seven.
const MAX_WORDS: usize = 16;
/// The line that ends a payload.
const PAYLOAD_END: &[u8] = b"FUNCTION_PAYLOAD_END";

/// One thing that the agent said.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// Somebody calls a function.
    Call(Request),
    /// A call that cannot be understood, and why.
    Malformed(Transaction, &'static str),
    /// Nobody waits for this answer any longer.
    Cancel(Transaction),
    /// Somebody still waits for this answer.
    StillWaiting(Transaction),
}

/// A call as it arrived.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// Names the call in its answer.
    pub transaction: Transaction,
    /// How long the caller waits; `None` if it does not say.
    pub timeout: Option<Duration>,
    /// The function's name.
    pub name: String,
    /// What follows the name, split at white space.
    pub args: Vec<String>,
    /// What the caller may see, as the agent says.
    pub access: Access,
    /// The body of a POST request.
    pub payload: Option<Vec<u8>>,
}

/// Reads messages from the agent.
pub struct Messages<R> {
    input: R,
    line: Vec<u8>,
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Whole.
    Whole,
    /// Longer than is taken: only its beginning was kept.
    Cut,
    /// By the end of the input.
    Last,
}

impl<R: BufRead> Messages<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
        }
    }

    /// Reads one line without its end into `self.line`.
    fn read_line(&mut self) -> Line {
        self.line.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = (&mut self.input)
            .take(limit)
            .read_until(b'\n', &mut self.line);
        if read.is_err() {
            return Line::Last;
        }
        if self.line.pop_if(|byte| *byte == b'\n').is_some() {
            self.line.pop_if(|byte| *byte == b'\r');
            return Line::Whole;
        }
        if self.line.len() <= MAX_LINE_BYTES {
            return Line::Last;
        }
        self.line.truncate(MAX_LINE_BYTES);
        match self.input.skip_until(b'\n') {
            Ok(_) => Line::Cut,
            Err(_) => Line::Last,
        }
    }

    /// Reads up to the end of a payload, or says what is wrong with it.
    fn read_payload(&mut self) -> Result<Vec<u8>, &'static str> {
        let (mut payload, mut too_large) = (Vec::new(), false);
        loop {
            match self.read_line() {
                Line::Last => return Err("The payload has no end."),
                Line::Whole if self.line == PAYLOAD_END => break,
                Line::Whole if payload.len() + self.line.len() < MAX_PAYLOAD_BYTES => {
                    payload.extend_from_slice(&self.line);
                    payload.push(b'\n');
                }
                Line::Whole | Line::Cut => too_large = true,
            }
        }
        payload.pop();
        if too_large {
            return Err("The payload is too large.");
        }
        Ok(payload)
    }

    fn message(&mut self, cut: bool) -> Option<Message> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        let mut words = words(&line).into_iter();
        let keyword = words.next()?;
        let with_payload = match keyword {
            "FUNCTION" => false,
            "FUNCTION_PAYLOAD" => true,
            "FUNCTION_CANCEL" => return Transaction::parse(words.next()?).map(Message::Cancel),
            "FUNCTION_PROGRESS" => {
                return Transaction::parse(words.next()?).map(Message::StillWaiting);
            }
            _ => {
                log::debug!("the agent says {keyword:?}, which means nothing to us");
                return None;
            }
        };
        // What follows belongs to the call even if the call is of no use.
        let payload = with_payload.then(|| self.read_payload());
        let Some(transaction) = words.next().and_then(Transaction::parse) else {
            log::debug!("a call without a usable transaction id is not answered");
            return None;
        };
        let malformed = |why| Some(Message::Malformed(transaction.clone(), why));
        if cut {
            return malformed("The call is too long.");
        }
        let payload = match payload.transpose() {
            Ok(payload) => payload,
            Err(why) => return malformed(why),
        };
        let timeout = words.next().and_then(|word| word.parse().ok());
        let mut call = words.next().unwrap_or_default().split_ascii_whitespace();
        let Some(name) = call.next() else {
            return malformed("The call names no function.");
        };
        Some(Message::Call(Request {
            timeout: timeout
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            name: name.to_owned(),
            args: call.map(str::to_owned).collect(),
            access: Access::parse(words.next().unwrap_or_default()),
            payload,
            transaction,
        }))
    }
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = Message;

    /// The next message; `None` when the agent has closed its end. It says QUIT just before, without a
    /// newline. A whole line with that word is not the agent's: a payload with a line that ends payloads
    /// would make one, and end the plugin for everybody.
    fn next(&mut self) -> Option<Message> {
        loop {
            let cut = match self.read_line() {
                Line::Last => return None,
                line => line == Line::Cut,
            };
            if let Some(message) = self.message(cut) {
                return Some(message);
            }
        }
    }
}

/// Splits a line as the agent composes it: at white space, a word in quotes being one word. There is no
/// escaping: the agent lets no quote of that kind into a quoted word.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), line.trim_ascii_start());
    while !rest.is_empty() && words.len() < MAX_WORDS {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (word, after) = match quote {
            Some(quote) => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
            None => rest
                .split_once(|c: char| c.is_ascii_whitespace())
                .unwrap_or((rest, "")),
        };
        words.push(word);
        rest = after.trim_ascii_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<Message> {
        Messages::new(input).collect()
    }

    fn transaction(id: &str) -> Transaction {
        Transaction::parse(id).unwrap()
    }

    #[test]
    fn a_call_is_read_as_the_agent_writes_it() {
        let line =
            b"FUNCTION 9d2e4f 10 \"rs-gpu-processes info gpu:0\" \"0x1f\" \"method=api,ip=::1\"\n";
        let expected = Request {
            transaction: transaction("9d2e4f"),
            timeout: Some(Duration::from_secs(10)),
            name: "rs-gpu-processes".to_owned(),
            args: vec!["info".to_owned(), "gpu:0".to_owned()],
            access: Access(0x1f),
            payload: None,
        };
        assert_eq!(read(line), [Message::Call(expected)]);
    }

    #[test]
    fn an_older_agents_call_has_no_access() {
        let [Message::Call(call)] = &read(b"FUNCTION x 0 \"f\"\n")[..] else {
            panic!("no call");
        };
        assert_eq!((call.access, call.timeout), (Access(0), None));
    }

    #[test]
    fn a_payload_may_have_many_lines_and_ends_at_its_own() {
        let input =
            b"FUNCTION_PAYLOAD x 1 \"f\" \"0x8\" \"s\" \"application/json\"\n{\n\n\"a\": 1}\n\
            FUNCTION_PAYLOAD_END\nFUNCTION_CANCEL x\nFUNCTION_PROGRESS y\n";
        let messages = read(input);
        let [Message::Call(call), rest @ ..] = &messages[..] else {
            panic!("{messages:?}");
        };
        assert_eq!(call.payload.as_deref(), Some(&b"{\n\n\"a\": 1}"[..]));
        let [cancelled, waited_for] = [transaction("x"), transaction("y")];
        assert_eq!(
            rest,
            [
                Message::Cancel(cancelled),
                Message::StillWaiting(waited_for)
            ]
        );
    }

    #[test]
    fn a_payload_without_bound_is_skipped_and_its_call_refused() {
        let mut input = b"FUNCTION_PAYLOAD x 1 \"f\"\n".to_vec();
        for _ in 0..MAX_PAYLOAD_BYTES / 1000 + 2 {
            input.extend_from_slice(&[b'a'; 999]);
            input.push(b'\n');
        }
        input.extend_from_slice(&[b'b'; MAX_LINE_BYTES * 3]);
        input.extend_from_slice(b"\nFUNCTION_PAYLOAD_END\nFUNCTION_CANCEL y\n");
        let refused = Message::Malformed(transaction("x"), "The payload is too large.");
        assert_eq!(read(&input), [refused, Message::Cancel(transaction("y"))]);
    }

    #[test]
    fn a_line_without_bound_is_skipped_and_the_next_is_read() {
        let mut input = b"FUNCTION x 1 \"".to_vec();
        input.resize(1_000_000, b'a');
        input.extend_from_slice(b"\"\nFUNCTION_CANCEL y\n");
        let refused = Message::Malformed(transaction("x"), "The call is too long.");
        assert_eq!(read(&input), [refused, Message::Cancel(transaction("y"))]);
    }

    #[test]
    fn a_hostile_transaction_is_never_answered() {
        for id in ["a;b", "\"a b\"", "\"\"", "'", "\u{1b}[0m", "a\0b", "é"] {
            assert_eq!(read(format!("FUNCTION {id} 1 \"f\"\n").as_bytes()), []);
        }
        let long = "a".repeat(1000);
        assert_eq!(read(format!("FUNCTION {long} 1 \"f\"\n").as_bytes()), []);
    }

    #[test]
    fn a_call_without_a_function_is_refused() {
        for call in [
            "FUNCTION x",
            "FUNCTION x 1",
            "FUNCTION x 1 \"\"",
            "FUNCTION x 1 \" \"",
        ] {
            let refused = Message::Malformed(transaction("x"), "The call names no function.");
            assert_eq!(read(format!("{call}\n").as_bytes()), [refused], "{call}");
        }
    }

    #[test]
    fn quit_without_a_newline_is_the_end_and_a_line_that_says_it_is_not() {
        assert_eq!(read(b"QUIT"), []);
        assert_eq!(
            read(b"QUIT\nFUNCTION_CANCEL x\nQUIT"),
            [Message::Cancel(transaction("x"))]
        );
    }

    #[test]
    fn a_payload_without_end_is_not_taken_for_a_whole_one() {
        let refused = Message::Malformed(transaction("x"), "The payload has no end.");
        assert_eq!(read(b"FUNCTION_PAYLOAD x 1 \"f\"\nhalf"), [refused]);
    }

    #[test]
    fn nonsense_is_passed_over() {
        assert_eq!(
            read(b"\n  \nHELLO\n\xff\xfe\nFUNCTION\nFUNCTION_CANCEL\n\"\n"),
            []
        );
    }
}
