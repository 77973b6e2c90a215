//! Printing. Where nobody reads any more (`launcher restart | head -1`), the command goes on: half a
//! restart would be worse than an unread line.

/// A line of the result, on stdout.
macro_rules! out {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// A line about what is going on, on stderr.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}
