//! Another Netdata on the machine, at its usual port: in a network namespace that only the test's commands see.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use lab::Lab;

/// Brings up loopback and starts a stand-in at Netdata's port.
const NEIGHBOUR: &str = r#"python3 -c "import fcntl,socket,struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x41))"
$lab/netdata $lab/netdata.py 19999 2>/dev/null & other=$!
trap 'kill $other' EXIT
for i in $(seq 100); do $lab/netdata -c "import socket; socket.create_connection(('127.0.0.1', 19999))" 2>/dev/null && break; sleep 0.1; done
"#;

#[test]
fn a_start_offers_the_netdata_that_runs_already_instead_of_a_second_one() {
    let lab = Lab::answering();
    let script = "$start && exit 7; [ -e $lab/home/netdata.pid ] && exit 8\n\
                  $start --beside-another\n\
                  $launcher stop\n";
    let (code, text) = lab.in_namespaces(&["--net"], &(NEIGHBOUR.to_owned() + script));
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("another Netdata already runs on this machine: Netdata v0.0.1"),
        "{text}"
    );
    assert!(
        text.contains("http://127.0.0.1:19999") && text.contains("launcher start --beside-another"),
        "{text}"
    );
    assert!(
        text.contains("Netdata is running") && text.contains("Netdata has stopped"),
        "{text}"
    );
}
