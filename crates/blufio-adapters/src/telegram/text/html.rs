//! A document as Telegram HTML, as the Bot API page describes it under "HTML style".

use super::document::{Document, Span, SpanKind};
use super::unicode::part;

/// Writes text and tags. Since spans nest, tags close in the reverse order of opening.
pub fn write(document: &Document) -> String {
    let mut html = String::with_capacity(document.text.len() + 16 * document.spans.len());
    let mut open: Vec<&Span> = Vec::new();
    let mut done = 0;
    for span in &document.spans {
        while let Some(inner) = open.pop_if(|inner| inner.end <= span.start) {
            close(&mut html, document, &mut done, inner);
        }
        escape(&mut html, part(&document.text, done, span.start));
        done = span.start;
        html.push_str(&opening(&span.kind));
        open.push(span);
    }
    while let Some(inner) = open.pop() {
        close(&mut html, document, &mut done, inner);
    }
    escape(&mut html, part(&document.text, done, document.text.len()));
    html
}

fn close(html: &mut String, document: &Document, done: &mut usize, span: &Span) {
    escape(html, part(&document.text, *done, span.end));
    *done = span.end;
    html.push_str(closing(&span.kind));
}

fn opening(kind: &SpanKind) -> String {
    match kind {
        SpanKind::Bold => "<b>".to_owned(),
        SpanKind::Italic => "<i>".to_owned(),
        SpanKind::Strike => "<s>".to_owned(),
        SpanKind::Spoiler => "<tg-spoiler>".to_owned(),
        SpanKind::Code => "<code>".to_owned(),
        SpanKind::Pre { language: None } => "<pre>".to_owned(),
        // The parser admits only characters that need no escape.
        SpanKind::Pre { language: Some(language) } => format!("<pre><code class=\"language-{language}\">"),
        SpanKind::Quote { expandable: false } => "<blockquote>".to_owned(),
        SpanKind::Quote { expandable: true } => "<blockquote expandable>".to_owned(),
        SpanKind::Link { url } => {
            let mut tag = String::with_capacity(url.len() + 16);
            tag.push_str("<a href=\"");
            escape(&mut tag, url);
            tag.push_str("\">");
            tag
        }
    }
}

fn closing(kind: &SpanKind) -> &'static str {
    match kind {
        SpanKind::Bold => "</b>",
        SpanKind::Italic => "</i>",
        SpanKind::Strike => "</s>",
        SpanKind::Spoiler => "</tg-spoiler>",
        SpanKind::Code => "</code>",
        SpanKind::Pre { language: None } => "</pre>",
        SpanKind::Pre { language: Some(_) } => "</code></pre>",
        SpanKind::Quote { .. } => "</blockquote>",
        SpanKind::Link { .. } => "</a>",
    }
}

fn escape(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
}
