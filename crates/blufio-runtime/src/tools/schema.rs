//! Checks a call's arguments against its tool's JSON Schema, in words that the model can act on.
//!
//! It knows the words that our tools use and no others: `type` (object, array, string, integer, boolean), `properties`,
//! `required`, `additionalProperties: false`, `items`, `maxItems`, `enum`, `minimum`, `maximum`, `maxLength`. A type it does not know is refused, so a tool
//! with a richer schema cannot slip through unchecked.

use super::similar;
use serde_json::{Map, Value};

/// Problems told at once; the rest shows itself after these are mended.
const PROBLEMS_MAX: usize = 5;
/// Bytes of a wrong value that are repeated in a message.
const ECHO_BYTES_MAX: usize = 60;

/// Whether `input` fits `schema`.
///
/// # Errors
/// A sentence with at most five problems, each naming its argument.
pub fn check(schema: &Value, input: &Value) -> Result<(), String> {
    let mut problems = Vec::new();
    value("", schema, input, &mut problems);
    problems.truncate(PROBLEMS_MAX);
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn value(place: &str, schema: &Value, input: &Value, problems: &mut Vec<String>) {
    let what = named(place);
    if let Some(wanted) = schema.get("type").and_then(Value::as_str) {
        let fits = match wanted {
            "object" => input.is_object(),
            "array" => input.is_array(),
            "string" => input.is_string(),
            "integer" => input.is_i64() || input.is_u64(),
            "boolean" => input.is_boolean(),
            other => return problems.push(format!("{what} cannot be checked: its type is `{other}`")),
        };
        if !fits {
            return problems.push(format!("{what} must be {}, not {}", with_article(wanted), kind(input)));
        }
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(input)
    {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        problems.push(format!("{what} must be one of {}, not {}", allowed.join(", "), echo(input)));
    }
    number(&what, schema, input, problems);
    if let (Some(max), Some(text)) = (schema.get("maxLength").and_then(Value::as_u64), input.as_str()) {
        let length = text.chars().count();
        if u64::try_from(length).unwrap_or(u64::MAX) > max {
            problems.push(format!("{what} has {length} characters; at most {max} are allowed"));
        }
    }
    if let Some(input) = input.as_object() {
        object(place, schema, input, problems);
    }
    if let Some(input) = input.as_array().filter(|_| schema.get("type").is_some()) {
        array(place, schema, input, problems);
    }
}

fn array(place: &str, schema: &Value, input: &[Value], problems: &mut Vec<String>) {
    let what = named(place);
    let max = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
    if u64::try_from(input.len()).unwrap_or(u64::MAX) > max {
        return problems.push(format!("{what} has {} items; at most {max} are allowed", input.len()));
    }
    let Some(items) = schema.get("items") else {
        return problems.push(format!("{what} cannot be checked: nothing is known of its items"));
    };
    for (number, item) in input.iter().enumerate() {
        value(&format!("{place}[{number}]"), items, item, problems);
    }
}

fn number(what: &str, schema: &Value, input: &Value, problems: &mut Vec<String>) {
    // Every integer of JSON as serde_json keeps it fits an i128, so nothing is rounded.
    let whole = |value: &Value| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    let Some(number) = whole(input) else { return };
    let bound = |word: &str| schema.get(word).and_then(whole);
    if bound("minimum").is_some_and(|minimum| number < minimum)
        || bound("maximum").is_some_and(|maximum| number > maximum)
    {
        let range = match (bound("minimum"), bound("maximum")) {
            (Some(minimum), Some(maximum)) => format!("from {minimum} to {maximum}"),
            (Some(minimum), None) => format!("{minimum} or more"),
            (None, Some(maximum)) => format!("{maximum} or less"),
            (None, None) => String::new(),
        };
        problems.push(format!("{what} must be {range}, not {number}"));
    }
}

fn object(place: &str, schema: &Value, input: &Map<String, Value>, problems: &mut Vec<String>) {
    let within = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !input.contains_key(name) {
            problems.push(format!("`{}` is missing", within(name)));
        }
    }
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    for (name, given) in input {
        match properties.get(name) {
            Some(schema) => value(&within(name), schema, given, problems),
            None if closed => problems.push(unknown(&within(name), name, properties)),
            None => {}
        }
    }
}

fn unknown(place: &str, name: &str, properties: &Map<String, Value>) -> String {
    let place = echo_text(place);
    if properties.is_empty() {
        return format!("there is no argument `{place}`: none are taken");
    }
    match similar::nearest(name, properties.keys().map(String::as_str)).first() {
        Some(near) => format!("there is no argument `{place}`; is `{near}` meant?"),
        None => {
            let names: Vec<String> = properties.keys().map(|name| format!("`{name}`")).collect();
            format!("there is no argument `{place}`; there are {}", names.join(", "))
        }
    }
}

fn named(place: &str) -> String {
    if place.is_empty() { "the input".to_owned() } else { format!("`{place}`") }
}

fn with_article(wanted: &str) -> &'static str {
    match wanted {
        "object" => "an object",
        "array" => "a list",
        "integer" => "a whole number",
        "boolean" => "true or false",
        _ => "a string",
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn echo(value: &Value) -> String {
    echo_text(&value.to_string())
}

fn echo_text(text: &str) -> String {
    if text.len() <= ECHO_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", text.get(..text.floor_char_boundary(ECHO_BYTES_MAX)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "maxLength": 5},
                "depth": {"type": "integer", "minimum": 1, "maximum": 8},
                "skip": {"type": "integer", "minimum": 0},
                "all": {"type": "boolean"},
                "mode": {"type": "string", "enum": ["fast", "slow"]},
                "inner": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
            },
            "required": ["path"],
            "additionalProperties": false
        })
    }

    fn problem(input: Value) -> String {
        check(&schema(), &input).unwrap_err()
    }

    #[test]
    fn what_fits_passes() {
        for input in [
            json!({"path": "a"}),
            json!({"path": "äöüßé", "depth": 8, "skip": u64::MAX, "all": false, "mode": "slow", "inner": {"a": "", "b": 1}}),
        ] {
            assert_eq!(check(&schema(), &input), Ok(()), "{input}");
        }
        assert_eq!(check(&json!({}), &json!([1])), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_told_in_words() {
        for (input, expect) in [
            (json!([]), "the input must be an object, not a list"),
            (json!({}), "`path` is missing"),
            (json!({"path": 1}), "`path` must be a string, not a number"),
            (json!({"path": "äöüßéx"}), "`path` has 6 characters; at most 5 are allowed"),
            (json!({"path": "a", "depth": 9}), "`depth` must be from 1 to 8, not 9"),
            (json!({"path": "a", "depth": 1.5}), "`depth` must be a whole number, not a fraction"),
            (json!({"path": "a", "skip": -1}), "`skip` must be 0 or more, not -1"),
            (json!({"path": "a", "all": "yes"}), "`all` must be true or false, not a string"),
            (json!({"path": "a", "mode": "mid"}), "`mode` must be one of \"fast\", \"slow\", not \"mid\""),
            (json!({"path": "a", "inner": {}}), "`inner.a` is missing"),
            (json!({"path": "a", "inner": {"a": null}}), "`inner.a` must be a string, not null"),
            (json!({"path": "a", "dept": 1}), "there is no argument `dept`; is `depth` meant?"),
            (json!({"pth": "a"}), "`path` is missing; there is no argument `pth`; is `path` meant?"),
        ] {
            assert_eq!(problem(input.clone()), expect, "{input}");
        }
        let richer = json!({"type": "number"});
        assert_eq!(check(&richer, &json!(1.5)), Err("the input cannot be checked: its type is `number`".to_owned()));
    }

    #[test]
    fn lists_are_checked_item_by_item() {
        let words = json!({"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 2}});
        let list = json!({"type": "object", "properties": {"words": words}});
        let problem = |words: Value| check(&list, &json!({ "words": words })).err().unwrap_or_default();
        assert_eq!(problem(json!(["a", "bc", ""])), "");
        assert_eq!(problem(json!("a")), "`words` must be a list, not a string");
        assert_eq!(problem(json!(["a", 1])), "`words[1]` must be a string, not a number");
        assert_eq!(problem(json!(["abc"])), "`words[0]` has 3 characters; at most 2 are allowed");
        assert_eq!(problem(json!(["a", "b", "c", "d"])), "`words` has 4 items; at most 3 are allowed");
        let anything = check(&json!({"type": "array"}), &json!([])).err();
        assert_eq!(anything.as_deref(), Some("the input cannot be checked: nothing is known of its items"));
    }

    #[test]
    fn a_long_wrong_value_is_not_repeated_whole() {
        let long = "ä".repeat(10_000);
        assert!(problem(json!({"path": "a", "mode": long})).len() < 200);
        assert!(problem(json!({"path": "a", &long: 1})).len() < 300);
        let many: Map<String, Value> = (0..100).map(|n| (format!("q{n}"), Value::Null)).collect();
        assert_eq!(problem(Value::Object(many)).split("; there is no argument").count(), PROBLEMS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_integer_bounds_are_exact(number in any::<i64>(), low in any::<i64>(), high in any::<i64>()) {
            let schema = json!({"type": "integer", "minimum": low, "maximum": high});
            prop_assert_eq!(check(&schema, &json!(number)).is_ok(), low <= number && number <= high);
        }
    }
}
