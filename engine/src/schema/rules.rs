//! Rules on values that a CustomResourceDefinition may state: bounds, patterns, choices, expressions.

use indexmap::IndexMap;
use regex::Regex;
use serde_json::Value;

use super::{FieldError, at_field, at_index, format};
use crate::expression::Expression;

/// The rules of one schema node. Inside `allOf`, `anyOf`, `oneOf` and `not`, nodes have rules for what they hold, too.
#[derive(Debug, Default)]
pub struct Rules {
    /// JSON type, for texts and for nodes inside logic.
    pub json_type: String,
    int_or_string: bool,
    nullable: bool,
    required: Vec<String>,
    properties: IndexMap<String, Rules>,
    items: Option<Box<Rules>>,
    choices: Option<Vec<Value>>,
    pattern: Option<(String, Regex)>,
    format: Option<String>,
    minimum: Option<(f64, bool)>,
    maximum: Option<(f64, bool)>,
    multiple_of: Option<f64>,
    length: (Option<usize>, Option<usize>),
    item_count: (Option<usize>, Option<usize>),
    property_count: (Option<usize>, Option<usize>),
    unique_items: bool,
    all_of: Vec<Rules>,
    any_of: Vec<Rules>,
    one_of: Vec<Rules>,
    not: Option<Box<Rules>>,
    /// `x-kubernetes-validations`.
    pub expressions: Vec<Rule>,
}

/// One of `x-kubernetes-validations`.
#[derive(Debug)]
pub struct Rule {
    expression: Expression,
    /// Whether the rule is about a change, and so only holds where there was a value before.
    transition: bool,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
    field_path: String,
}

/// The rules of a schema node; with `logic`, also those of what it holds. Faults are added to `faults` with their path.
pub fn parse(node: &Value, logic: bool, path: &str, faults: &mut Vec<String>) -> Rules {
    let number = |key: &str| node[key].as_f64();
    let count = |key: &str| node[key].as_u64().and_then(|count| usize::try_from(count).ok());
    let list = |key: &str, faults: &mut Vec<String>| {
        let nodes = node[key].as_array().into_iter().flatten();
        nodes.map(|node| parse(node, true, &format!("{path}.{key}"), faults)).collect()
    };
    let mut rules = Rules {
        json_type: node["type"].as_str().unwrap_or_default().to_owned(),
        int_or_string: node["x-kubernetes-int-or-string"] == true,
        nullable: node["nullable"] == true,
        choices: node["enum"].as_array().cloned(),
        format: node["format"].as_str().map(String::from),
        minimum: number("minimum").map(|bound| (bound, node["exclusiveMinimum"] == true)),
        maximum: number("maximum").map(|bound| (bound, node["exclusiveMaximum"] == true)),
        multiple_of: number("multipleOf"),
        length: (count("minLength"), count("maxLength")),
        item_count: (count("minItems"), count("maxItems")),
        property_count: (count("minProperties"), count("maxProperties")),
        unique_items: node["uniqueItems"] == true,
        all_of: list("allOf", faults),
        any_of: list("anyOf", faults),
        one_of: list("oneOf", faults),
        not: node.get("not").map(|node| Box::new(parse(node, true, &format!("{path}.not"), faults))),
        ..Rules::default()
    };
    if let Some(pattern) = node["pattern"].as_str() {
        match Regex::new(pattern) {
            Ok(regex) => rules.pattern = Some((pattern.to_owned(), regex)),
            Err(error) => faults.push(format!("{path}.pattern: Invalid value: {pattern:?}: must be a valid regular expression, but isn't: {error}")),
        }
    }
    let validations = node["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate();
    for (index, rule) in validations {
        let path = format!("{path}.x-kubernetes-validations[{index}].rule");
        match parse_rule(rule) {
            Ok(rule) => rules.expressions.push(rule),
            Err(fault) => {
                faults.push(format!("{path}: Invalid value: {}: compilation failed: {fault}", rule["rule"]))
            }
        }
    }
    if logic {
        let texts = node["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        rules.required = texts.map(String::from).collect();
        let properties = node["properties"].as_object().into_iter().flatten();
        rules.properties = properties
            .map(|(name, node)| (name.clone(), parse(node, true, &format!("{path}.{name}"), faults)))
            .collect();
        rules.items =
            node.get("items").map(|node| Box::new(parse(node, true, &format!("{path}.items"), faults)));
    }
    rules
}

fn parse_rule(rule: &Value) -> Result<Rule, String> {
    let text = |key: &str| rule[key].as_str().unwrap_or_default();
    let expression = Expression::compile(text("rule"))?;
    let message_expression = match text("messageExpression") {
        "" => None,
        source => Some(Expression::compile(source)?),
    };
    let message = match text("message") {
        "" => format!("failed rule: {}", text("rule").trim()),
        message => message.to_owned(),
    };
    Ok(Rule {
        transition: expression.reads("oldSelf") && rule["optionalOldSelf"] != true,
        expression,
        message,
        message_expression,
        reason: text("reason").to_owned(),
        field_path: text("fieldPath").to_owned(),
    })
}

/// Whether `value` is of a JSON type; whole numbers are integers however they are written.
pub fn is_of_type(json_type: &str, value: &Value) -> bool {
    match json_type {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => value.is_number(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => true,
    }
}

/// The JSON type of a value, as messages name it.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Rules {
    /// Adds what `value` breaks. Expressions are not looked at.
    pub fn check(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if value.is_null() && self.nullable {
            return;
        }
        if let Some(choices) = &self.choices
            && !choices.contains(value)
        {
            let texts: Vec<String> = choices
                .iter()
                .map(|choice| choice.as_str().map_or(choice.to_string(), String::from))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            errors.push(FieldError::not_supported(path, value, &texts));
        }
        match value {
            Value::String(text) => self.check_text(value, text, path, errors),
            Value::Number(number) => {
                self.check_number(value, number.as_f64().unwrap_or(f64::NAN), path, errors)
            }
            Value::Array(items) => self.check_items(value, items, path, errors),
            Value::Object(fields) => {
                if self.property_count.0.is_some_and(|least| fields.len() < least) {
                    let least = self.property_count.0.unwrap_or_default();
                    errors.push(FieldError::invalid(
                        path,
                        value,
                        format_args!("{path} in body should have at least {least} properties"),
                    ));
                }
                if let Some(most) = self.property_count.1.filter(|most| fields.len() > *most) {
                    errors.push(too_many(path, fields.len(), most));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        self.check_logic(value, path, errors);
    }

    fn check_text(&self, value: &Value, text: &str, path: &str, errors: &mut Vec<FieldError>) {
        let characters = text.chars().count();
        if let Some(most) = self.length.1.filter(|most| characters > *most) {
            errors.push(FieldError::too_long(path, most));
        }
        let mut wrong = |detail: String| errors.push(FieldError::invalid(path, value, detail));
        if let Some(least) = self.length.0.filter(|least| characters < *least) {
            wrong(format!("{path} in body should be at least {least} chars long"));
        }
        if let Some((pattern, regex)) = &self.pattern
            && !regex.is_match(text)
        {
            wrong(format!("{path} in body should match '{pattern}'"));
        }
        if let Some(format) = &self.format
            && !format::is(format, text)
        {
            wrong(format!("{path} in body must be of type {format}: {text:?}"));
        }
    }

    fn check_number(&self, value: &Value, number: f64, path: &str, errors: &mut Vec<FieldError>) {
        let mut wrong = |detail: String| {
            errors.push(FieldError::invalid(path, value, format!("{path} in body should be {detail}")))
        };
        match self.minimum {
            Some((bound, true)) if number <= bound => wrong(format!("greater than {bound}")),
            Some((bound, false)) if number < bound => wrong(format!("greater than or equal to {bound}")),
            _ => {}
        }
        match self.maximum {
            Some((bound, true)) if number >= bound => wrong(format!("less than {bound}")),
            Some((bound, false)) if number > bound => wrong(format!("less than or equal to {bound}")),
            _ => {}
        }
        if let Some(factor) =
            self.multiple_of.filter(|factor| *factor != 0.0 && (number / factor).fract() != 0.0)
        {
            wrong(format!("a multiple of {factor}"));
        }
        let fits = match self.format.as_deref() {
            Some("int32") => number.abs() <= f64::from(i32::MAX) + 1.0,
            _ => true,
        };
        if !fits {
            wrong("of type int32".to_owned());
        }
    }

    fn check_items(&self, value: &Value, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
        if let Some(least) = self.item_count.0.filter(|least| items.len() < *least) {
            errors.push(FieldError::invalid(
                path,
                value,
                format_args!("{path} in body should have at least {least} items"),
            ));
        }
        if let Some(most) = self.item_count.1.filter(|most| items.len() > *most) {
            errors.push(too_many(path, items.len(), most));
        }
        let repeated =
            |(index, item): (usize, &Value)| items.iter().take(index).any(|earlier| earlier == item);
        if self.unique_items && items.iter().enumerate().any(repeated) {
            errors.push(FieldError::invalid(
                path,
                value,
                format_args!("{path} in body shouldn't contain duplicates"),
            ));
        }
    }

    fn check_logic(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        for rules in &self.all_of {
            rules.check_deep(value, path, errors);
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(|rules| rules.accepts(value)) {
            errors.push(FieldError::invalid(
                path,
                &Value::Null,
                format_args!("{path:?} must validate at least one schema (anyOf)"),
            ));
        }
        let matching = self.one_of.iter().filter(|rules| rules.accepts(value)).count();
        if !self.one_of.is_empty() && matching != 1 {
            let found = if matching == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {matching} valid alternatives")
            };
            let detail = format!("{path:?} must validate one and only one schema (oneOf). {found}");
            errors.push(FieldError::invalid(path, &Value::Null, detail));
        }
        if self.not.as_ref().is_some_and(|rules| rules.accepts(value)) {
            errors.push(FieldError::invalid(
                path,
                &Value::Null,
                format_args!("{path:?} must not validate the schema (not)"),
            ));
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        let mut errors = Vec::new();
        self.check_deep(value, "", &mut errors);
        errors.is_empty()
    }

    /// [`Rules::check`] of a node inside logic, with type and contents.
    fn check_deep(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let fits = is_of_type(&self.json_type, value)
            || (self.int_or_string && (is_of_type("integer", value) || value.is_string()))
            || (self.nullable && value.is_null());
        if !fits {
            errors.push(wrong_type(path, value, &self.json_type));
            return;
        }
        self.check(value, path, errors);
        if let Value::Object(fields) = value {
            for name in self.required.iter().filter(|name| !fields.contains_key(*name)) {
                errors.push(FieldError::required(at_field(path, name), ""));
            }
            for (name, rules) in &self.properties {
                if let Some(value) = fields.get(name) {
                    rules.check_deep(value, &at_field(path, name), errors);
                }
            }
        }
        if let (Some(rules), Value::Array(items)) = (&self.items, value) {
            for (index, item) in items.iter().enumerate() {
                rules.check_deep(item, &at_index(path, index), errors);
            }
        }
    }

    /// Adds the expressions `value` breaks; `old` is what was in its place.
    pub fn evaluate(&self, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
        for rule in &self.expressions {
            if rule.transition && old.is_none() {
                continue;
            }
            let variables = [("self", value), ("oldSelf", old.unwrap_or(&Value::Null))];
            let detail = match rule.expression.holds(&variables) {
                Ok(true) => continue,
                Ok(false) => {
                    let told =
                        rule.message_expression.as_ref().and_then(|message| message.text(&variables).ok());
                    told.unwrap_or_else(|| rule.message.clone())
                }
                Err(fault) => format!("rule evaluation error: {}: {fault}", rule.expression.source()),
            };
            let path = format!("{path}{}", rule.field_path);
            let path = path.trim_start_matches('.');
            errors.push(match rule.reason.as_str() {
                "FieldValueRequired" => FieldError::required(path, &detail),
                "FieldValueForbidden" => FieldError::forbidden(path, detail),
                "FieldValueDuplicate" => FieldError::duplicate(path, value),
                _ => FieldError::invalid(path, &Value::String(type_of(value).to_owned()), detail),
            });
        }
    }
}

/// A value of another JSON type than declared.
pub fn wrong_type(path: &str, value: &Value, declared: &str) -> FieldError {
    let found = type_of(value);
    let shown = if path.is_empty() { "<root>" } else { path };
    FieldError::type_invalid(
        path,
        &Value::String(found.to_owned()),
        format_args!("{shown} in body must be of type {declared}: {found:?}"),
    )
}

fn too_many(path: &str, found: usize, most: usize) -> FieldError {
    FieldError {
        path: path.to_owned(),
        reason: "FieldValueTooMany",
        message: format!("Too many: {found}: must have at most {most} items"),
        bad_value: Value::Null,
    }
}
