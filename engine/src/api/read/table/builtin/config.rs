//! ConfigMaps, Secrets and ServiceAccounts.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Kind;
use crate::api::read::table::text::{age, items, text};

pub const KINDS: &[Kind] = &[
    Kind { group: "", plural: "configmaps", columns: "Name,Data#,Age", cells: config_map },
    Kind { group: "", plural: "secrets", columns: "Name,Type,Data#,Age", cells: secret },
    Kind { group: "", plural: "serviceaccounts", columns: "Name,Secrets#,Age", cells: service_account },
];

fn entries(object: &Value, fields: &[&str]) -> Value {
    let lengths = fields.iter().filter_map(|field| object[field].as_object()).map(serde_json::Map::len);
    json!(lengths.sum::<usize>())
}

fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![entries(object, &["data", "binaryData"]), age(object, now)]
}

fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![json!(text(object, "/type")), entries(object, &["data"]), age(object, now)]
}

fn service_account(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![json!(items(object, "/secrets").count()), age(object, now)]
}
