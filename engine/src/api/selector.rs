//! Label and field selectors: parsing, and matching against stored objects.

mod field;
mod label;

pub use field::FieldSelector;
pub use label::{LabelSelector, ParseError};

use crate::store::Object;

/// Which objects of a collection a request means.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Namespace; `None` for all.
    pub namespace: Option<String>,
    /// By labels.
    pub labels: LabelSelector,
    /// By fields.
    pub fields: FieldSelector,
}

impl Selection {
    /// Whether the object is meant.
    pub fn matches(&self, object: &Object) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace)
            && self.labels.matches(&object.labels)
            && self.fields.matches(object)
    }

    /// Whether anything but the namespace restricts the selection.
    pub fn is_restricted(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }
}
