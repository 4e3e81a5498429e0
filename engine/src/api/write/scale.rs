//! `/scale`: the number of replicas of anything that has some, as a `Scale`.

use serde_json::{Value, json};

use super::change::Patch;
use super::commit::{self, Origin};
use super::{Outcome, Write, body, metadata, options};
use crate::api::admission::Operation;
use crate::api::read::scale;
use crate::api::{Call, collection, event_versions};
use crate::schema::{FieldError, SchemaRef};
use crate::status::Status;

/// Group and version of `Scale`.
const API_VERSION: &str = "autoscaling/v1";

/// Sets the number at `path`, making the objects on the way.
fn set_at(object: &mut Value, path: &str, number: i64) {
    let mut place = object;
    for field in path.split('.').filter(|field| !field.is_empty()) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[field];
    }
    *place = json!(number);
}

impl Write<'_> {
    /// `PUT` and `PATCH` of a `Scale`.
    pub async fn scale(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        let (api, resource) = (self.api, self.resource);
        let paths = resource.subresources.scale.as_ref().ok_or_else(Status::no_such_resource)?;
        let found = api.store.get(&collection(resource), &self.key(self.name));
        let found = found.ok_or_else(|| self.not_found())?;
        let old = scale::of(resource, &event_versions::shown(resource, found.value()));
        let schema = SchemaRef::named("autoscaling.v1.Scale");
        let mut sent = if self.options.kind == "PatchOptions" {
            let (patch, _) = Patch::parse(call, true)?;
            let mut patched = patch.apply(&schema, &old)?;
            // Only a version in the patch itself asks for one.
            if patched["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"] {
                metadata::set(&mut patched, "resourceVersion", Value::Null);
            }
            patched
        } else {
            body::decode(&call.headers, &call.body)?.value
        };
        check_kind(&sent)?;
        metadata::locate(&mut sent, self.namespace, self.name)?;
        schema.prune(&mut sent);
        let options = self.options.to_json();
        let attributes = self.attributes(Operation::Update, self.name, &options, Some(&old));
        api.admission.mutate(api, &attributes, &mut sent, warnings).await?;
        let replicas = replicas(&sent, self.name)?;
        api.admission.validate(api, &attributes, &sent, warnings).await?;
        let next = |object: &Value, _: &mut Vec<String>| {
            metadata::check_preconditions(resource, object, &sent)?;
            let mut object = object.clone();
            set_at(&mut object, &paths.spec_replicas, replicas);
            Ok(object)
        };
        let scaled = commit::update(self, Origin::Derived, warnings, next).await?;
        Ok(Outcome::Done(scale::of(resource, &scaled)))
    }
}

fn check_kind(scale: &Value) -> Result<(), Status> {
    let is = |field: &str, expected: &str| scale[field].is_null() || scale[field] == expected;
    if scale.is_object() && is("kind", "Scale") && is("apiVersion", API_VERSION) {
        return Ok(());
    }
    Err(Status::bad_request(format!("the body has to be a Scale of {API_VERSION}")))
}

fn replicas(scale: &Value, name: &str) -> Result<i64, Status> {
    let path = "spec.replicas";
    let fault = match &scale["spec"]["replicas"] {
        Value::Null => return Ok(0),
        value => match value.as_i64() {
            Some(replicas) if replicas >= 0 => return Ok(replicas),
            Some(_) => FieldError::invalid(path, value, "must be greater than or equal to 0"),
            None => FieldError::type_invalid(path, value, "must be an integer"),
        },
    };
    Err(Status::invalid("autoscaling", "Scale", name, &options::causes(vec![fault])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_where_the_definition_says() {
        let mut object = json!({"spec": {"a": 1}});
        set_at(&mut object, ".spec.deep.replicas", 4);
        assert_eq!(object, json!({"spec": {"a": 1, "deep": {"replicas": 4}}}));
        let message = replicas(&json!({"spec": {"replicas": -1}}), "a").unwrap_err().message().to_owned();
        assert_eq!(
            message,
            r#"Scale.autoscaling "a" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#
        );
    }
}
