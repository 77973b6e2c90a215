//! How the agent splits a line. A quote opens only at the start of a word, and a backslash hides the next
//! byte from the search for the quote's end without being removed itself: a field that ends in one swallows
//! the rest of its line.

/// The words of `line`, at most `max_words`. As in C, a NUL ends the line.
#[must_use]
pub fn split(line: &[u8], max_words: usize) -> Vec<Vec<u8>> {
    let mut rest = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut words = Vec::new();
    loop {
        let start = rest.iter().position(|byte| !is_space(*byte));
        let Some(start) = start.filter(|_| words.len() < max_words) else {
            return words;
        };
        rest = &rest[start..];
        let quote = rest
            .first()
            .copied()
            .filter(|byte| matches!(byte, b'\'' | b'"'));
        rest = &rest[usize::from(quote.is_some())..];
        let len = word_len(rest, quote);
        words.push(rest[..len].to_vec());
        // The quote or space that ended it.
        rest = rest.get(len + 1..).unwrap_or_default();
    }
}

fn word_len(text: &[u8], quote: Option<u8>) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'\\' && at + 1 < text.len() {
            at += 2;
        } else if Some(byte) == quote || (quote.is_none() && is_space(byte)) {
            return at;
        } else {
            at += 1;
        }
    }
    text.len()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'=')
}
