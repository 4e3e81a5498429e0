//! Greets whoever asks. What an answer says is decided here; how it travels is in `main.rs`.

/// The answer to the first line of an HTTP request: its status and its text.
pub fn answer(request_line: &str) -> (&'static str, String) {
    let mut words = request_line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match (method, target.split_once("?name=")) {
        ("GET", Some(("/greeting", ""))) => ("400 Bad Request", "whom?\n".to_owned()),
        ("GET", Some(("/greeting", name))) => ("200 OK", format!("Hello, {name}!\n")),
        ("GET", None) if target == "/healthz" => ("200 OK", "well\n".to_owned()),
        ("GET", _) => ("404 Not Found", "there is /greeting?name=… and /healthz\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn everybody_is_greeted_by_name() {
        assert_eq!(answer("GET /greeting?name=Ada HTTP/1.1"), ("200 OK", "Hello, Ada!\n".to_owned()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, expected) in [
            ("GET /greeting?name= HTTP/1.1", "400 Bad Request"),
            ("GET /elsewhere HTTP/1.1", "404 Not Found"),
            ("POST /greeting?name=Ada HTTP/1.1", "405 Method Not Allowed"),
            ("", "405 Method Not Allowed"),
        ] {
            assert_eq!(answer(line).0, expected, "{line}");
        }
    }
}
