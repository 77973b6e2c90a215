//! The searches that a page spends its time in: for the end of a label's value, for a word, and for a number.

/// Where the next quote or backslash is. Values are short: eight bytes at a time beat a search made for
/// long texts.
pub(super) fn quote_or_backslash(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    while let Some(chunk) = bytes.get(at..)?.first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = zeros(word ^ (ONES * b'"' as u64));
        let backslash = zeros(word ^ (ONES * b'\\' as u64));
        // The lowest mark is always true; one above it may be a carry.
        let found = quote | backslash;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes[at..].iter();
    let more = rest
        .take_while(|byte| !matches!(byte, b'"' | b'\\'))
        .count();
    (at + more < bytes.len()).then_some(at + more)
}

/// A value. Up to 15 digits with a point somewhere are exact in a double, and so is a power of ten to divide
/// them by: that is most of a page. Everything else is read the long way. `None` if it is no number.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    const POWERS: [f64; 16] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let bytes = text.as_bytes();
    if bytes.len() > 16 {
        return text.parse().ok();
    }
    let (mut digits, mut count, mut point) = (0_u64, 0, None);
    for &byte in bytes {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + u64::from(byte - b'0');
                count += 1;
            }
            b'.' if point.is_none() => point = Some(count),
            _ => return text.parse().ok(),
        }
    }
    if count == 0 || count > 15 {
        return text.parse().ok();
    }
    // Below 2^53.
    let whole = digits as f64;
    Some(point.map_or(whole, |point| whole / POWERS[count - point]))
}

/// Where the blanks from `at` on end.
pub(super) fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the text from `at` to the next blank ends.
pub(super) fn word_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at)
        && !matches!(byte, b' ' | b'\t')
    {
        at += 1;
    }
    at
}
