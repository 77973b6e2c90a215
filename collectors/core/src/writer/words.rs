//! Quoting. Netdata splits a line at white space and `=`, honours a quote only at the start of a word and
//! unescapes nothing, yet a backslash hides the quote after it: so every field is single-quoted and holds
//! neither quotes nor backslashes nor control characters.

/// Longest `type.id`, name or label value that every supported agent takes.
pub(super) const MAX_ID_BYTES: usize = 200;
/// What stands for a text of which nothing was left.
const EMPTY: &str = "unknown";

/// Appends `text` as one word.
pub(super) fn quoted(out: &mut Vec<u8>, text: &str) {
    word(out, text, cleaned);
}

/// The same for a label, in which Netdata gives `;`, `=`, `,` and quotes a meaning or drops them.
pub(super) fn quoted_label(out: &mut Vec<u8>, text: &str) {
    word(out, text, |c| match c {
        ';' | '=' => Some(':'),
        ',' => Some('.'),
        '\'' | '"' => Some('_'),
        c => cleaned(c),
    });
}

/// An identifier for `text` that `taken` does not know: two texts of which the same is left stay apart by a
/// number. It may be quoted as it is.
pub(super) fn unique_id(text: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut id = String::new();
    push_cleaned(&mut id, text, cleaned, MAX_ID_BYTES);
    if !taken(&id) {
        return id;
    }
    // As many as there can be names taken, at most: the search ends.
    for n in 2_u32.. {
        let number = format!("~{n}");
        let mut numbered = String::new();
        push_cleaned(&mut numbered, &id, cleaned, MAX_ID_BYTES - number.len());
        numbered.push_str(&number);
        if !taken(&numbered) {
            return numbered;
        }
    }
    id
}

/// Quotes are dropped, control characters become spaces.
fn cleaned(c: char) -> Option<char> {
    match c {
        '\'' | '"' | '\0' => None,
        '\\' => Some('/'),
        c if c.is_control() => Some(' '),
        c => Some(c),
    }
}

fn word(out: &mut Vec<u8>, text: &str, clean: impl Fn(char) -> Option<char>) {
    let mut word = String::new();
    push_cleaned(&mut word, text, clean, MAX_ID_BYTES);
    out.push(b'\'');
    out.extend_from_slice(word.as_bytes());
    out.push(b'\'');
}

/// Appends what `clean` leaves of `text`, cut at a character's border after `max` bytes; never nothing.
fn push_cleaned(out: &mut String, text: &str, clean: impl Fn(char) -> Option<char>, max: usize) {
    for c in text.chars().filter_map(clean) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    if out.bytes().all(|byte| byte == b' ') {
        out.clear();
        out.push_str(EMPTY);
    }
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
    fn a_backslash_cannot_hide_the_closing_quote() {
        assert_eq!(as_word(r"C:\models\"), "'C:/models/'");
    }

    #[test]
    fn what_is_left_of_two_texts_stays_two_identifiers() {
        let ids = std::cell::RefCell::new(vec![]);
        let next = |text: &str| {
            let id = unique_id(text, |id| ids.borrow().iter().any(|it| it == id));
            ids.borrow_mut().push(id);
        };
        ["a", "a'", "a~2", "\"a"].iter().for_each(|text| next(text));
        next(&"x".repeat(300));
        next(&"x".repeat(301));
        let ids = ids.into_inner();
        assert_eq!(ids[..4], ["a", "a~2", "a~2~2", "a~3"]);
        assert_eq!((ids[4].len(), ids[5].len()), (MAX_ID_BYTES, MAX_ID_BYTES));
        assert!(ids[5].ends_with("x~2"), "{}", ids[5]);
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
