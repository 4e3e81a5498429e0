//! CEL expressions: rules of custom resources and match conditions of webhooks.
//!
//! The standard functions and macros are there; Kubernetes' own libraries (`url`, `quantity`, `authorizer`, …) and cost
//! limits are not.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Program};
use serde_json::Value;

/// A compiled expression.
pub struct Expression {
    source: String,
    program: Program,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.source)
    }
}

impl Expression {
    /// Compiles; the error is the parser's.
    pub fn compile(source: &str) -> Result<Self, String> {
        let program = Program::compile(source).map_err(|error| error.to_string().trim().to_owned())?;
        Ok(Self { source: source.to_owned(), program })
    }

    /// The expression as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the expression reads the variable `name`.
    pub fn reads(&self, name: &str) -> bool {
        self.program.references().has_variable(name)
    }

    /// The result for these variables, which has to be a boolean.
    pub fn holds(&self, variables: &[(&str, &Value)]) -> Result<bool, String> {
        match self.evaluate(variables)? {
            cel::Value::Bool(holds) => Ok(holds),
            other => Err(format!("expression must evaluate to bool, not {}", other.type_of())),
        }
    }

    /// The result for these variables as a text.
    pub fn text(&self, variables: &[(&str, &Value)]) -> Result<String, String> {
        match self.evaluate(variables)? {
            cel::Value::String(text) => Ok(text.as_ref().clone()),
            other => Err(format!("expression must evaluate to string, not {}", other.type_of())),
        }
    }

    fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<cel::Value, String> {
        let mut context = Context::default();
        for (name, value) in variables {
            context.add_variable_from_value(*name, convert(value));
        }
        self.program.execute(&context).map_err(|error| error.to_string())
    }
}

/// JSON as CEL sees it: whole numbers are `int`, others `double`.
fn convert(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => cel::Value::Int(whole),
            (None, number) => cel::Value::Float(number.unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(convert).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, cel::Value> =
                fields.iter().map(|(key, value)| (Key::from(key.as_str()), convert(value))).collect();
            cel::Value::Map(Map { map: Arc::new(map) })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(source: &str, variables: &[(&str, &Value)]) -> Result<bool, String> {
        Expression::compile(source).unwrap().holds(variables)
    }

    #[test]
    fn expressions_compare_objects_and_fields() {
        let (old, new) = (json!({"a": 1, "b": ["x"]}), json!({"a": 2, "b": ["x"]}));
        let variables = [("self", &new), ("oldSelf", &old)];
        assert_eq!(holds("self == oldSelf", &variables), Ok(false));
        assert_eq!(holds("self.b == oldSelf.b && self.a > oldSelf.a", &variables), Ok(true));
        assert_eq!(holds("self.b.all(x, x.startsWith('x')) && size(self.b) == 1", &variables), Ok(true));
        assert_eq!(holds("!has(self.c) || self.c == 1", &variables), Ok(true));
    }

    #[test]
    fn a_condition_tells_which_update_touches_a_field() {
        let source = "has(object.status) && has(object.status.mark) \
            ? !(has(oldObject.status) && has(oldObject.status.mark)) || object.status.mark != oldObject.status.mark \
            : has(oldObject.status) && has(oldObject.status.mark)";
        let (plain, marked) = (json!({"status": {"phase": "x"}}), json!({"status": {"mark": {"by": "me"}}}));
        for (old, new, touched) in [
            (&plain, &plain, false),
            (&plain, &marked, true),
            (&marked, &marked, false),
            (&marked, &plain, true),
        ] {
            assert_eq!(holds(source, &[("object", new), ("oldObject", old)]), Ok(touched));
        }
    }

    #[test]
    fn faults_are_told() {
        assert!(Expression::compile("self ==").is_err());
        assert!(holds("self.missing == 1", &[("self", &json!({}))]).is_err());
        assert!(holds("1 + 1", &[]).unwrap_err().contains("bool"));
        assert!(Expression::compile("oldSelf == 1").unwrap().reads("oldSelf"));
    }
}
