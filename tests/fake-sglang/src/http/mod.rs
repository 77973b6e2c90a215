//! The little HTTP/1.1 a replayed server needs: GET, keep-alive, chunked answers; a thread a
//! connection. Hand-written because later faults need every byte of the answer in their hands.

mod message;
mod routes;

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::server::Server;
use message::Request;

/// Idle time after which a connection is closed: uvicorn's default, and as long as the product's
/// scrape interval, so that scrapes meet connections about to close.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Accepts connections until the process ends.
pub fn serve(listener: &TcpListener, server: &Arc<Server>) {
    for stream in listener.incoming().flatten() {
        let server = Arc::clone(server);
        thread::spawn(move || {
            // A client that leaves is its own business.
            let _ = converse(&stream, &server);
        });
    }
}

fn converse(stream: &TcpStream, server: &Server) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(KEEP_ALIVE))?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        server.count(&request.path);
        server.faults.hang.wait();
        if request.path == "/metrics" && server.config.metrics {
            thread::sleep(server.faults.slow.delay());
            let spoilt = server.faults.spoil.answer(|| server.page(), stream)?;
            if spoilt {
                break;
            }
        }
        let answer = routes::answer(server, &request);
        let mut writer = stream;
        writer.write_all(&answer.encode(&request))?;
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}
