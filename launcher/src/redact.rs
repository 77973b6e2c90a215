//! Takes out of a text what a bug report must not hold: secrets, names of users and of the machine.

use std::env;
use std::fs;

use nix::unistd::{Uid, User};

use crate::settings::{KNOWN, Layers};

/// Uids below this are the system's own.
const FIRST_USER: u32 = 1000;
/// A shorter name would be found within other words.
const SHORTEST: usize = 3;

/// What is replaced by what, longest first.
#[derive(Debug)]
pub struct Redactor {
    replacements: Vec<(String, String)>,
}

impl Redactor {
    /// Knows the secrets of the settings and some more, the machine's name and its users: those of /etc/passwd and,
    /// as many are in a directory of their own (LDAP), those who run something, `uids`.
    pub fn new(layers: &Layers, more: &[String], host: &str, uids: &[u32]) -> Self {
        let mut passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        for uid in uids.iter().filter(|uid| **uid >= FIRST_USER) {
            if let Ok(Some(user)) = User::from_uid(Uid::from_raw(*uid)) {
                let home = user.dir.display();
                passwd += &format!("\n{}:x:{uid}:::{home}:\n", user.name);
            }
        }
        let home = env::var("HOME").unwrap_or_default();
        Self::of(layers, more, host, &passwd, &home)
    }

    fn of(layers: &Layers, more: &[String], host: &str, passwd: &str, home: &str) -> Self {
        let secret = |text: &String| (text.clone(), "<secret>".to_owned());
        let mut replacements: Vec<_> = more.iter().map(secret).collect();
        for known in KNOWN.iter().filter(|known| known.secret) {
            for layer in [&layers.environment, &layers.file] {
                if let Some(value) = layer.get(known.name).map(|value| value.trim()) {
                    replacements.push((value.to_owned(), "<secret>".to_owned()));
                }
            }
        }
        replacements.push((home.to_owned(), "~".to_owned()));
        replacements.push((host.to_owned(), "<host>".to_owned()));
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let uid = fields.get(2).and_then(|uid| uid.parse::<u32>().ok());
            if let Some(uid) = uid.filter(|uid| *uid >= FIRST_USER && *uid < 65534) {
                for field in [fields.get(5), fields.first()].into_iter().flatten() {
                    replacements.push(((*field).to_owned(), format!("<user {uid}>")));
                }
            }
        }
        replacements.retain(|(what, _)| what.len() >= SHORTEST);
        replacements.sort_by_key(|(what, _)| std::cmp::Reverse(what.len()));
        Self { replacements }
    }

    /// The text without them.
    pub fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for (what, by) in &self.replacements {
            clean = clean.replace(what, by);
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_users_home_and_host_are_replaced() {
        let layers = Layers {
            file: [("NETDATA_CLAIM_TOKEN".to_owned(), "t0ken".to_owned())].into(),
            ..Layers::default()
        };
        let passwd = "root:x:0:0:root:/root:/bin/sh\nmary:x:1001:1001::/home/mary:/bin/sh\n";
        let redactor = Redactor::of(&layers, &["wh00k".to_owned()], "gpu-1", passwd, "/home/ann");
        let text = "wh00k gpu-1 t0ken /home/ann/x /home/mary/y root mary";
        assert_eq!(
            redactor.clean(text),
            "<secret> <host> <secret> ~/x <user 1001>/y root <user 1001>"
        );
    }
}
