//! Trace ids, as W3C Trace Context writes them. An execution's is derived from its uid: the same in every process that works on it,
//! before and after a restart.

use uuid::Uuid;

/// The trace of the execution with this uid: 32 hex digits.
pub fn of(uid: &str) -> String {
    let id = Uuid::parse_str(uid).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, uid.as_bytes()));
    id.simple().to_string()
}

/// The value of a `traceparent` header for a new span of `trace`.
pub fn parent(trace: &str) -> String {
    let span = Uuid::new_v4().simple().to_string();
    format!("00-{trace}-{}-01", &span[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_has_one_trace_in_every_process() {
        let uid = "3f1c9a52-77aa-4c1f-9c55-6d1f7a1b2c3d";
        assert_eq!(of(uid), "3f1c9a5277aa4c1f9c556d1f7a1b2c3d");
        assert_eq!((of("not a uuid").len(), of("not a uuid")), (32, of("not a uuid")));
        let parent = parent(&of(uid));
        assert!(
            parent.starts_with("00-3f1c9a5277aa4c1f9c556d1f7a1b2c3d-") && parent.ends_with("-01"),
            "{parent}"
        );
        assert_eq!(parent.len(), 55);
    }
}
