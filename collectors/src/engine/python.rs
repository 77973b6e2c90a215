//! What a Python interpreter was told to run, read from its arguments as the interpreter reads them.

/// What runs, and its own arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run<'a> {
    /// `-m NAME`.
    Module(&'a str, &'a [&'a str]),
    /// A file.
    Script(&'a str, &'a [&'a str]),
}

/// What runs in the process of `argv`, if that is Python.
pub fn run<'a>(argv: &'a [&'a str]) -> Option<Run<'a>> {
    let (program, args) = argv.split_first()?;
    let name = basename(program);
    let python = name.starts_with("python") || name.starts_with("pypy");
    if python { told(args) } else { None }
}

/// The last part of a path.
pub fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A module or a script, after options of the interpreter's own.
fn told<'a>(args: &'a [&'a str]) -> Option<Run<'a>> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        at += 1;
        let Some(flags) = arg.strip_prefix('-') else {
            return Some(Run::Script(arg, &args[at..]));
        };
        if flags.starts_with('-') {
            // `--check-hash-based-pycs WHEN` is the only long option.
            at += usize::from(arg == "--check-hash-based-pycs");
            continue;
        }
        // Flags may be joined (`-uB`); the first that takes a value takes the rest or the next word.
        let Some((i, flag)) = flags.char_indices().find(|(_, c)| "cmWX".contains(*c)) else {
            continue;
        };
        let joined = &flags[i + 1..];
        let value = if joined.is_empty() {
            at += 1;
            args.get(at - 1)?
        } else {
            joined
        };
        match flag {
            'm' => return Some(Run::Module(value, args.get(at..).unwrap_or_default())),
            'c' => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(argv: &'a [&'a str]) -> Option<Run<'a>> {
        run(argv)
    }

    #[test]
    fn a_module_a_script_and_code_are_told_apart() {
        assert_eq!(
            read(&["python", "-m", "a.b", "x"]),
            Some(Run::Module("a.b", &["x"]))
        );
        assert_eq!(
            read(&["/v/python3.11", "-uBma", "x"]),
            Some(Run::Module("a", &["x"]))
        );
        assert_eq!(
            read(&["pypy3", "-X", "dev", "a.py", "-m"]),
            Some(Run::Script("a.py", &["-m"]))
        );
        assert_eq!(read(&["python", "-c", "code", "-m", "a"]), None);
        assert_eq!(read(&["python", "-m"]), None);
        assert_eq!(read(&["bash", "-m", "a"]), None);
        assert_eq!(read(&[]), None);
    }
}
