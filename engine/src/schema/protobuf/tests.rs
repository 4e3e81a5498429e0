use super::*;
use crate::schema::Registry;
use crate::schema::types::Shape;

/// A length-delimited field.
fn block(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    bytes.extend_from_slice(content);
    bytes
}

fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn envelope(api_version: &str, kind: &str, content: &[u8]) -> Vec<u8> {
    let head = [block(1, api_version), block(2, kind)].concat();
    [MAGIC, &block(1, head), &block(2, content), &block(3, ""), &block(4, "")].concat()
}

#[track_caller]
fn check(api_version: &str, kind: &str, content: &[u8], expected: Value) {
    let mut decoded = decode(&envelope(api_version, kind, content)).unwrap();
    let fields = decoded.as_object_mut().unwrap();
    assert_eq!(
        (fields.remove("apiVersion"), fields.remove("kind")),
        (Some(json!(api_version)), Some(json!(kind)))
    );
    assert_eq!(decoded, expected);
}

#[test]
fn maps_and_bytes_are_read_and_unset_fields_left_out() {
    let metadata =
        [block(1, "a"), block(2, ""), block(8, ""), block(11, [block(1, "k"), block(2, "v")].concat())];
    let data = [block(1, "x"), block(2, "hi")].concat();
    let content = [block(1, metadata.concat()), block(2, data.clone()), block(3, ""), number(5, 1)].concat();
    check(
        "v1",
        "Secret",
        &content,
        json!({"metadata": {"name": "a", "labels": {"k": "v"}}, "data": {"x": "aGk="}, "immutable": true}),
    );
}

#[test]
fn pointers_keep_zero_and_inlined_messages_are_the_objects_own() {
    let volume = [block(1, "v"), block(2, block(2, block(1, "")))].concat();
    let limit = [block(1, "cpu"), block(2, block(1, "500m"))].concat();
    let container = [block(1, "c"), block(8, block(1, limit)), vec![0x80, 0x01, 0]].concat();
    let pod = [block(1, volume), block(2, container), number(4, 0), number(11, 0)].concat();
    let strategy = block(2, [block(1, [number(1, 1), number(2, 0), block(3, "25%")].concat())].concat());
    let content = [block(3, block(2, pod)), block(4, strategy), number(1, 0)].concat();
    let expected = json!({"spec": {
        "replicas": 0,
        "template": {"spec": {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "resources": {"limits": {"cpu": "500m"}}}],
            "terminationGracePeriodSeconds": 0,
        }},
        "strategy": {"rollingUpdate": {"maxUnavailable": "25%"}},
    }});
    check("apps/v1", "Deployment", &block(2, content), expected);
}

#[test]
fn reviews_and_times_are_read() {
    let extra = [block(1, "k"), block(2, [block(1, "a"), block(1, "b")].concat())].concat();
    let attributes = [block(2, "get"), block(5, "pods")].concat();
    let content = block(2, [block(1, attributes), block(3, "bob"), block(5, extra)].concat());
    check(
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        &content,
        json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}, "user": "bob", "extra": {"k": ["a", "b"]}}}),
    );
    let moment = [number(1, 60), vec![2 << 3, 0xe8, 0x07]].concat();
    check(
        "coordination.k8s.io/v1",
        "Lease",
        &block(2, block(3, moment)),
        json!({"spec": {"acquireTime": "1970-01-01T00:01:00.000001Z"}}),
    );
}

#[test]
fn broken_bodies_are_told() {
    for (bytes, expected) in [
        (b"{}".to_vec(), "four bytes"),
        (envelope("v1", "Nothing", b""), "no encoding is known"),
        (envelope("v1", "Secret", &[0x0a, 0x7f]), "ends too early"),
        (envelope("v1", "Secret", &[0x0b]), "wire type"),
        (envelope("v1", "Secret", &[0xff; 20]), "too long"),
    ] {
        let error = decode(&bytes).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn every_builtin_object_has_an_encoding_with_the_fields_of_its_type() {
    for resource in
        Registry::builtin().resources().filter(|resource| resource.group != "apiextensions.k8s.io")
    {
        let name = table::root(&resource.api_version(), &resource.kind);
        let message = table::message(name.unwrap_or_else(|| panic!("{} has none", resource.kind))).unwrap();
        let ty = resource.schema.ty();
        let Shape::Struct(declared) = &ty.shape else { panic!("{} is no object", resource.kind) };
        for field in message.fields() {
            let Place::At(name) = &field.place else { continue };
            assert!(declared.fields.contains_key(name), "{}.{name}", resource.kind);
        }
    }
    for name in table::names() {
        for field in table::message(name).unwrap().fields() {
            let mut kind = &field.kind;
            while let Kind::List(inner) | Kind::Map(inner) | Kind::Wrapped(inner) = kind {
                kind = inner;
            }
            if let Kind::Message(inner) = kind {
                assert!(table::message(inner).is_some(), "{inner} in {name}");
            }
        }
    }
}
