//! Schema of `event_data`: one of the payloads, told apart by its own `event_type`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use utoipa::openapi::schema::{Discriminator, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::event_type::{PayloadSchema, payloads};
use super::{
    NotificationAuditPayload, RemediationApprovalAuditPayload, WorkflowExecutionAuditPayload,
    WorkflowExecutionWebhookAuditPayload,
};

/// Stands for the payloads in the schema; on the wire and in memory they are JSON objects.
pub struct EventData;

impl ToSchema for EventData {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("EventData")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (name, (payload, event_types)) in by_name() {
            schemas.push((name.to_owned(), checked_part(payload, &event_types)));
        }
        // Those that are types of this crate are described in full.
        push::<WorkflowExecutionAuditPayload>(schemas);
        push::<WorkflowExecutionWebhookAuditPayload>(schemas);
        push::<RemediationApprovalAuditPayload>(schemas);
        push::<NotificationAuditPayload>(schemas);
    }
}

impl PartialSchema for EventData {
    fn schema() -> RefOr<Schema> {
        let one_of = by_name().into_keys().fold(
            OneOfBuilder::new().description(Some("One payload per event type; `event_type` says which.")),
            |one_of, name| one_of.item(Ref::from_schema_name(name)),
        );
        let mapping = payloads()
            .map(|(event_type, payload)| (event_type, format!("#/components/schemas/{}", payload.name)));
        one_of.discriminator(Some(Discriminator::with_mapping("event_type", mapping))).into()
    }
}

fn push<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.retain(|(name, _)| *name != T::name());
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

fn by_name() -> BTreeMap<&'static str, (&'static PayloadSchema, Vec<&'static str>)> {
    let mut groups: BTreeMap<_, (_, Vec<&str>)> = BTreeMap::new();
    for (event_type, payload) in payloads() {
        groups.entry(payload.name).or_insert((payload, Vec::new())).1.push(event_type);
    }
    groups
}

/// The part of another service's payload that is checked: its type and the presence of its required fields.
fn checked_part(payload: &PayloadSchema, event_types: &[&'static str]) -> RefOr<Schema> {
    let event_type = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(event_types.to_vec()));
    let object = ObjectBuilder::new().property("event_type", event_type).required("event_type");
    payload.required.iter().fold(object, |object, field| object.required(*field)).into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::audit::event_types;

    #[test]
    fn every_event_type_leads_to_a_schema_that_exists_once() {
        let schema = serde_json::to_value(EventData::schema()).unwrap();
        let mapping = schema["discriminator"]["mapping"].as_object().unwrap();
        let mut schemas = Vec::new();
        EventData::schemas(&mut schemas);
        for event_type in event_types() {
            let target = mapping.get(event_type).and_then(Value::as_str).unwrap_or_default();
            let name = target.rsplit('/').next().unwrap();
            assert_eq!(
                schemas.iter().filter(|(known, _)| known == name).count(),
                1,
                "{event_type}: `{target}`"
            );
        }
    }
}
