//! What a call answered, as a line of a record has it.

/// One value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Number(u64),
    Float(f64),
    /// A structure; of the other kind, its first member is its version.
    Plain(Vec<u8>),
    Versioned(Vec<u8>),
    Text(String),
    /// A row of a list.
    Row(Vec<i64>),
}

/// What a call answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub code: u32,
    pub values: Vec<Token>,
}

impl Recorded {
    /// The number at that place.
    pub fn number(&self, place: usize) -> Option<u64> {
        match self.values.get(place) {
            Some(Token::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// That part of the way to the next answer, where the last number of both has grown.
    pub fn towards(&self, next: &Self, part: f64) -> Self {
        let mut between = self.clone();
        if let (Some(Token::Number(number)), Some(Token::Number(later))) =
            (between.values.last_mut(), next.values.last())
            && *later > *number
        {
            *number += ((*later - *number) as f64 * part) as u64;
        }
        between
    }

    /// The rows of a list.
    pub fn rows(&self) -> impl Iterator<Item = &[i64]> {
        self.values.iter().filter_map(|token| match token {
            Token::Row(row) => Some(row.as_slice()),
            _ => None,
        })
    }
}

/// The values of a line.
pub fn tokens(text: &str) -> Option<Vec<Token>> {
    if let Some(text) = text.strip_prefix('"') {
        return Some(vec![Token::Text(text.strip_suffix('"')?.to_owned())]);
    }
    text.split_whitespace().map(token).collect()
}

fn token(text: &str) -> Option<Token> {
    let bytes = |hex: &str| -> Option<Vec<u8>> {
        let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        (0..hex.len()).step_by(2).map(pair).collect()
    };
    Some(match text.as_bytes().first()? {
        b'x' => Token::Plain(bytes(&text[1..])?),
        b'v' => Token::Versioned(bytes(&text[1..])?),
        b'[' => {
            let row = text.strip_prefix('[')?.strip_suffix(']')?.split(',');
            Token::Row(row.map(|n| n.parse().ok()).collect::<Option<_>>()?)
        }
        _ if text.contains('.') => Token::Float(text.parse().ok()?),
        _ => Token::Number(text.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_form() {
        assert_eq!(
            tokens("7 88.5 x0aff v01 [1,-2]").unwrap(),
            [
                Token::Number(7),
                Token::Float(88.5),
                Token::Plain(vec![10, 255]),
                Token::Versioned(vec![1]),
                Token::Row(vec![1, -2])
            ]
        );
        assert_eq!(
            tokens("\"two words\"").unwrap(),
            [Token::Text("two words".to_owned())]
        );
    }
}
