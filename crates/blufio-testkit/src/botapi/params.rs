//! The parameters of one call, from the query, a JSON body, a form or a multipart upload.
//!
//! Refuses to know which parameters a method has; that is `schema.rs`.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::http::{Request, form_pairs};

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Name given by the client, empty when it gave none.
    pub file_name: String,
    /// Declared media type, empty when the client gave none.
    pub media_type: String,
    /// Content.
    pub bytes: Bytes,
}

/// A parameter before its type is known.
#[derive(Debug, Clone)]
pub enum Raw {
    /// From a query, a form or a multipart field.
    Text(String),
    /// From a JSON body.
    Json(Value),
    /// From a multipart field with a file name.
    File(Upload),
}

/// All parameters by name.
pub type RawParams = BTreeMap<String, Raw>;

/// Reads the query and the body. The error is a description for a 400.
pub fn read(request: &Request) -> Result<RawParams, String> {
    let mut params: RawParams =
        request.query.iter().map(|(name, value)| (name.clone(), Raw::Text(value.clone()))).collect();
    if request.body.is_empty() {
        return Ok(params);
    }
    let content_type = request.header("content-type").unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => match serde_json::from_slice(&request.body) {
            Ok(Value::Object(object)) => {
                params.extend(object.into_iter().map(|(name, value)| (name, Raw::Json(value))))
            }
            Ok(_) => return Err("Bad Request: can't parse JSON object".to_owned()),
            Err(error) => return Err(format!("Bad Request: can't parse JSON object: {error}")),
        },
        "application/x-www-form-urlencoded" => {
            params.extend(form_pairs(&request.body).into_iter().map(|(name, value)| (name, Raw::Text(value))));
        }
        "multipart/form-data" => {
            let boundary = content_type
                .split(';')
                .filter_map(|part| part.trim().strip_prefix("boundary="))
                .map(|boundary| boundary.trim_matches('"'))
                .next()
                .filter(|boundary| !boundary.is_empty())
                .ok_or("Bad Request: boundary is missing")?;
            for (name, raw) in multipart(&request.body, boundary).ok_or("Bad Request: multipart body is malformed")? {
                // A name that comes twice means that somebody's file name or content was taken for a field.
                if params.insert(name.clone(), raw).is_some() {
                    return Err(format!("Bad Request: the field \"{name}\" comes twice"));
                }
            }
        }
        other => return Err(format!("Bad Request: unsupported content type \"{other}\"")),
    }
    Ok(params)
}

fn multipart(body: &Bytes, boundary: &str) -> Option<Vec<(String, Raw)>> {
    let delimiter = format!("--{boundary}");
    let between = format!("\r\n{delimiter}");
    let mut rest = body.slice(find(body, delimiter.as_bytes())? + delimiter.len()..);
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        rest = rest.slice(rest.starts_with(b"\r\n").then_some(2)?..);
        let head_end = find(&rest, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
        rest = rest.slice(head_end + 4..);
        let length = find(&rest, between.as_bytes())?;
        fields.push(field(&head, rest.slice(..length))?);
        rest = rest.slice(length + between.len()..);
    }
    Some(fields)
}

fn field(head: &str, bytes: Bytes) -> Option<(String, Raw)> {
    let line = |name: &str| {
        head.split("\r\n")
            .find(|line| line.to_ascii_lowercase().starts_with(name))
            .map(|line| line[name.len()..].trim())
    };
    let disposition = line("content-disposition:")?;
    let mut attributes = attributes(disposition)?;
    let media_type = line("content-type:").unwrap_or_default().to_owned();
    let raw = match attributes.remove("filename") {
        Some(file_name) => Raw::File(Upload { file_name, media_type, bytes }),
        None => Raw::Text(String::from_utf8(bytes.to_vec()).ok()?),
    };
    Some((attributes.remove("name")?, raw))
}

/// The attributes of a `Content-Disposition`, of which each may be given once. In quotes, a backslash protects a quote
/// and a semicolon separates nothing (RFC 7578, section 4.2).
fn attributes(disposition: &str) -> Option<BTreeMap<String, String>> {
    let mut attributes = BTreeMap::new();
    let mut rest = disposition.split_once(';').map_or("", |(_, rest)| rest).trim_start();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let mut text = String::new();
        let end = match value.strip_prefix('"') {
            Some(quoted) => {
                let mut symbols = quoted.char_indices();
                loop {
                    match symbols.next()? {
                        (at, '"') => break at + 2,
                        (_, '\\') => text.push(symbols.next()?.1),
                        (_, symbol) => text.push(symbol),
                    }
                }
            }
            None => {
                let end = value.find(';').unwrap_or(value.len());
                text.push_str(value[..end].trim());
                end
            }
        };
        if attributes.insert(name.trim().to_ascii_lowercase(), text).is_some() {
            return None;
        }
        let after = value[end..].trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(';')?.trim_start() };
    }
    Some(attributes)
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    let first = *pattern.first()?;
    let mut from = 0;
    while let Some(step) = text.get(from..)?.iter().position(|&byte| byte == first) {
        if text[from + step..].starts_with(pattern) {
            return Some(from + step);
        }
        from += step + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(content_type: &str, body: &str) -> Result<RawParams, String> {
        read(&Request {
            method: "POST".to_owned(),
            path: String::new(),
            query: BTreeMap::from([("q".to_owned(), "1".to_owned())]),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: Bytes::copy_from_slice(body.as_bytes()),
            connection: 1,
        })
    }

    #[test]
    fn the_three_body_kinds_give_the_same_parameters() {
        let text = |params: &RawParams, name: &str| match &params[name] {
            Raw::Text(text) => text.clone(),
            Raw::Json(value) => value.to_string(),
            Raw::File(upload) => String::from_utf8_lossy(&upload.bytes).into_owned(),
        };
        let json = read_body("application/json; charset=utf-8", "{\"n\":5}").unwrap();
        let form = read_body("application/x-www-form-urlencoded", "n=5").unwrap();
        let body = "--B\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n5\r\n--B\r\ncontent-disposition: form-data; \
                    name=f; filename=\"a.txt\"\r\ncontent-type: text/plain\r\n\r\n1\r\n2\r\n--B--\r\n";
        let multipart = read_body("multipart/form-data; boundary=B", body).unwrap();
        for params in [&json, &form, &multipart] {
            assert_eq!(text(params, "n"), "5");
            assert_eq!(text(params, "q"), "1");
        }
        let Raw::File(upload) = &multipart["f"] else { panic!("not a file") };
        assert_eq!((upload.file_name.as_str(), upload.media_type.as_str()), ("a.txt", "text/plain"));
        assert_eq!(&upload.bytes[..], b"1\r\n2");
    }

    #[test]
    fn a_file_name_is_read_to_its_closing_quote_and_no_name_comes_twice() {
        let part = |name: &str| format!("--B\r\ncontent-disposition: form-data; name=\"f\"; {name}\r\n\r\nx\r\n");
        let read = |parts: &str| read_body("multipart/form-data; boundary=B", &format!("{parts}--B--\r\n"));
        let file_name = |name: &str| match read(&part(&format!("filename={name}"))).unwrap().remove("f") {
            Some(Raw::File(upload)) => upload.file_name,
            other => panic!("{other:?}"),
        };
        assert_eq!(file_name("\"a; name=b.txt\""), "a; name=b.txt");
        assert_eq!(file_name(r#""say \"hi\".txt""#), "say \"hi\".txt");
        assert_eq!(file_name("plain.txt"), "plain.txt");
        assert!(read(&part("filename=\"open")).is_err());
        assert!(read(&part("filename=\"a\"; filename=\"b\"")).is_err());
        assert!(read(&part("filename=\"a\" x")).is_err());
        assert!(read(&part("filename=\"a\"").repeat(2)).unwrap_err().contains("twice"));
    }

    #[test]
    fn malformed_bodies_are_named() {
        assert!(read_body("application/json", "{").unwrap_err().contains("JSON"));
        assert!(read_body("application/json", "[]").unwrap_err().contains("JSON"));
        assert!(read_body("text/plain", "x").unwrap_err().contains("content type"));
        assert!(read_body("multipart/form-data; boundary=B", "--B\r\nx").unwrap_err().contains("multipart"));
    }
}
