//! The servers of this host and what their processes use. Finding them takes a pass over /proc every few
//! seconds, shared with whoever else looks for them; in between one small file is read for each process that
//! belongs to a server.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netdata_plugin::chart::Instance;

use super::cpu::CpuRates;
use super::energy;
use super::outside::{Outside, Place};
use super::restarts::Restarts;
use super::usage::Usage;
use crate::config::Selection;
use crate::engine::{self, Census, Found, Role, Tree};
use crate::host_probe::{HostProbe, ProcessId};
use crate::inference_status::Server;
use crate::processes::{Files, Stat, Users, effective_uid, page_bytes};

/// Age of the last look at all processes from which this module takes its own: what starts or ends shows within this
/// time. Where discovery looks for servers, too, it does so earlier, and for both.
pub const SCAN_EVERY: Duration = Duration::from_secs(5);
/// Most servers watched, our own user's first.
const MAX_SERVERS: usize = 128;
/// Part of every chart's id: `server_30000`.
const CHART_TYPE: &str = "server";
/// The label of what the command line does not say.
const UNKNOWN: &str = "unknown";

/// Finds servers and reads their processes.
#[derive(Debug)]
pub struct Watch {
    census: Arc<Census>,
    /// What the servers are from.
    found: Option<Arc<Found>>,
    files: Files,
    users: Users,
    own_uid: u32,
    selection: Selection,
    page_bytes: u64,
    cpu: CpuRates,
    servers: Vec<Watched>,
    host_probe: Arc<HostProbe>,
    outside: Outside,
    restarts: Restarts,
}

/// A server and its roles.
#[derive(Debug)]
pub struct Watched {
    /// Of the charts of the server as a whole.
    pub instance: Arc<Instance>,
    /// Every role that a process of it has had.
    pub roles: BTreeMap<Role, OfRole>,
    /// How often its process was found to be another one.
    pub restarts: u32,
    tree: Tree,
    members: Vec<Member>,
    user: String,
    place: Option<Place>,
}

/// A process of a server.
#[derive(Clone, Copy, Debug)]
struct Member {
    id: ProcessId,
    role: Role,
}

/// All processes of one role.
#[derive(Debug)]
pub struct OfRole {
    /// Of the charts of this role.
    pub instance: Arc<Instance>,
    /// What they use now.
    pub usage: Usage,
}

impl Watch {
    /// Of the servers of `census` in `selection`. `own_uid` is the user whose name may be shown.
    #[must_use]
    pub fn new(
        census: Arc<Census>,
        own_uid: u32,
        host_probe: Arc<HostProbe>,
        selection: Selection,
    ) -> Self {
        Self {
            outside: Outside::new(Arc::clone(&host_probe)),
            host_probe,
            restarts: Restarts::default(),
            users: Users::new(census.root(), own_uid),
            files: Files::new(census.root()),
            census,
            found: None,
            own_uid,
            selection,
            page_bytes: page_bytes(),
            cpu: CpuRates::new(),
            servers: Vec::new(),
        }
    }

    /// Where it reads.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.census.root()
    }

    /// Whether anything is known of the host's servers.
    #[must_use]
    pub fn knows_servers(&self) -> bool {
        self.found.is_some()
    }

    /// Takes what the last look at all processes found, if that is new; says whether it is.
    ///
    /// # Errors
    /// If /proc cannot be listed; what was found before stays.
    pub fn look(&mut self, now: Instant) -> io::Result<bool> {
        // While another looks there is nothing new yet.
        let Some(new) = self.census.found(now, SCAN_EVERY)? else {
            return Ok(false);
        };
        if self.found.as_ref().is_some_and(|it| Arc::ptr_eq(it, &new)) {
            return Ok(false);
        }
        let mut trees = new.trees.clone();
        engine::locate(
            &mut trees,
            |id| self.host_probe.known_listening(id),
            |pid| new.start_ticks(pid),
        );
        let mut found: Vec<_> = trees
            .into_iter()
            .map(|tree| (effective_uid(self.census.root(), tree.pid), tree))
            .collect();
        // Two that claim the same address would draw on the same charts: anybody may name a process so.
        // Our own user's wins, then the one that was there first.
        found.sort_by_key(|(uid, tree)| (*uid != Some(self.own_uid), tree.start_ticks, tree.pid));
        let mut taken = BTreeSet::new();
        let mut before = std::mem::take(&mut self.servers);
        for (uid, tree) in found {
            if self.servers.len() >= MAX_SERVERS {
                break;
            }
            let chart_type = tree.server.instance(CHART_TYPE, "").chart_type;
            if taken.contains(&chart_type) {
                continue;
            }
            let process = (tree.pid, tree.start_ticks);
            let restarts = self.restarts.of(&chart_type, process, now);
            taken.insert(chart_type);
            let user = self.users.label(uid);
            let address = tree.server.name();
            let known_as = tree.server.known_as(&address, user);
            if !self.selection.lets_through(&known_as) {
                continue;
            }
            let place = self.outside.place(main(&tree));
            let known = |known: &Watched| known.is(&tree, user) && known.place == place;
            let known = before.iter().position(known);
            let mut server = match known {
                Some(at) => before.swap_remove(at),
                None => Watched::new(&tree, user, place),
            };
            server.take_members(tree, &new);
            server.restarts = restarts;
            self.servers.push(server);
        }
        self.found = Some(new);
        Ok(true)
    }

    /// The servers found, for those who want to know which process belongs to which.
    pub fn listed(&self) -> impl Iterator<Item = Server> + '_ {
        self.servers.iter().map(|server| {
            let said = &server.tree.server;
            let process = |member: &Member| (member.id.pid, member.id.start_ticks);
            Server {
                name: said.name(),
                engine: said.engine,
                model: said.model.clone(),
                user: server.user.clone(),
                tp: said.tp,
                processes: server.members.iter().map(process).collect(),
            }
        })
    }

    /// The same for those who charge energy to them.
    pub fn energy_users(&self) -> impl Iterator<Item = energy::Server> + '_ {
        let listed = self.listed().zip(&self.servers);
        listed.map(|(listed, server)| energy::Server {
            name: listed.name,
            instance: Arc::clone(&server.instance),
            main: (server.tree.pid, server.tree.start_ticks),
            processes: listed.processes,
        })
    }

    /// Reads every process of the known servers.
    pub fn read(&mut self, now: Instant) -> &[Watched] {
        let readings = self.outside.readings(now);
        for server in &mut self.servers {
            server
                .roles
                .values_mut()
                .for_each(|role| role.usage = Usage::default());
            for &Member { id, role } in &server.members {
                let stat = self.files.stat(id.pid);
                // Otherwise it has ended, and its pid may be another's.
                let is_it = |stat: &Stat<'_>| stat.start_ticks == id.start_ticks && !stat.is_dead();
                let (Some(stat), Some(of_role)) = (stat.filter(is_it), server.roles.get_mut(&role))
                else {
                    continue;
                };
                let cpu_ticks = (stat.user_ticks, stat.system_ticks);
                let faults = (stat.minor_faults, stat.major_faults);
                let cpu = self.cpu.of(id.pid, id.start_ticks, cpu_ticks, now);
                let faults = self.cpu.faults(id.pid, id.start_ticks, faults, now);
                let usage = &mut of_role.usage;
                usage
                    .outside
                    .add(readings.get(&id).copied(), usage.processes == 0);
                usage.processes += 1;
                usage.cpu.add(cpu);
                usage.busiest_pct = usage
                    .busiest_pct
                    .into_iter()
                    .chain(cpu.total_pct())
                    .reduce(f64::max);
                usage.resident_bytes += stat.rss_pages * self.page_bytes;
                usage.threads += stat.threads;
                usage.faults.add(faults);
            }
        }
        self.outside.want(
            || {
                let members = self.servers.iter().flat_map(|it| &it.members);
                members.map(|member| member.id).collect()
            },
            || self.servers.iter().map(|it| main(&it.tree)).collect(),
            now,
        );
        self.cpu.forget_unseen(now);
        &self.servers
    }
}

fn main(tree: &Tree) -> ProcessId {
    ProcessId {
        pid: tree.pid,
        start_ticks: tree.start_ticks,
    }
}

impl Watched {
    /// Without its processes.
    fn new(tree: &Tree, user: &str, place: Option<Place>) -> Self {
        Self {
            instance: Arc::new(instance(tree, user, place.as_ref(), "")),
            roles: BTreeMap::new(),
            restarts: 0,
            user: user.to_owned(),
            place,
            tree: tree.clone(),
            members: vec![],
        }
    }

    /// Whether it is the server of `tree`, with the same labels.
    fn is(&self, tree: &Tree, user: &str) -> bool {
        (self.tree.pid, self.tree.start_ticks) == (tree.pid, tree.start_ticks)
            && self.tree.server == tree.server
            && self.user == user
    }

    /// Takes the processes it has now. A role stays when its last process has ended.
    fn take_members(&mut self, tree: Tree, found: &Found) {
        let member = |&(pid, role): &(u32, Role)| {
            let start_ticks = found.start_ticks(pid)?;
            let id = ProcessId { pid, start_ticks };
            Some(Member { id, role })
        };
        self.members = tree.members.iter().filter_map(member).collect();
        for (_, role) in &tree.members {
            self.roles.entry(*role).or_insert_with(|| OfRole {
                instance: Arc::new(
                    instance(
                        &tree,
                        &self.user,
                        self.place.as_ref(),
                        &format!("{}_", role.name()),
                    )
                    .label("role", role.name()),
                ),
                usage: Usage::default(),
            });
        }
        self.tree = tree;
    }
}

fn instance(tree: &Tree, user: &str, place: Option<&Place>, prefix: &str) -> Instance {
    let server = &tree.server;
    let mut instance = server
        .instance(CHART_TYPE, prefix)
        .label("server", server.name())
        .label("engine", server.engine)
        .label("model", server.model.as_deref().unwrap_or(UNKNOWN))
        .label("user", user);
    for (key, variable) in [
        ("cuda_visible_devices", "CUDA_VISIBLE_DEVICES"),
        ("slurm_job", "SLURM_JOB_ID"),
    ] {
        if let Some(value) = place.and_then(|place| place.get(variable)) {
            instance = instance.label(key, value.as_str());
        }
    }
    instance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::tests::FakeProc;

    #[test]
    fn servers_and_their_processes_are_listed_for_others() {
        let proc = FakeProc::new();
        proc.passwd("marie:x:1000:1000::/:\n");
        proc.process(1, 0, "init", 'S', &["init"]);
        proc.process(
            10,
            1,
            "python",
            'S',
            &["python", "-m", "sglang.launch_server"],
        );
        proc.process(11, 10, "sglang::schedul", 'S', &["sglang::scheduler"]);
        let mut watch = Watch::new(
            Arc::new(Census::new(proc.path())),
            1000,
            Arc::new(HostProbe::new(None)),
            Selection::default(),
        );
        let now = Instant::now();
        assert!(watch.look(now).unwrap());
        assert!(!watch.look(now).unwrap());
        let listed: Vec<_> = watch.listed().collect();
        let expected = Server {
            name: "127.0.0.1:30000".to_owned(),
            engine: "sglang",
            model: None,
            user: "marie".to_owned(),
            tp: 1,
            processes: BTreeMap::from([(10, 110), (11, 111)]),
        };
        assert_eq!(listed, [expected]);
    }
}
