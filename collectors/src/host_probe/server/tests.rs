//! The probe and its client over a real socket, about real processes.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;
use crate::host_probe::{Cursor, HostProbe, SOCKET_NAME};
use crate::processes::Stat;

const LINE: &str = "[2026-11-22 06:36:06] Decode batch. #running-req: 8, #queue-req: 0\n";

struct Probe {
    dir: tempfile::TempDir,
}

impl Probe {
    /// One that believes to be `own_uid`'s.
    fn of(own_uid: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = listen(&dir.path().join(SOCKET_NAME)).unwrap();
        let answerer = Arc::new(Answerer::new(own_uid));
        thread::spawn(move || accept(&listener, &answerer));
        Self { dir }
    }

    fn start() -> Self {
        Self::of(nix::unistd::geteuid().as_raw())
    }

    fn client(&self) -> HostProbe {
        HostProbe::new(Some(self.dir.path()))
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET_NAME)
    }

    /// What it says to a request as it is.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

fn id(pid: u32) -> ProcessId {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap();
    ProcessId {
        pid,
        start_ticks: Stat::parse(&stat).unwrap().start_ticks,
    }
}

struct Sleeper(Child);

impl Sleeper {
    fn with_log(path: &Path) -> Self {
        let log = File::create(path).unwrap();
        let mut command = Command::new("sleep");
        command
            .arg("600")
            .env("SLURM_JOB_ID", "77")
            .stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        // Before it has become `sleep`, it has this process's environment.
        let name = format!("/proc/{}/comm", child.id());
        while fs::read_to_string(&name).unwrap() != "sleep\n" {
            thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_process_uses_and_where_it_listens_is_told() {
    let (probe, socket) = (Probe::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (client, this) = (probe.client(), id(std::process::id()));
    let listening = client.listening(this, Instant::now()).unwrap();
    assert!(listening.contains(&socket.local_addr().unwrap()));
    let gone = ProcessId {
        pid: this.pid,
        start_ticks: 1,
    };
    let usage = client.usage(&[this, gone]);
    assert_eq!(usage.len(), 1);
    assert!(usage[&this.pid].open_files.unwrap() > 2);
    assert!(client.pss_bytes(this).unwrap() > 100_000);
    assert_eq!(client.pss_bytes(gone), None);
}

#[test]
fn a_log_is_followed_through_its_process_and_its_job_is_told() {
    let (probe, dir) = (Probe::start(), tempfile::tempdir().unwrap());
    let path = dir.path().join("server.log");
    let sleeper = Sleeper::with_log(&path);
    let (client, id) = (probe.client(), id(sleeper.0.id()));
    let first = client.log(id, &Cursor::default()).unwrap();
    let mut log = OpenOptions::new().append(true).open(&path).unwrap();
    // Renamed and removed, it is still what the process writes to.
    fs::rename(&path, dir.path().join("old")).unwrap();
    fs::remove_file(dir.path().join("old")).unwrap();
    log.write_all(format!("secret\n{LINE}").as_bytes()).unwrap();
    let second = client.log(id, &first.cursor).unwrap();
    assert_eq!(second.lines, [LINE.trim_end()]);
    let mut place = client.place(id).unwrap();
    place.remove("CUDA_VISIBLE_DEVICES");
    assert_eq!(
        place.into_iter().collect::<Vec<_>>(),
        [("SLURM_JOB_ID".into(), "77".into())]
    );
}

#[test]
fn the_socket_is_its_users_alone_and_replaces_an_earlier_one_but_nothing_else() {
    let probe = Probe::start();
    let mode = fs::metadata(probe.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    listen(&probe.socket()).unwrap();
    let file = probe.dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = listen(&file).unwrap_err().to_string();
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_socket_is_made_at_the_end_of_any_path() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(200));
    fs::create_dir(&deep).unwrap();
    listen(&deep.join(SOCKET_NAME)).unwrap();
    assert!(deep.join(SOCKET_NAME).exists());
}

#[test]
fn another_user_gets_no_word() {
    // The connection comes from us, and the probe is somebody else's.
    let probe = Probe::of(nix::unistd::geteuid().as_raw() + 1);
    assert_eq!(probe.raw(b"pss 1:1\n"), "");
}

#[test]
fn nonsense_is_refused_and_long_lines_are_not_read_to_their_end() {
    let probe = Probe::start();
    let refused = format!("{GREETING}\n{ERROR}no such request\n");
    for request in [&b"\n"[..], b"environ 1:1\n", b"\xff\xfe\n", b"pss 1:1 x\n"] {
        let answer = probe.raw(request);
        // What is no text breaks the conversation off.
        assert!(
            answer == refused || answer == format!("{GREETING}\n"),
            "{answer}"
        );
    }
    let long = [b"usage".repeat(10_000), b"\n".to_vec()].concat();
    let answer = probe.raw(&long);
    assert!(!answer.contains(DATA), "{answer}");
}

#[test]
fn a_process_of_another_user_is_answered_as_one_that_does_not_exist() {
    // This process is, to a probe of somebody else's.
    let somebody = Answerer::new(nix::unistd::geteuid().as_raw() + 1);
    let gone = ProcessId {
        pid: std::process::id(),
        start_ticks: 12_345_678,
    };
    for request in [Request::Listening, Request::Pss, Request::Place] {
        let answer = |id| {
            let mut answer = String::new();
            let outcome = somebody.answer(&request(id), Path::new("/proc"), &mut answer);
            (outcome, answer)
        };
        let refused = (Err("no such process of this user"), String::new());
        assert_eq!(answer(id(std::process::id())), refused);
        assert_eq!(answer(gone), refused);
    }
}

#[test]
fn whose_a_process_is_is_told_of_anybodys_and_nothing_of_one_that_is_gone() {
    let (probe, init) = (Probe::start(), id(1));
    assert_eq!(probe.client().owner(init), Some(0));
    // What it tells is what everybody may read.
    for name in ["stat", "status"] {
        let file = fs::metadata(format!("/proc/1/{name}")).unwrap();
        assert_eq!(file.permissions().mode() & 0o004, 0o004, "{name}");
    }
    let own = nix::unistd::geteuid().as_raw();
    assert_eq!(probe.client().owner(id(std::process::id())), Some(own));
    let gone = ProcessId {
        start_ticks: init.start_ticks + 1,
        ..init
    };
    assert_eq!(probe.client().owner(gone), None);
}

#[test]
fn without_a_probe_nothing_is_known_and_one_that_comes_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (client, this) = (HostProbe::new(Some(dir.path())), id(std::process::id()));
    assert!(client.usage(&[this]).is_empty());
    assert!(HostProbe::new(None).usage(&[this]).is_empty());
    let listener = listen(&dir.path().join(SOCKET_NAME)).unwrap();
    let answerer = Arc::new(Answerer::new(nix::unistd::geteuid().as_raw()));
    thread::spawn(move || accept(&listener, &answerer));
    assert_eq!(client.usage(&[this]).len(), 1);
}
