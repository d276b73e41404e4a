//! The field table of the Bot API and the check of a call against it.
//!
//! The table is read from `data/telegram-bot-api.json`, so that a parameter that does not exist cannot be sent with
//! impunity: the public server ignores those, which hides the bug. Refuses to know what a method does.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::params::{Raw, RawParams, Upload};

/// The table of Bot API 10.1, parsed once per process.
pub static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let file: File =
        serde_json::from_str(include_str!("../../data/telegram-bot-api.json")).expect("the field table is valid");
    let shapes =
        |entries: HashMap<String, FileShape>| entries.into_iter().map(|(name, shape)| (name, shape.into())).collect();
    Schema { methods: shapes(file.methods), types: shapes(file.types) }
});

/// Why a call is refused. Each of these is a bug of the client, so it is recorded as a violation too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Illegal {
    /// `description` of the 400 answer.
    pub description: String,
    /// Which rule was broken, for the developer.
    pub violation: String,
}

/// A call whose parameters exist and have the right types.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// Values by name, integers and objects as JSON whatever the body kind was.
    pub values: Map<String, Value>,
    /// Uploaded files by multipart field name.
    pub files: BTreeMap<String, Upload>,
}

impl Params {
    /// An integer parameter.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.values.get(name).and_then(Value::as_i64)
    }

    /// A text parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    /// A boolean parameter, false when absent.
    pub fn flag(&self, name: &str) -> bool {
        self.values.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}

/// Methods and types by name.
pub struct Schema {
    methods: HashMap<String, Shape>,
    types: HashMap<String, Shape>,
}

struct Shape {
    fields: HashMap<String, Field>,
    subtypes: Vec<Kind>,
}

struct Field {
    kinds: Vec<Kind>,
    required: bool,
    /// The only legal text: what tells apart the variants of a type.
    constant: Option<String>,
}

enum Kind {
    Integer,
    Float,
    Text,
    Boolean,
    File,
    Object(String),
    List(Box<Kind>),
}

#[derive(Deserialize)]
struct File {
    methods: HashMap<String, FileShape>,
    types: HashMap<String, FileShape>,
}

#[derive(Deserialize)]
struct FileShape {
    #[serde(default)]
    fields: Vec<FileField>,
    #[serde(default)]
    subtypes: Vec<String>,
}

#[derive(Deserialize)]
struct FileField {
    name: String,
    types: Vec<String>,
    required: bool,
    #[serde(default)]
    description: String,
}

impl From<FileShape> for Shape {
    fn from(shape: FileShape) -> Self {
        let field = |field: FileField| {
            let kinds = field.types.iter().map(|name| kind(name)).collect();
            (field.name, Field { kinds, required: field.required, constant: constant(&field.description) })
        };
        Self {
            fields: shape.fields.into_iter().map(field).collect(),
            subtypes: shape.subtypes.iter().map(|name| kind(name)).collect(),
        }
    }
}

/// The value in descriptions like `Scope type, must be default` and `Type of the reaction, always "emoji"`.
fn constant(description: &str) -> Option<String> {
    let quoted =
        description.split_once(", always \"").and_then(|(_, rest)| rest.split_once('"')).map(|(value, _)| value);
    let plain =
        description.split_once(" type, must be ").or_else(|| description.split_once("Type of the media, must be "));
    let value = quoted.or_else(|| plain.and_then(|(_, rest)| rest.split(' ').next()))?;
    Some(value.trim_end_matches('.').to_owned())
}

fn kind(name: &str) -> Kind {
    match name {
        "Integer" => Kind::Integer,
        "Float" => Kind::Float,
        "String" => Kind::Text,
        "Boolean" => Kind::Boolean,
        "InputFile" => Kind::File,
        other => match other.strip_prefix("Array of ") {
            Some(inner) => Kind::List(Box::new(kind(inner))),
            None => Kind::Object(other.to_owned()),
        },
    }
}

impl Schema {
    /// Whether the table has this method; Blufio may call no other.
    pub fn knows(&self, method: &str) -> bool {
        self.methods.contains_key(method)
    }

    /// Whether `name` is a kind of update of this API version.
    pub fn is_update_kind(&self, name: &str) -> bool {
        self.types.get("Update").is_some_and(|shape| shape.fields.contains_key(name))
    }

    /// Checks an object of a type of this API version, for example an `Update`. The error names the field. Types whose
    /// fields the table does not have are taken as they are.
    pub fn check_object(&self, name: &str, value: &Value) -> Result<(), String> {
        self.object_conforms(name, value)
    }

    /// Checks the parameters of a known method.
    pub fn check(&self, method: &str, raw: RawParams) -> Result<Params, Illegal> {
        let shape = &self.methods[method];
        let mut params = Params::default();
        let mut attached = Vec::new();
        for (name, raw) in raw {
            match (shape.fields.get(&name), raw) {
                (None, Raw::File(upload)) => {
                    attached.push(name.clone());
                    params.files.insert(name, upload);
                }
                (None, _) => return Err(unknown(method, &name)),
                (Some(field), Raw::File(upload)) => {
                    if !field.kinds.iter().any(|kind| matches!(kind, Kind::File)) {
                        return Err(wrong(method, &name, "is not a file"));
                    }
                    params.values.insert(name.clone(), Value::String(format!("attach://{name}")));
                    params.files.insert(name, upload);
                }
                (Some(field), raw) => {
                    let value = self.coerce_any(&field.kinds, raw).map_err(|why| wrong(method, &name, &why))?;
                    params.values.insert(name, value);
                }
            }
        }
        for (name, field) in &shape.fields {
            if field.required && !params.values.contains_key(name) {
                return Err(missing(method, name));
            }
        }
        let text = |name: &String| params.values.values().any(|value| mentions(value, &format!("attach://{name}")));
        match attached.iter().find(|name| !text(name)) {
            Some(name) => Err(unknown(method, name)),
            None => Ok(params),
        }
    }

    fn coerce_any(&self, kinds: &[Kind], raw: Raw) -> Result<Value, String> {
        let mut why = String::new();
        for kind in kinds {
            match self.coerce(kind, &raw) {
                Ok(value) => return Ok(value),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// A top-level value. Text stands for every type here, as in forms; the public server accepts that in JSON too.
    fn coerce(&self, kind: &Kind, raw: &Raw) -> Result<Value, String> {
        let text = match raw {
            Raw::Text(text) | Raw::Json(Value::String(text)) => text,
            Raw::Json(value) => return self.conforms(kind, value).map(|()| value.clone()),
            Raw::File(_) => return Err("is a file".to_owned()),
        };
        match kind {
            Kind::Text => Ok(Value::String(text.clone())),
            Kind::File if text.starts_with("attach://") => Ok(Value::String(text.clone())),
            Kind::File => Err("must be an uploaded file".to_owned()),
            Kind::Integer => text.parse::<i64>().map(Value::from).map_err(|_| "must be an integer".to_owned()),
            Kind::Float => text.parse::<f64>().map(Value::from).map_err(|_| "must be a number".to_owned()),
            Kind::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Ok(Value::Bool(true)),
                "false" | "no" | "0" => Ok(Value::Bool(false)),
                _ => Err("must be a boolean".to_owned()),
            },
            Kind::Object(_) | Kind::List(_) => {
                let value = serde_json::from_str(text).map_err(|error| format!("must be JSON: {error}"))?;
                self.conforms(kind, &value).map(|()| value)
            }
        }
    }

    /// A value inside JSON, where types are exact and unknown fields are refused.
    fn conforms(&self, kind: &Kind, value: &Value) -> Result<(), String> {
        let fits = match kind {
            Kind::Integer => value.as_i64().is_some(),
            Kind::Float => value.is_number(),
            Kind::Text => value.is_string(),
            Kind::Boolean => value.is_boolean(),
            Kind::File => return Err("must be an uploaded file".to_owned()),
            Kind::List(inner) => {
                let Value::Array(items) = value else { return Err("must be an array".to_owned()) };
                return items.iter().try_for_each(|item| self.conforms(inner, item));
            }
            Kind::Object(name) => return self.object_conforms(name, value),
        };
        if fits { Ok(()) } else { Err(format!("has the wrong type: {value}")) }
    }

    fn object_conforms(&self, name: &str, value: &Value) -> Result<(), String> {
        let Some(shape) = self.types.get(name) else {
            return if value.is_object() { Ok(()) } else { Err(format!("must be a {name}")) };
        };
        if !shape.subtypes.is_empty() {
            let fits = shape.subtypes.iter().any(|kind| self.conforms(kind, value).is_ok());
            return if fits { Ok(()) } else { Err(format!("is no legal {name}: {value}")) };
        }
        let Value::Object(object) = value else { return Err(format!("must be a {name}")) };
        for (key, inner) in object {
            let field = shape.fields.get(key).ok_or_else(|| format!("has the unknown field {name}.{key}"))?;
            if field.constant.as_deref().is_some_and(|constant| inner != constant) {
                return Err(format!("has another value in {name}.{key}: {inner}"));
            }
            let mut tried = field.kinds.iter().map(|kind| self.conforms(kind, inner));
            if !tried.any(|result| result.is_ok()) {
                return Err(format!("has the wrong type in {name}.{key}: {inner}"));
            }
        }
        match shape.fields.iter().find(|(key, field)| field.required && !object.contains_key(*key)) {
            Some((key, _)) => Err(format!("lacks the field {name}.{key}")),
            None => Ok(()),
        }
    }
}

fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|item| mentions(item, text)),
        Value::Object(object) => object.values().any(|item| mentions(item, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn unknown(method: &str, name: &str) -> Illegal {
    let violation = format!("{method}: unknown parameter \"{name}\"");
    Illegal { description: format!("Bad Request: unknown parameter \"{name}\""), violation }
}

fn wrong(method: &str, name: &str, why: &str) -> Illegal {
    let violation = format!("{method}: parameter \"{name}\" {why}");
    Illegal { description: format!("Bad Request: parameter \"{name}\" {why}"), violation }
}

fn missing(method: &str, name: &str) -> Illegal {
    let description = match name {
        "chat_id" => "Bad Request: chat_id is empty".to_owned(),
        "text" => "Bad Request: message text is empty".to_owned(),
        "message_id" => "Bad Request: message identifier is not specified".to_owned(),
        _ => format!("Bad Request: parameter \"{name}\" is required"),
    };
    Illegal { description, violation: format!("{method}: required parameter \"{name}\" is missing") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(method: &str, value: Value) -> Result<Params, Illegal> {
        let Value::Object(object) = value else { panic!("not an object") };
        SCHEMA.check(method, object.into_iter().map(|(name, value)| (name, Raw::Json(value))).collect())
    }

    #[test]
    fn legal_calls_pass_and_are_normalised() {
        let params = check(
            "sendMessage",
            json!({"chat_id": "7", "text": "x", "reply_parameters": {"message_id": 1, "allow_sending_without_reply": true},
                "reply_markup": "{\"inline_keyboard\":[[{\"text\":\"ok\",\"callback_data\":\"b\"}]]}"}),
        )
        .unwrap();
        assert_eq!(params.integer("chat_id"), Some(7));
        assert_eq!(params.values["reply_markup"]["inline_keyboard"][0][0]["text"], "ok");
        check(
            "setMessageReaction",
            json!({"chat_id": 1, "message_id": 2, "reaction": [{"type": "emoji", "emoji": "👍"}]}),
        )
        .unwrap();
        check("setMyCommands", json!({"commands": [], "scope": {"type": "all_private_chats"}})).unwrap();
        check("getMe", json!({})).unwrap();
    }

    #[test]
    fn illegal_calls_name_the_parameter() {
        let violation = |method: &str, value: Value| check(method, value).unwrap_err().violation;
        assert_eq!(violation("getMe", json!({"a": 1})), "getMe: unknown parameter \"a\"");
        assert_eq!(
            violation("sendMessage", json!({"chat_id": 1})),
            "sendMessage: required parameter \"text\" is missing"
        );
        assert!(violation("sendMessage", json!({"chat_id": 1, "text": 5})).contains("\"text\" has the wrong type"));
        assert!(violation("sendMessage", json!({"chat_id": 1, "text": null})).contains("\"text\" has the wrong type"));
        assert!(violation("getUpdates", json!({"timeout": "soon"})).contains("\"timeout\" must be an integer"));
        assert!(violation("getUpdates", json!({"allowed_updates": [1]})).contains("wrong type"));
        let reply = json!({"chat_id": 1, "text": "x", "reply_parameters": {"message_id": 1, "no": 2}});
        assert!(violation("sendMessage", reply).contains("unknown field ReplyParameters.no"));
        let reaction = json!({"chat_id": 1, "message_id": 2, "reaction": [{"type": "emoji"}]});
        assert!(violation("setMessageReaction", reaction).contains("ReactionType"));
    }

    #[test]
    fn a_file_must_be_wanted_by_name_or_attachment() {
        let file = || Raw::File(Upload { file_name: "a".into(), media_type: String::new(), bytes: "x".into() });
        let call = |field: &str, document: &str| {
            let mut raw = RawParams::from([("chat_id".to_owned(), Raw::Text("1".into())), (field.to_owned(), file())]);
            if field != "document" {
                raw.insert("document".to_owned(), Raw::Text(document.into()));
            }
            SCHEMA.check("sendDocument", raw)
        };
        assert_eq!(call("document", "").unwrap().text("document"), Some("attach://document"));
        assert_eq!(call("part", "attach://part").unwrap().files.len(), 1);
        assert_eq!(call("part", "id").unwrap_err().violation, "sendDocument: unknown parameter \"part\"");
        assert!(SCHEMA.check("sendMessage", RawParams::from([("text".to_owned(), file())])).is_err());
    }
}
