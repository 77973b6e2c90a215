//! Quoting. Netdata splits a line at white space and `=`, honours a quote only at the start of a word and
//! knows no escape: so every field is single-quoted and holds neither quotes nor control characters.

/// Longest `type.id`, name or label value that every supported agent takes.
pub(super) const MAX_ID_BYTES: usize = 200;
/// What stands for a text of which nothing was left.
const EMPTY: &str = "unknown";

/// Appends `text` as one word. Quotes are dropped, control characters become spaces; long text is cut
/// at a character's border.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) {
    word(out, text, |c| match c {
        '\'' | '"' | '\0' => None,
        c if c.is_control() => Some(' '),
        c => Some(c),
    });
}

/// The same for a label, in which Netdata gives `;`, `=`, `,` and quotes a meaning or drops them.
pub(super) fn quoted_label(out: &mut Vec<u8>, text: &str) {
    word(out, text, |c| match c {
        ';' | '=' => Some(':'),
        ',' => Some('.'),
        '\'' | '"' => Some('_'),
        '\0' => None,
        c if c.is_control() => Some(' '),
        c => Some(c),
    });
}

fn word(out: &mut Vec<u8>, text: &str, clean: impl Fn(char) -> Option<char>) {
    out.push(b'\'');
    let start = out.len();
    let mut utf8 = [0; 4];
    for c in text.chars().filter_map(clean) {
        let bytes = c.encode_utf8(&mut utf8).as_bytes();
        if out.len() - start + bytes.len() > MAX_ID_BYTES {
            break;
        }
        out.extend_from_slice(bytes);
    }
    if out[start..].iter().all(|byte| *byte == b' ') {
        out.truncate(start);
        out.extend_from_slice(EMPTY.as_bytes());
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_word(text: &str) -> String {
        let mut out = vec![];
        quoted(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_newline_or_quote_never_survives() {
        assert_eq!(as_word("x'\nDISABLE\r\0"), "'x DISABLE '");
    }

    #[test]
    fn an_empty_word_gets_a_name() {
        assert_eq!(as_word("''\n"), "'unknown'");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let word = as_word(&"é".repeat(500));
        assert_eq!(word.len(), MAX_ID_BYTES + 2);
    }
}
