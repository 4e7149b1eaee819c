//! Just enough of JSON Schema to hold an answer against the specification, strictly: what is not documented must not
//! be there.

use serde_json::{Map, Value};

/// Every way in which `value` is not what `schema` says.
pub fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = document.pointer(reference.trim_start_matches('#'));
        let target = target.unwrap_or_else(|| panic!("{reference} is not in the document"));
        return faults(document, target, value, at);
    }
    if let Some(any) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        let all: Vec<_> = any.iter().map(|one| faults(document, one, value, at)).collect();
        return if all.iter().any(Vec::is_empty) { Vec::new() } else { all.concat() };
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        return vec![format!("{at}: {value} is none of {allowed:?}")];
    }
    if !has_type(schema, value) {
        return vec![format!("{at}: {value} is not {}", schema["type"])];
    }
    match value {
        Value::Object(members) => object_faults(document, schema, members, at),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(n, item)| faults(document, &schema["items"], item, &format!("{at}/{n}"))).collect()
        }
        _ => Vec::new(),
    }
}

fn object_faults(document: &Value, schema: &Value, members: &Map<String, Value>, at: &str) -> Vec<String> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let missing = required.iter().filter_map(Value::as_str).filter(|name| !members.contains_key(*name));
    let mut found: Vec<_> = missing.map(|name| format!("{at}/{name} is missing")).collect();
    for (name, value) in members {
        match properties.get(name) {
            Some(schema) => found.extend(faults(document, schema, value, &format!("{at}/{name}"))),
            None => found.push(format!("{at}/{name} is not documented")),
        }
    }
    found
}

fn has_type(schema: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    };
    match schema.get("type") {
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}
