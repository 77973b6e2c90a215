//! A server as its command line describes it, and where it may be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netdata_plugin::chart::Instance;

use super::python::basename;

/// The port of a server whose arguments a title has destroyed, until its sockets tell.
pub const UNKNOWN_PORT: u16 = 0;
/// Names longer than this are cut: they are labels, and anybody's to choose.
pub const MAX_NAME: usize = 120;

/// A server, or a router in front of some. Secrets of its command line (API keys) never enter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `sglang`, `vllm`, `llama.cpp`, `ollama`, `tgi` or `localai`.
    pub engine: &'static str,
    /// The host as given, or the engine's default.
    pub host: String,
    /// The port as given, or the engine's default.
    pub port: u16,
    /// Whether its arguments give the port: no file and no variable does, then.
    pub port_given: bool,
    /// How its command line begins, for the advice to change it; empty where that is not known.
    pub command: &'static str,
    /// The name under which it serves its model, else the last part of the model's path.
    pub model: Option<String>,
    /// Ranks of tensor, data, pipeline and expert parallelism.
    pub tp: u32,
    /// Data-parallel ranks.
    pub dp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Expert-parallel ranks.
    pub ep: u32,
    /// Machines it spans.
    pub nodes: u32,
    /// Which of them this is, from 0.
    pub node_rank: u32,
    /// Requests that may run at once, over all replicas, where its command line says so.
    pub max_running: Option<u32>,
    /// Whether its command line asks for `/metrics`.
    pub metrics: bool,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether a file adds to its command line, which we cannot see.
    pub config_file: bool,
    /// Whether it speaks gRPC on its port, and HTTP beside it at best.
    pub grpc: bool,
    /// The port for that, as given.
    pub sidecar_port: Option<u16>,
    /// Whether it is a router, which runs no model.
    pub router: bool,
    /// Where a router has its `/metrics`: not on its own port.
    pub metrics_port: Option<u16>,
}

/// Where a server is reached from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// By this address, which is the host's own if connecting to it is allowed.
    Literal(SocketAddr),
    /// Under a name: names are never looked up.
    Name,
}

impl Server {
    /// A server of which nothing else is known.
    #[must_use]
    pub fn new(engine: &'static str, host: &str, port: u16) -> Self {
        Self {
            engine,
            host: host.to_owned(),
            port,
            port_given: false,
            command: "",
            model: None,
            tp: 1,
            dp: 1,
            pp: 1,
            ep: 1,
            nodes: 1,
            node_rank: 0,
            max_running: None,
            metrics: false,
            tls: false,
            config_file: false,
            grpc: false,
            sidecar_port: None,
            router: false,
            metrics_port: None,
        }
    }

    /// Takes the port from an argument; what is no port leaves the default.
    pub fn set_port(&mut self, value: &str) {
        if let Some(port) = value.parse().ok().filter(|port| *port != UNKNOWN_PORT) {
            self.port = port;
            self.port_given = true;
        }
    }

    /// Where to connect: a server that listens everywhere is reached by loopback.
    #[must_use]
    pub fn address(&self) -> Address {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let ip = match host.parse() {
            Ok(ip) => ip,
            Err(_) if host.is_empty() || host == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Err(_) => return Address::Name,
        };
        Address::Literal(self.bound_to(ip))
    }

    /// Where to connect if its port is bound to `ip`.
    #[must_use]
    pub fn bound_to(&self, ip: IpAddr) -> SocketAddr {
        let ip = match ip {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        SocketAddr::new(ip, self.port)
    }

    /// Where it answers in HTTP, as seen from `own`, the address of its port.
    #[must_use]
    pub fn http_address(&self, own: SocketAddr) -> SocketAddr {
        let port = match (self.grpc, self.sidecar_port) {
            (false, _) => own.port(),
            (true, Some(given)) => given,
            (true, None) => own.port().saturating_add(1),
        };
        SocketAddr::new(own.ip(), port)
    }

    /// What tells it from every other server of this host: `127.0.0.1:30000`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.address() {
            Address::Literal(address) => address.to_string(),
            Address::Name => format!("{}:{}", self.host, self.port),
        }
    }

    /// What selectors in configurations may call it: address, model, engine, and the `user` who runs it.
    #[must_use]
    pub fn known_as<'a>(&'a self, address: &'a str, user: &'a str) -> [&'a str; 4] {
        let model = self.model.as_deref().unwrap_or_default();
        [address, model, self.engine, user]
    }

    /// How to change the running command line so that there are metrics. Arguments are not repeated: they may
    /// hold keys.
    #[must_use]
    pub fn metrics_advice(&self) -> String {
        if self.node_rank > 0 {
            return "look at the first node of its several: each tells of its own ranks only"
                .to_owned();
        }
        if self.metrics {
            return "look for the reason at the beginning of its log: it was started with --enable-metrics".to_owned();
        }
        let file = if self.config_file {
            ", or `enable-metrics: true` to its --config file"
        } else {
            ""
        };
        match self.command {
            "" => "add --enable-metrics to its command line and start it again".to_owned(),
            command => format!(
                "add --enable-metrics to its arguments and start it again as \
                 `{command} … --port {} --enable-metrics`{file}",
                self.port
            ),
        }
    }

    /// The same in a label's few words; `None` where an option more is not what it lacks.
    #[must_use]
    pub fn start_with_metrics(&self) -> Option<String> {
        let lacks = !self.metrics && self.node_rank == 0;
        lacks.then(|| match self.command {
            "" => "its command line and --enable-metrics".to_owned(),
            command => format!("{command} ... --port {} --enable-metrics", self.port),
        })
    }

    /// An instance whose charts begin with `<kind>_<port>`, or `<kind>_<host>_<port>` where that is not
    /// plain loopback.
    #[must_use]
    pub fn instance(&self, kind: &str, prefix: &str) -> Instance {
        let port = self.port;
        let host = match self.address() {
            Address::Literal(address) => {
                let ip = address.ip();
                if ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST) {
                    return Instance::new(&format!("{kind}_{port}"), prefix);
                }
                ip.to_string()
            }
            Address::Name => self.host.clone(),
        };
        Instance::new(&format!("{kind}_{host}_{port}"), prefix)
    }
}

/// The name under which a model is served, else the last part of its path.
#[must_use]
pub fn model(served: Option<&str>, path: Option<&str>) -> Option<String> {
    served
        .or_else(|| path.map(|path| basename(path.trim_end_matches('/'))))
        .filter(|name| !name.is_empty())
        .map(cut)
}

/// Text of a command line, fit for a label.
#[must_use]
pub fn cut(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .take(MAX_NAME)
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A server on `host` and `port` with nothing else said.
    pub fn server(host: &str, port: u16) -> Server {
        Server {
            metrics: true,
            ..Server::new("sglang", host, port)
        }
    }

    #[test]
    fn a_server_that_listens_everywhere_is_reached_by_loopback() {
        for (host, name, chart_type) in [
            ("0.0.0.0", "127.0.0.1:30000", "sglang_30000"),
            ("::", "[::1]:30000", "sglang_30000"),
            ("[::]", "[::1]:30000", "sglang_30000"),
            ("localhost", "127.0.0.1:30000", "sglang_30000"),
            ("127.0.0.2", "127.0.0.2:30000", "sglang_127_0_0_2_30000"),
            ("10.1.2.3", "10.1.2.3:30000", "sglang_10_1_2_3_30000"),
            ("gpu1.lab", "gpu1.lab:30000", "sglang_gpu1_lab_30000"),
        ] {
            let server = server(host, 30000);
            assert_eq!(server.name(), name, "{host}");
            assert_eq!(server.instance("sglang", "").chart_type, chart_type);
        }
    }

    #[test]
    fn the_advice_is_the_change_to_the_command_that_runs() {
        let mut server = server("::1", 31000);
        assert!(server.metrics_advice().starts_with("look for the reason"));
        assert_eq!(server.start_with_metrics(), None);
        server.metrics = false;
        assert!(
            server
                .metrics_advice()
                .starts_with("add --enable-metrics to its command line")
        );
        server.command = "sglang serve";
        server.config_file = true;
        let advice = server.metrics_advice();
        let label = "sglang serve ... --port 31000 --enable-metrics";
        assert_eq!(server.start_with_metrics().as_deref(), Some(label));
        assert!(
            advice.contains("`sglang serve … --port 31000 --enable-metrics`"),
            "{advice}"
        );
        assert!(advice.contains("`enable-metrics: true`"), "{advice}");
    }

    #[test]
    fn a_name_is_never_an_address() {
        assert_eq!(server("gpu1.lab", 1).address(), Address::Name);
        assert_eq!(server("127.1", 1).address(), Address::Name);
    }
}
