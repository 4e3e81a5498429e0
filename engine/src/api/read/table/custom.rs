//! Custom resources: the columns their definition declares, or the age.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json_path::JsonPath;
use super::text::since;
use super::{Printer, column};
use crate::schema::Column;

/// How objects with these columns are printed.
pub fn printer(declared: &[Column]) -> Printer {
    let age = Column {
        name: "Age".to_owned(),
        r#type: "date".to_owned(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        json_path: ".metadata.creationTimestamp".to_owned(),
    };
    let declared = if declared.is_empty() { std::slice::from_ref(&age) } else { declared };
    let mut columns = vec![column("Name", "string", "name", "", 0)];
    columns.extend(declared.iter().map(|declared| {
        let Column { name, r#type, format, description, priority, json_path: _ } = declared;
        column(name, r#type, format, description, *priority)
    }));
    let paths: Vec<(Option<JsonPath>, String)> =
        declared.iter().map(|column| (JsonPath::parse(&column.json_path), column.r#type.clone())).collect();
    let cells = move |object: &Value, now: Timestamp| {
        let name = object["metadata"]["name"].clone();
        let found = paths.iter().map(|(path, kind)| {
            let found = path.as_ref().and_then(|path| path.find(object).first().copied());
            found.map_or(Value::Null, |value| cell(value, kind, now))
        });
        std::iter::once(name).chain(found).collect()
    };
    Printer { columns, cells: Box::new(cells) }
}

/// A value of the type a column declares; nothing when it is of another.
fn cell(value: &Value, kind: &str, now: Timestamp) -> Value {
    match (kind, value) {
        ("integer", Value::Number(number)) => match number.as_f64() {
            // Whole numbers only, as the column says; the fraction is cut off.
            Some(float) if number.as_i64().is_none() => json!(float.trunc() as i64),
            _ => value.clone(),
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) | ("string", Value::String(_)) => {
            value.clone()
        }
        ("date", Value::String(moment)) if moment.parse::<Timestamp>().is_ok() => json!(since(moment, now)),
        ("date", Value::String(_)) => json!("<invalid>"),
        ("string", Value::Null) => Value::Null,
        ("string", other) => json!(other.to_string()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(name: &str, kind: &str, json_path: &str) -> Column {
        Column {
            name: name.to_owned(),
            r#type: kind.to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            json_path: json_path.to_owned(),
        }
    }

    #[test]
    fn cells_are_of_the_declared_type() {
        let columns = [
            declared("Phase", "string", ".status.phase"),
            declared("Done", "integer", ".status.done"),
            declared("Steps", "string", ".status.steps"),
            declared("Since", "date", ".status.since"),
            declared("Missing", "string", ".status.missing"),
        ];
        let object = json!({"metadata": {"name": "w"}, "status": {
            "phase": "Running", "done": 2.5, "steps": ["a"], "since": "2024-01-01T00:00:00Z",
        }});
        let now = "2024-01-01T00:01:00Z".parse().unwrap();
        let printer = printer(&columns);
        assert_eq!(
            (printer.cells)(&object, now),
            [json!("w"), json!("Running"), json!(2), json!("[\"a\"]"), json!("60s"), Value::Null]
        );
    }

    #[test]
    fn without_columns_the_age_is_shown() {
        let names: Vec<Value> = printer(&[]).columns.iter().map(|column| column["name"].clone()).collect();
        assert_eq!(names, ["Name", "Age"]);
    }
}
