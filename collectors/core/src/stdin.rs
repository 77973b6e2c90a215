//! What the agent says to us. Reads with a bound, so that no line can grow without end.

use std::io::{BufRead, Read};

/// Longest line kept; the rest of a longer one is skipped.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Reads until the agent says QUIT (without a newline) or closes its end.
pub fn wait_for_quit(mut input: impl BufRead) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match input
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return,
            Ok(_) if line.trim_ascii() == b"QUIT" => return,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quit_and_the_end_of_input_both_end_it() {
        let mut input: &[u8] = b"FUNCTION x 1 \"y\"\nQUIT";
        wait_for_quit(&mut input);
        assert!(input.is_empty());
        wait_for_quit(&mut input);
    }

    #[test]
    fn a_line_without_end_is_read_in_pieces() {
        let long = vec![b'x'; 1_000_000];
        let mut input = long.as_slice();
        wait_for_quit(&mut input);
        assert!(input.is_empty());
    }
}
