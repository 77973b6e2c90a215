//! `notify`: where alerts are told. Secrets come from files or standard input, never from an argument.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};

use super::Scene;
use crate::cli::{Channel, NotifyCommand, NotifySetArgs};
use crate::instance::State;
use crate::notify::{ALARM_NOTIFY, Channels, Hook, Mail, Message, now};

/// No secret is this long.
const MAX_BYTES: u64 = 4096;
/// Longer than anybody means to be away.
const LONGEST_MUTE: u64 = 31 * 86_400;

pub(super) fn run(scene: &Scene, verb: Option<&NotifyCommand>) -> Result<ExitCode> {
    match verb {
        None => show(&Channels::load(&scene.paths)?),
        Some(NotifyCommand::Test) => return test(scene),
        Some(NotifyCommand::Set(args)) => set(scene, args)?,
        Some(NotifyCommand::Off { channel }) => change(scene, |channels| {
            for channel in channel.map_or(Channel::ALL.to_vec(), |one| vec![one]) {
                match channel {
                    Channel::Ntfy => channels.ntfy = None,
                    Channel::Slack => channels.slack = None,
                    Channel::Teams => channels.teams = None,
                    Channel::Smtp => channels.smtp = None,
                }
            }
        })?,
        Some(NotifyCommand::Mute { time }) => {
            let seconds = duration(time)?;
            change(scene, |channels| channels.muted_until = now() + seconds)?;
        }
        Some(NotifyCommand::Unmute) => change(scene, |channels| channels.muted_until = 0)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn change(scene: &Scene, change: impl FnOnce(&mut Channels)) -> Result<()> {
    let _lock = scene.take("notify")?;
    let mut channels = Channels::load(&scene.paths)?;
    change(&mut channels);
    channels.store(&scene.paths)?;
    show(&channels);
    Ok(())
}

fn show(channels: &Channels) {
    let mut lines = vec![];
    for (name, hook) in [
        ("ntfy", &channels.ntfy),
        ("slack", &channels.slack),
        ("teams", &channels.teams),
    ] {
        if let Some(hook) = hook {
            lines.push(format!("{name}: {}", hook.server()));
        }
    }
    if let Some(mail) = &channels.smtp {
        lines.push(format!(
            "smtp: {} by {}:{}",
            mail.to.join(", "),
            mail.host,
            mail.port
        ));
    }
    if lines.is_empty() {
        out!(
            "alerts are told nobody: launcher notify set ntfy --url-file FILE (or slack, teams, smtp)"
        );
    }
    for line in lines {
        out!("alerts are told by {line}");
    }
    if let Some(left) = channels.muted_for() {
        out!(
            "muted for {} more minutes: launcher notify unmute",
            left.div_ceil(60)
        );
    }
}

fn set(scene: &Scene, args: &NotifySetArgs) -> Result<()> {
    let own = scene.paths.state_dir("config").join(ALARM_NOTIFY);
    ensure!(
        !own.exists(),
        "{} is your own and is left alone, so Netdata would not ask us: move it away",
        own.display()
    );
    let url = || {
        let file = args.url_file.as_deref().context("--url-file is missing: the address is a secret, so it comes from a file, or - for standard input")?;
        Hook::new(
            secret(file)?,
            args.token_file.as_deref().map(secret).transpose()?,
        )
    };
    match args.channel {
        Channel::Ntfy => {
            let hook = url()?;
            change(scene, |channels| channels.ntfy = Some(hook))?;
        }
        Channel::Slack => {
            let hook = url()?;
            change(scene, |channels| channels.slack = Some(hook))?;
        }
        Channel::Teams => {
            let hook = url()?;
            change(scene, |channels| channels.teams = Some(hook))?;
        }
        Channel::Smtp => {
            let mail = mail(args)?;
            change(scene, |channels| channels.smtp = Some(mail))?;
        }
    }
    // A Netdata of before this launcher does not know the sender yet.
    if matches!(scene.instance.state()?, State::Running(_)) {
        out!("Netdata uses it from the next alert on; try it now: launcher notify test");
    }
    Ok(())
}

fn mail(args: &NotifySetArgs) -> Result<Mail> {
    let server = args
        .server
        .as_deref()
        .context("--server HOST:PORT is missing")?;
    let (host, port) = server
        .rsplit_once(':')
        .context("--server: give HOST:PORT")?;
    let mail = Mail {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: port.parse().ok().context("--server: give HOST:PORT")?,
        tls: args.tls,
        from: args.from.clone().context("--from ADDRESS is missing")?,
        to: args.to.clone(),
        user: args.user.clone(),
        password: args.password_file.as_deref().map(secret).transpose()?,
    };
    mail.check()?;
    Ok(mail)
}

/// Its first line, wherever it is from.
fn secret(path: &Path) -> Result<String> {
    let reading = || format!("reading the secret from {}", path.display());
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().take(MAX_BYTES).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
    }
    .with_context(reading)?;
    let line = text.lines().next().unwrap_or_default().trim();
    ensure!(!line.is_empty(), "{} holds no secret", path.display());
    ensure!(
        !line.chars().any(char::is_control),
        "{} holds control characters",
        path.display()
    );
    Ok(line.to_owned())
}

fn test(scene: &Scene) -> Result<ExitCode> {
    let channels = Channels::load(&scene.paths)?;
    ensure!(
        !channels.names().is_empty(),
        "no channel is set: launcher notify set ntfy --url-file FILE"
    );
    let mut code = ExitCode::SUCCESS;
    for (name, result) in channels.send(&Message::test(&scene.host)) {
        match result {
            Ok(()) => out!("{name}: sent"),
            Err(error) => {
                tell!("error: {name}: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// `90m`, `2h`, `3d`.
fn duration(text: &str) -> Result<u64> {
    let unit = text.chars().last().unwrap_or_default();
    let seconds = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => bail!("{text}: give minutes, hours or days, like 90m, 2h or 3d"),
    };
    let number: u64 = text[..text.len() - 1]
        .parse()
        .ok()
        .with_context(|| format!("{text}: give minutes, hours or days, like 90m, 2h or 3d"))?;
    let total = number.saturating_mul(seconds);
    ensure!(
        (60..=LONGEST_MUTE).contains(&total),
        "{text}: give a time from 1m to 31d"
    );
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_a_bound() {
        assert_eq!(duration("2h").unwrap(), 7200);
        assert_eq!(duration("90m").unwrap(), 5400);
        for bad in ["2", "h", "", "32d", "0m", "99999999999999999999d", "2ü"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
