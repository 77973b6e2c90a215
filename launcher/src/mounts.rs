//! The machine's mounts as the container may see them. A read-only bind of `/` leaves every file
//! system mounted below it writable, so each of those is bound read-only again, and what nobody
//! needs to see is hidden behind an empty directory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use procfs::FromRead;
use procfs::process::MountInfos;

use crate::process::{FileId, Proc};

/// Where the machine's root is seen inside.
pub const HOST_ROOT: &str = "/host/root";

/// A file system that does not answer for this long (a dead file server) is left alone.
const STAT_PATIENCE: Duration = Duration::from_secs(2);

/// File systems of the kernel: nothing in them is the user's to write, or binding them is refused.
const KERNEL: [&str; 20] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// File systems whose server is another machine.
const REMOTE: [&str; 13] = [
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "cifs",
    "smb3",
    "afs",
    "fuse.sshfs",
    "9p",
    "glusterfs",
    "fuse.glusterfs",
];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// As the kernel calls it: `nfs4`, `xfs`.
    pub kind: String,
    /// Where it is mounted.
    pub point: PathBuf,
}

impl FileSystem {
    /// Whether its server is another machine.
    pub fn is_remote(&self) -> bool {
        REMOTE.contains(&self.kind.as_str())
    }
}

/// The file system that `dir`, or the first directory above it that is there, lies on. None where the mounts cannot
/// be read.
pub fn file_system(proc: &Proc, dir: &Path) -> Option<FileSystem> {
    let dir = dir.ancestors().find_map(|dir| fs::canonicalize(dir).ok())?;
    let file = fs::File::open(proc.path("self/mountinfo")).ok()?;
    let mounts = MountInfos::from_read(file).ok()?.0.into_iter();
    let mounts = mounts.map(|mount| (unescaped(&mount.mount_point), mount.fs_type));
    // Of several at one place the last one counts.
    let (point, kind) = mounts
        .filter(|(point, _)| dir.starts_with(point))
        .max_by_key(|(point, _)| point.as_os_str().len())?;
    Some(FileSystem { kind, point })
}

/// What to do with the machine's file systems inside the container.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Mount points to bind read-only below [`HOST_ROOT`], parents first.
    pub read_only: Vec<PathBuf>,
    /// Directories to hide below it.
    pub hidden: Vec<PathBuf>,
    /// Hidden mount points whose size and use the container would report wrongly.
    pub misread: Vec<PathBuf>,
}

/// Plans for the machine whose /proc this is. `private` are the directories to hide, `cover` the
/// empty directory that hides them.
pub fn plan(proc: &Proc, private: &[PathBuf], cover: &Path) -> Plan {
    let hidden = outermost(private);
    let mounts = fs::File::open(proc.path("self/mountinfo"))
        .ok()
        .and_then(|file| MountInfos::from_read(file).ok())
        .map(|infos| infos.0)
        .unwrap_or_default();
    let mut read_only = BTreeSet::new();
    let mut misread = Vec::new();
    for mount in mounts {
        let point = unescaped(&mount.mount_point);
        if hidden.contains(&point) {
            let device = FileId::of(&point).map(|id| id.device);
            if device != FileId::of(cover).map(|id| id.device) {
                misread.push(point);
            }
            continue;
        }
        let skipped = point == Path::new("/")
            || KERNEL.contains(&mount.fs_type.as_str())
            || mount.mount_options.contains_key("ro")
            || hidden.iter().any(|dir| point.starts_with(dir))
            || ["/proc", "/sys"].iter().any(|dir| point.starts_with(dir));
        if !skipped && !read_only.contains(&point) && answers(&point) {
            read_only.insert(point);
        }
    }
    Plan {
        read_only: read_only.into_iter().collect(),
        hidden,
        misread,
    }
}

/// The table writes a space, tab, line break or backslash as three octal digits.
fn unescaped(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(plain).into()
}

/// The directories that exist, by their real names, without those inside another of them.
fn outermost(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut real: Vec<PathBuf> = dirs
        .iter()
        .filter_map(|dir| fs::canonicalize(dir).ok())
        .filter(|dir| dir.is_dir() && dir != Path::new("/"))
        .collect();
    real.sort();
    real.dedup_by(|later, earlier| later.starts_with(&*earlier));
    real
}

/// Whether the path can be looked at, within a bounded time.
fn answers(path: &Path) -> bool {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    // A thread that hangs in the kernel ends with the command.
    thread::spawn(move || sender.send(fs::metadata(path).is_ok()));
    receiver.recv_timeout(STAT_PATIENCE).unwrap_or(false)
}

/// Directories below which people keep what is theirs, on this machine.
pub fn private_dirs(user_home: Option<&Path>, launcher_home: &Path) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = ["/home", "/root", "/tmp", "/var/tmp", "/run/user", "/dev"]
        .map(PathBuf::from)
        .into();
    dirs.push(launcher_home.to_owned());
    if let Some(home) = user_home {
        dirs.push(home.to_owned());
        // Sites with homes elsewhere (/data/home/ann) keep everybody's there.
        if let Some(parent) = home.parent()
            && let Some(name) = parent.file_name().and_then(|name| name.to_str())
            && (name.starts_with("home") || name == "users")
        {
            dirs.push(parent.to_owned());
        }
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(mountinfo: &str, private: &[PathBuf], cover: &Path) -> Plan {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("self")).unwrap();
        fs::write(root.path().join("self/mountinfo"), mountinfo).unwrap();
        plan(&Proc::at(root.path()), private, cover)
    }

    fn line(point: &Path, options: &str, kind: &str) -> String {
        format!(
            "36 35 98:0 / {} {options},relatime shared:1 - {kind} source rw\n",
            point.display()
        )
    }

    #[test]
    fn a_writable_file_system_below_the_root_is_bound_again_and_kernel_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["data", "data/inner", "ro", "kernel", "home/ann"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let table = [
            line(Path::new("/"), "rw", "ext4"),
            line(&root.join("data/inner"), "rw", "tmpfs"),
            line(&root.join("data"), "rw", "xfs"),
            line(&root.join("data"), "rw", "xfs"),
            line(&root.join("ro"), "ro", "squashfs"),
            line(&root.join("kernel"), "rw", "cgroup2"),
            line(&root.join("gone"), "rw", "xfs"),
            line(&root.join("home/ann"), "rw", "nfs4"),
        ]
        .concat();
        let plan = planned(&table, &[root.join("home")], &root);
        assert_eq!(plan.read_only, [root.join("data"), root.join("data/inner")]);
        assert_eq!(plan.hidden, [root.join("home")]);
    }

    #[test]
    fn a_directory_belongs_to_its_innermost_mount() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("home/x")).unwrap();
        fs::create_dir_all(root.join("proc/self")).unwrap();
        let table = [
            line(Path::new("/"), "rw", "ext4"),
            line(&root.join("home"), "rw", "nfs4"),
            line(&root.join("home/x"), "rw", "xfs"),
        ];
        fs::write(root.join("proc/self/mountinfo"), table.concat()).unwrap();
        let proc = Proc::at(root.join("proc"));
        let of = |name: &str| file_system(&proc, &root.join(name)).unwrap();
        assert_eq!(of("home/not/there/yet").kind, "nfs4");
        assert_eq!(of("home/x/y").kind, "xfs");
        assert_eq!(of("").kind, "ext4");
        assert!(of("home").is_remote() && !of("").is_remote());
    }

    #[test]
    fn a_hidden_file_system_of_its_own_is_not_measured_by_its_cover() {
        let cover = tempfile::tempdir().unwrap();
        let proc_dir = PathBuf::from("/proc");
        let table = line(&proc_dir, "rw", "xfs");
        let plan = planned(&table, std::slice::from_ref(&proc_dir), cover.path());
        assert_eq!(plan.misread, [proc_dir]);
    }

    #[test]
    fn a_mount_point_with_a_space_is_found() {
        assert_eq!(
            unescaped(Path::new(r"/my\040data\134x")),
            Path::new(r"/my data\x")
        );
        assert_eq!(unescaped(Path::new(r"/odd\9")), Path::new(r"/odd\9"));
    }

    #[test]
    fn a_directory_inside_a_hidden_one_is_hidden_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("home/ann/data")).unwrap();
        let dirs = [
            root.join("home/ann/data"),
            root.join("home"),
            root.join("none"),
        ];
        assert_eq!(outermost(&dirs), [root.join("home")]);
    }

    #[test]
    fn homes_kept_elsewhere_are_hidden_together_but_not_a_whole_disk() {
        let dirs = private_dirs(Some(Path::new("/data/home/ann")), Path::new("/x"));
        assert!(dirs.contains(&PathBuf::from("/data/home")));
        let dirs = private_dirs(Some(Path::new("/data/ann")), Path::new("/x"));
        assert!(!dirs.contains(&PathBuf::from("/data")));
    }
}
