//! Schemas of the bounds of a query: what [`AuditQuery`](crate::audit::AuditQuery) and its like write as text.

use std::borrow::Cow;

use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A duration ago, with up to four digits before each unit.
const AGO: &str = r"^([0-9]{1,4}(\.[0-9]{1,3})?(d|h|m|s|ms|us|ns)){1,3}$";

/// A moment: so long ago, RFC 3339, or the beginning of a day in UTC.
pub struct TimeBound;

impl ToSchema for TimeBound {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("TimeBound")
    }
}

impl PartialSchema for TimeBound {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let formatted = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
        AnyOfBuilder::new()
            .item(text().pattern(Some(AGO)))
            .item(formatted(KnownFormat::DateTime))
            .item(formatted(KnownFormat::Date))
            .into()
    }
}

/// So long ago.
pub struct Ago;

impl ToSchema for Ago {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Ago")
    }
}

impl PartialSchema for Ago {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(AGO)).into()
    }
}
