//! The server's log: the captured one up to some line, then its last lines again, as a busy server would go on.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

/// A server under load writes some lines a second.
const AGAIN_EVERY: Duration = Duration::from_secs(2);

/// Writes `percent` of the lines of `log` to standard error, then the last of each kind and rank for ever.
pub fn replay(log: &str, percent: u8) {
    let lines: Vec<&str> = log.lines().collect();
    let until = lines.len() * usize::from(percent) / 100;
    write(&lines[..until]);
    let last = last_of_each(&lines[..until]);
    loop {
        thread::sleep(AGAIN_EVERY);
        write(&last);
    }
}

fn write(lines: &[&str]) {
    // Whoever closed it does not want to know.
    let _ = std::io::stderr().write_all((lines.join("\n") + "\n").as_bytes());
}

/// The last line of each rank and kind, in the order in which they were written.
fn last_of_each<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut last: Vec<(String, &str)> = Vec::new();
    for line in lines.iter().filter(|line| line.contains(" batch")) {
        let (stamp, text) = line.split_once("] ").unwrap_or((line, ""));
        let rank = stamp.split(' ').find(|word| word.starts_with("DP"));
        let kind = text.split(' ').next().unwrap_or_default();
        let key = format!("{} {kind}", rank.unwrap_or_default());
        last.retain(|(known, _)| *known != key);
        last.push((key, line));
    }
    last.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_each_rank_and_kind_stays() {
        let lines = [
            "[t DP0] Prefill batch, 1",
            "[t DP0] Decode batch, 2",
            "[t DP1] Prefill batch, 3",
            "[t DP0] INFO: x",
            "[t DP0] Prefill batch, 4",
        ];
        assert_eq!(last_of_each(&lines), [lines[1], lines[2], lines[4]]);
    }
}
