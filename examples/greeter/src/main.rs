//! The greeter as a server: one short-lived connection after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// All that is read of a request.
const MOST: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("greeter {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    println!("listening on {}", listener.local_addr()?);
    for connection in listener.incoming() {
        // Whoever hangs up early is no reason to stop.
        if let Err(error) = connection.and_then(serve) {
            eprintln!("{error}");
        }
    }
    Ok(())
}

fn serve(mut connection: TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new((&connection).take(MOST));
    let mut first = String::new();
    request.read_line(&mut first)?;
    let mut header = String::new();
    while request.read_line(&mut header)? > 0 && header != "\r\n" {
        header.clear();
    }
    let (status, text) = greeter::answer(first.trim_end());
    let length = text.len();
    write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
}
