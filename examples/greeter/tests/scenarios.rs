//! What a user would try, on the deployed greeter: through the port of the cluster that `kind/cluster.yaml` opens on this machine.

use std::io::{Read, Write};
use std::net::TcpStream;

const ADDRESS: &str = "127.0.0.1:38417";

fn get(target: &str) -> String {
    let mut connection = TcpStream::connect(ADDRESS).unwrap();
    write!(connection, "GET {target} HTTP/1.1\r\nHost: greeter\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_deployed_greeter_greets_by_name() {
    let answer = get("/greeting?name=Grace");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("Hello, Grace!\n"), "{answer}");
}

#[test]
fn the_deployed_greeter_refuses_what_makes_no_sense() {
    let answer = get("/elsewhere");
    assert!(answer.starts_with("HTTP/1.1 404 Not Found"), "{answer}");
}
