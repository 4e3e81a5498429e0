//! What runs inside the containers of the tests: this very binary, told by its arguments what to do.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::json;

/// Carries out the commands in order: `name=argument`.
pub fn role(commands: &[&str]) -> ! {
    for command in commands {
        let (name, argument) = command.split_once('=').unwrap_or((command, ""));
        match name {
            "look" => println!("{}", look()),
            "say" => println!("{argument}"),
            "complain" => eprintln!("{argument}"),
            "cat" => println!(
                "{}",
                fs::read_to_string(argument).unwrap_or_else(|error| format!("{argument}: {error}"))
            ),
            "write" => match fs::write(argument, "written") {
                Ok(()) => println!("wrote {argument}"),
                Err(error) => println!("{argument}: {error}"),
            },
            "await" => {
                let (file, content) = argument.split_once('=').unwrap();
                while fs::read_to_string(file).unwrap() != content {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
            "terminate-with" => fs::write("/dev/termination-log", argument).unwrap(),
            "serve" => serve(argument),
            "fetch" => println!("{}", fetch(argument)),
            "forever" => loop {
                nix::unistd::pause();
            },
            "until-term" => {
                let mut signals = nix::sys::signal::SigSet::empty();
                signals.add(nix::sys::signal::Signal::SIGTERM);
                signals.thread_block().unwrap();
                println!("waiting");
                signals.wait().unwrap();
            }
            "exit" => std::process::exit(argument.parse().unwrap()),
            unknown => panic!("unknown command {unknown}"),
        }
        std::io::stdout().flush().unwrap();
    }
    std::process::exit(0)
}

fn look() -> serde_json::Value {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let names = |directory: &str| {
        let mut names: Vec<String> = fs::read_dir(directory)
            .map(|entries| {
                entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    };
    let processes = names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    json!({
        "pid": std::process::id(),
        "processes": processes.collect::<Vec<_>>(),
        "user": field("Uid:").first(),
        "group": field("Gid:").first(),
        "groups": field("Groups:"),
        "capabilities": field("CapEff:").first(),
        "bounding": field("CapBnd:").first(),
        "noNewPrivileges": field("NoNewPrivs:").first(),
        "hostname": fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim(),
        "root": names("/"),
        "devices": names("/dev"),
        "interfaces": names("/sys/class/net"),
        "environment": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
        "directory": std::env::current_dir().unwrap(),
        "descriptors": names("/proc/self/fd"),
    })
}

/// Answers every connection to the port with one line, as HTTP.
fn serve(port: &str) {
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).unwrap();
    println!("listening");
    std::io::stdout().flush().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 1024];
            let _ = connection.read(&mut request);
            let peer = connection.peer_addr().unwrap().ip().to_string();
            let _ = write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{peer}", peer.len());
        }
    });
}

fn fetch(address: &str) -> String {
    let mut answer = String::new();
    let attempt = TcpStream::connect(address).and_then(|mut connection| {
        connection.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        connection.read_to_string(&mut answer)
    });
    match attempt {
        Ok(_) => answer.lines().last().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    }
}
