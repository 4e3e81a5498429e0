//! Built-in kinds: the columns and cells that Kubernetes' own printers have.

mod access;
mod cluster;
mod config;
mod network;
mod pods;
mod storage;
mod workloads;

use jiff::Timestamp;
use serde_json::Value;

use super::text::age;
use super::{Printer, column};
use crate::schema::Resource;

/// The cells of an object after its name, as of a moment.
type Cells = fn(&Value, Timestamp) -> Vec<Value>;

/// How the objects of one resource are printed.
struct Kind {
    group: &'static str,
    plural: &'static str,
    /// Names of the columns, separated by commas. A name that ends in `+` is of a wide column, one that ends in `#` has whole
    /// numbers.
    columns: &'static str,
    cells: Cells,
}

/// Kinds nobody described: their age.
const ANY: Kind =
    Kind { group: "", plural: "", columns: "Name,Age", cells: |value, now| vec![age(value, now)] };

fn known() -> impl Iterator<Item = &'static Kind> {
    [workloads::KINDS, network::KINDS, cluster::KINDS, config::KINDS, storage::KINDS, access::KINDS]
        .into_iter()
        .flatten()
        .chain(std::iter::once(&pods::KIND))
}

/// How the objects of a built-in resource are printed.
pub fn printer(resource: &Resource) -> Printer {
    let (group, plural) = (&resource.group, &resource.plural);
    let kind = known().find(|kind| kind.group == group && kind.plural == plural).unwrap_or(&ANY);
    let columns = kind.columns.split(',').map(|name| {
        let (name, wide) = name.strip_suffix('+').map_or((name, false), |name| (name, true));
        let (name, whole) = name.strip_suffix('#').map_or((name, false), |name| (name, true));
        let format = if name == "Name" { "name" } else { "" };
        column(name, if whole { "integer" } else { "string" }, format, "", i32::from(wide))
    });
    // Events have their name last, everything else has it first.
    let name_first = kind.columns.starts_with("Name");
    let cells = kind.cells;
    let cells = move |value: &Value, now: Timestamp| {
        let name = name_first.then(|| value["metadata"]["name"].clone());
        name.into_iter().chain(cells(value, now)).collect()
    };
    Printer { columns: columns.collect(), cells: Box::new(cells) }
}

#[cfg(test)]
mod tests;
