//! Servers that do not answer in plain HTTP on their own port: gRPC with HTTP beside it, and TLS.

use std::io::Read as _;

use super::*;

/// A port that is nobody's, below one that a site has.
fn before(site: &Site) -> u16 {
    site.port - 1
}

#[test]
fn a_server_that_speaks_grpc_has_its_metrics_on_the_port_beside() {
    let site = Site::start();
    site.answers(200, PAGE);
    for mode in [&["--grpc-mode"], &["--smg-grpc-mode"]] {
        let mut rig = Rig::with(before(&site), mode);
        rig.proc.listen(&[before(&site), site.port]);
        let (state, frame) = rig.tick(0);
        assert_eq!(state, "ready");
        assert_eq!(has(&frame, &REQUESTS_IN_FLIGHT, "running"), Some(3.0));
    }
    // Newer ones have gRPC elsewhere.
    let mut rig = Rig::with(before(&site), &["--smg-grpc-mode"]);
    rig.proc.listen(&[site.port]);
    assert_eq!(rig.state(0), "ready");
}

#[test]
fn the_port_beside_grpc_may_be_given() {
    let site = Site::start();
    site.answers(200, PAGE);
    let given: &'static str = format!("--smg-http-sidecar-port={}", site.port).leak();
    let more: &'static [&'static str] = vec!["--smg-grpc-mode", given].leak();
    let mut rig = Rig::with(1, more);
    rig.proc.listen(&[1, site.port]);
    assert_eq!(rig.state(0), "ready");
}

#[test]
fn a_server_that_speaks_grpc_alone_shows_no_metrics_and_is_asked_nothing() {
    let site = Site::start();
    let mut rig = Rig::with(site.port, &["--grpc-mode"]);
    assert_eq!(rig.state(0), "starting");
    rig.proc.listen(&[site.port]);
    assert_eq!(rig.state(5), "no_metrics");
    assert_eq!(rig.state(70), "no_metrics");
    assert_eq!(site.requests(), 0);
}

#[test]
fn a_server_whose_host_is_a_name_is_where_its_user_listens_on_its_port() {
    let site = Site::start();
    site.answers(200, PAGE);
    let mut rig = Rig::with(site.port, &["--host", "gpu1.lab"]);
    let name = rig.servers.0.lock().unwrap().keys().next().unwrap().clone();
    assert_eq!(name, format!("gpu1.lab:{}", site.port));
    rig.collector.name = name;
    assert_eq!(rig.state(0), "starting");
    let theirs = format!("0: 0100007F:{:04X} 0:0 0A 0:0 0:0 0 1001 0 1\n", site.port);
    rig.proc.file("self/net/tcp", theirs);
    assert_eq!(rig.state(5), "starting");
    assert_eq!(site.requests(), 0);
    rig.proc.listen(&[site.port]);
    assert_eq!(rig.state(10), "ready");
    rig.proc.listen(&[]);
    assert_eq!(rig.state(15), "unreachable");
}

#[test]
fn a_server_in_a_network_of_its_own_is_not_one_that_starts() {
    let site = Site::start();
    let mut rig = Rig::new(site.port);
    assert_eq!(rig.state(0), "starting");
    let line = format!("0: 00000000:{:04X} 0:0 0A 0:0 0:0 0 1000 0 1\n", site.port);
    rig.proc.file("10/net/tcp", line);
    assert_eq!(rig.state(5), "unreachable");
    assert!(
        rig.collector
            .life
            .as_ref()
            .unwrap()
            .trouble
            .contains("publish")
    );
    // Published, somebody listens for it here.
    rig.proc.listen(&[site.port]);
    site.answers(200, PAGE);
    assert_eq!(rig.state(10), "ready");
}

/// Answers one request after the other in TLS, with a certificate that nobody knows.
fn encrypted(page: &'static str) -> u16 {
    let made = rcgen::generate_simple_self_signed(vec!["gpu1.lab".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(session, stream);
            let mut head = [0; 4096];
            while tls.read(&mut head).is_ok_and(|read| read > 0) {
                let length = page.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                tls.write_all((head + page).as_bytes()).unwrap();
            }
        }
    });
    port
}

#[test]
fn a_server_that_speaks_tls_is_asked_in_tls_whatever_its_certificate() {
    let port = encrypted(PAGE);
    let mut rig = Rig::with(port, &["--ssl-certfile", "c.pem", "--ssl-keyfile", "k.pem"]);
    rig.proc.listen(&[port]);
    let (state, frame) = rig.tick(0);
    assert_eq!(state, "ready");
    assert_eq!(has(&frame, &REQUESTS_IN_FLIGHT, "running"), Some(3.0));
    assert_eq!(rig.state(5), "ready");
    // In plain text it would not understand.
    let mut rig = Rig::new(port);
    rig.proc.listen(&[port]);
    assert_eq!(rig.state(0), "unreachable");
}
