//! Command lines as Python's argparse reads them: `--x v` and `--x=v`, any prefix that fits one option
//! only, the last of several wins.

/// An option that says something to us.
#[derive(Debug)]
pub struct Opt<K> {
    /// What it is to the caller.
    pub key: K,
    /// Its spellings, with the dashes.
    pub spellings: &'static [&'static str],
    /// Whether a value follows.
    pub takes_value: bool,
}

/// Calls `found` for each option of `options` on the command line, in its order. An abbreviation that
/// fits several of them is none: the server would not have started with it.
pub fn parse<'a, K: Copy>(
    args: &[&'a str],
    options: &[Opt<K>],
    mut found: impl FnMut(K, Option<&'a str>),
) {
    let mut args = args.iter().copied().peekable();
    while let Some(arg) = args.next() {
        if arg == "--" {
            return;
        }
        if !arg.starts_with("--") {
            continue;
        }
        let (name, attached) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg, None),
        };
        let Some(option) = resolve(name, options) else {
            continue;
        };
        if !option.takes_value {
            found(option.key, None);
        } else if let Some(value) = attached.or_else(|| args.next_if(|next| is_value(next))) {
            found(option.key, Some(value));
        }
    }
}

fn resolve<'o, K>(name: &str, options: &'o [Opt<K>]) -> Option<&'o Opt<K>> {
    let exact = options
        .iter()
        .find(|option| option.spellings.contains(&name));
    if exact.is_some() {
        return exact;
    }
    let abbreviates = |option: &&Opt<K>| option.spellings.iter().any(|full| full.starts_with(name));
    let mut fitting = options.iter().filter(abbreviates);
    let first = fitting.next();
    if fitting.next().is_some() {
        None
    } else {
        first
    }
}

/// What begins with a dash is the next option, unless it is a number.
fn is_value(arg: &str) -> bool {
    match arg.strip_prefix('-') {
        Some(rest) => rest.is_empty() || rest.parse::<f64>().is_ok(),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt<char>] = &[
        Opt {
            key: 'p',
            spellings: &["--port"],
            takes_value: true,
        },
        Opt {
            key: 't',
            spellings: &["--tp-size", "--tensor-parallel-size"],
            takes_value: true,
        },
        Opt {
            key: 'm',
            spellings: &["--enable-metrics"],
            takes_value: false,
        },
        Opt {
            key: 'a',
            spellings: &["--enable-metrics-for-all"],
            takes_value: false,
        },
    ];

    fn read(args: &[&'static str]) -> Vec<(char, Option<&'static str>)> {
        let mut read = vec![];
        parse(args, OPTIONS, |key, value| read.push((key, value)));
        read
    }

    #[test]
    fn both_forms_and_abbreviations_are_read() {
        let args = ["--po", "1", "--tp=2", "--tensor", "3", "--port=", "x"];
        let expected = [
            ('p', Some("1")),
            ('t', Some("2")),
            ('t', Some("3")),
            ('p', Some("")),
        ];
        assert_eq!(read(&args), expected);
    }

    #[test]
    fn an_exact_spelling_wins_over_a_longer_one_and_an_ambiguous_one_is_none() {
        assert_eq!(read(&["--enable-metrics"]), [('m', None)]);
        assert_eq!(read(&["--enable-metrics-f"]), [('a', None)]);
        assert_eq!(read(&["--enable-m"]), []);
    }

    #[test]
    fn an_option_is_no_value_and_a_negative_number_is_one() {
        let expected = [('m', None), ('t', Some("-1"))];
        assert_eq!(
            read(&["--port", "--enable-metrics", "--tp", "-1"]),
            expected
        );
        assert_eq!(read(&["--port"]), []);
        assert_eq!(read(&["--", "--port", "1"]), []);
    }
}
