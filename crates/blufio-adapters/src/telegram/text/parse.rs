//! Reads Markdown: CommonMark with tables, strikethrough and spoilers (`||text||`).
//!
//! Nothing that the model wrote for a reader may disappear: raw HTML and unfinished markup are shown as text, an address
//! that may not be a link is shown behind its label, and a link definition that nothing refers to is shown too. Only the
//! titles of links and what follows a fence's language are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd};

use super::MARKDOWN_BYTES_MAX;
use super::builder::Builder;
use super::document::{Document, SpanKind};
use super::table::Table;
use super::unicode::{floor_boundary, has_visible, part};

/// Bytes of a code block's language. Longer: it has none.
const LANGUAGE_BYTES_MAX: usize = 32;
const SPOILER_MARK: &str = "||";
const RULE: &str = "———";

/// Reads Markdown, finished or not. Text that holds something visible never becomes an empty document. What comes after
/// [`MARKDOWN_BYTES_MAX`] is kept as plain text.
pub fn parse(markdown: &str) -> Document {
    let (source, rest) = split(markdown);
    let mut reader = Reader::new(source);
    for (event, range) in parser(source).into_offset_iter() {
        reader.event(event, &range);
    }
    let document = reader.finish(rest);
    if document.is_empty() { Document::literal(markdown) } else { document }
}

fn parser(source: &str) -> Parser<'_> {
    Parser::new_ext(source, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
}

fn split(markdown: &str) -> (&str, &str) {
    if markdown.len() <= MARKDOWN_BYTES_MAX {
        return (markdown, "");
    }
    let limit = floor_boundary(markdown, MARKDOWN_BYTES_MAX);
    let head = part(markdown, 0, limit);
    let cut = head.rfind('\n').map_or(limit, |line_break| line_break + 1);
    (part(markdown, 0, cut), part(markdown, cut, markdown.len()))
}

/// Where a spoiler mark that has a partner stands in the source, and which of the two it is.
#[derive(Clone, Copy)]
enum Mark {
    Open,
    Close,
}

struct Reader<'a> {
    source: &'a str,
    builder: Builder,
    spoilers: BTreeMap<usize, Mark>,
    /// Definitions that nothing refers to, by source offset.
    definitions: VecDeque<(usize, String)>,
    /// Elements that are open.
    depth: usize,
    /// The info string of the open code block and the code so far.
    code: Option<(String, String)>,
    table: Option<Table>,
    cell: Option<Builder>,
    /// Where the last cell ended in the source.
    cell_end: usize,
}

impl<'a> Reader<'a> {
    fn new(source: &'a str) -> Self {
        let (spoilers, definitions) = look_ahead(source);
        Reader {
            source,
            builder: Builder::default(),
            spoilers,
            definitions,
            depth: 0,
            code: None,
            table: None,
            cell: None,
            cell_end: 0,
        }
    }

    fn event(&mut self, event: Event<'_>, range: &Range<usize>) {
        if self.depth == 0 {
            self.definitions_before(range.start);
        }
        match event {
            Event::Start(tag) => {
                self.depth += 1;
                self.start(tag);
            }
            Event::End(tag) => {
                self.depth -= 1;
                self.end(tag, range);
            }
            Event::Text(text) => match &mut self.code {
                Some((_, code)) => code.push_str(&text),
                None => self.text(&text, range),
            },
            Event::Code(code) => self.target().code(&code),
            Event::SoftBreak | Event::HardBreak if self.cell.is_some() => self.target().text(" "),
            Event::SoftBreak | Event::HardBreak => self.builder.line_break(),
            Event::Rule => {
                self.builder.gap(2);
                self.builder.text(RULE);
                self.builder.gap(2);
            }
            Event::Html(text) | Event::InlineHtml(text) => self.target().text(&text),
            // Extensions that are off.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.target().text(&text);
            }
            Event::TaskListMarker(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.builder.gap(1),
            Tag::Heading { .. } => {
                self.builder.gap(2);
                self.builder.open(SpanKind::Bold);
            }
            Tag::BlockQuote(_) => self.builder.begin_quote(),
            Tag::CodeBlock(kind) => self.code = Some((info(kind), String::new())),
            Tag::List(first) => self.builder.begin_list(first),
            Tag::Item => self.builder.begin_item(),
            Tag::Table(alignments) => self.table = Some(Table::new(alignments)),
            Tag::TableHead | Tag::TableRow => self.table.iter_mut().for_each(Table::begin_row),
            Tag::TableCell => self.cell = Some(Builder::default()),
            Tag::Emphasis => self.target().open(SpanKind::Italic),
            Tag::Strong => self.target().open(SpanKind::Bold),
            Tag::Strikethrough => self.target().open(SpanKind::Strike),
            Tag::Link { link_type: LinkType::Email, dest_url, .. } => {
                self.target().begin_link(&format!("mailto:{dest_url}"));
            }
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.target().begin_link(&dest_url),
            // Extensions that are off.
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: &Range<usize>) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => {
                let line_breaks = if self.is_blank_line_after(range.end) { 2 } else { 1 };
                self.builder.gap(line_breaks);
            }
            TagEnd::Heading(_) => {
                self.builder.close(&SpanKind::Bold);
                self.builder.gap(1);
            }
            TagEnd::BlockQuote(_) => self.builder.end_quote(),
            TagEnd::CodeBlock => {
                // A fence without code is most likely code on the line of the fence.
                match self.code.take() {
                    Some((info, code)) if !has_visible(&code) => self.builder.pre(None, &info),
                    Some((info, code)) => self.builder.pre(language(&info), &code),
                    None => {}
                }
            }
            TagEnd::List(_) => self.builder.end_list(),
            TagEnd::Item => self.builder.end_item(),
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    table.write(&mut self.builder);
                }
            }
            TagEnd::TableCell => {
                if let (Some(table), Some(cell)) = (&mut self.table, self.cell.take()) {
                    table.cell(cell.finish());
                    self.cell_end = range.end;
                }
            }
            TagEnd::TableHead | TagEnd::TableRow => self.surplus_cells(range),
            TagEnd::Emphasis => self.target().close(&SpanKind::Italic),
            TagEnd::Strong => self.target().close(&SpanKind::Bold),
            TagEnd::Strikethrough => self.target().close(&SpanKind::Strike),
            TagEnd::Link | TagEnd::Image => self.target().end_link(),
            // Extensions that are off.
            TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::MetadataBlock(_) => {}
        }
    }

    /// Whether the writer left a blank line here; a list directly under its introduction should stay there.
    fn is_blank_line_after(&self, offset: usize) -> bool {
        let before = self.source.get(..offset).unwrap_or_default();
        let after = self.source.get(offset..).unwrap_or_default();
        let next_line = if before.ends_with('\n') { Some(after) } else { after.split_once('\n').map(|(_, line)| line) };
        next_line.is_some_and(|line| line.trim_start_matches([' ', '\t', '\r', '>']).starts_with('\n'))
    }

    fn text(&mut self, text: &str, range: &Range<usize>) {
        let mut done = 0;
        let marks: Vec<(usize, Mark)> = self.spoilers.range(range.clone()).map(|(&at, &mark)| (at, mark)).collect();
        for (at, mark) in marks {
            self.target().text(part(text, done, at - range.start));
            done = at - range.start + SPOILER_MARK.len();
            match mark {
                Mark::Open => self.target().open(SpanKind::Spoiler),
                Mark::Close => self.target().close(&SpanKind::Spoiler),
            }
        }
        self.target().text(part(text, done, text.len()));
    }

    /// The parser leaves out cells for which the header has no column; they become one more, as they stand.
    fn surplus_cells(&mut self, row: &Range<usize>) {
        let rest = self.source.get(self.cell_end.max(row.start)..row.end).unwrap_or_default();
        let rest = rest.trim_matches(|character: char| character == '|' || character.is_whitespace());
        if let Some(table) = &mut self.table
            && has_visible(rest)
        {
            table.cell(Document::literal(rest));
        }
    }

    /// Where inline text goes: into the table cell that is being read, else into the document.
    fn target(&mut self) -> &mut Builder {
        self.cell.as_mut().unwrap_or(&mut self.builder)
    }

    fn definitions_before(&mut self, offset: usize) {
        while let Some((_, definition)) = self.definitions.pop_front_if(|(at, _)| *at < offset) {
            self.builder.gap(1);
            self.builder.text(&definition);
            self.builder.gap(1);
        }
    }

    fn finish(mut self, rest: &str) -> Document {
        self.definitions_before(self.source.len());
        self.builder.gap(1);
        self.builder.text(rest);
        self.builder.finish()
    }
}

fn info(kind: CodeBlockKind<'_>) -> String {
    match kind {
        CodeBlockKind::Fenced(info) => info.into_string(),
        CodeBlockKind::Indented => String::new(),
    }
}

/// The first word of a fence's info string, if it looks like a language.
fn language(info: &str) -> Option<String> {
    let word = info.split([' ', '\t', ',', '{']).next().filter(|word| !word.is_empty())?;
    let is_language = word.len() <= LANGUAGE_BYTES_MAX
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+#._-".contains(&byte));
    is_language.then(|| word.to_owned())
}

/// Pairs the spoiler marks and finds the definitions that nothing refers to, which both need the whole text.
///
/// Two marks pair if they stand in the same element (so that spans nest), the first before and the second behind a
/// character that is not blank (so that `a || b || c` is left alone).
fn look_ahead(source: &str) -> (BTreeMap<usize, Mark>, VecDeque<(usize, String)>) {
    let mut events = parser(source).into_offset_iter();
    let mut pairs = BTreeMap::new();
    let has_definitions = events.reference_definitions().iter().next().is_some();
    if !has_definitions && !source.contains(SPOILER_MARK) {
        return (pairs, VecDeque::new());
    }
    let mut references: Vec<CowStr<'_>> = Vec::new();
    // The open mark of each open element. A block within a list item ends the item's text.
    let mut waiting: Vec<Option<usize>> = vec![None];
    for (event, range) in events.by_ref() {
        match event {
            Event::Start(tag) => {
                if !is_inline(&tag)
                    && let Some(mark) = waiting.last_mut()
                {
                    *mark = None;
                }
                waiting.push(None);
                if let Tag::Link { link_type: kind, id, .. } | Tag::Image { link_type: kind, id, .. } = tag
                    && matches!(kind, LinkType::Reference | LinkType::Collapsed | LinkType::Shortcut)
                {
                    references.push(id);
                }
            }
            Event::End(_) => {
                waiting.pop();
            }
            Event::Text(text) if text.len() == range.len() => {
                if let Some(open) = waiting.last_mut() {
                    pair_marks(source, &text, range.start, open, &mut pairs);
                }
            }
            _ => {}
        }
    }
    let definitions = events.reference_definitions();
    let used: BTreeSet<usize> =
        references.iter().filter_map(|id| definitions.get(id)).map(|definition| definition.span.start).collect();
    let mut unused: Vec<(usize, String)> = definitions
        .iter()
        .filter(|(_, definition)| !used.contains(&definition.span.start))
        .map(|(label, definition)| (definition.span.start, format!("[{label}]: {}", definition.dest)))
        .collect();
    unused.sort_unstable();
    (pairs, unused.into())
}

fn pair_marks(source: &str, text: &str, start: usize, open: &mut Option<usize>, pairs: &mut BTreeMap<usize, Mark>) {
    let bytes = source.as_bytes();
    let byte_before = |at: usize| at.checked_sub(1).and_then(|before| bytes.get(before)).copied();
    let is_solid = |byte: Option<u8>| byte.is_some_and(|byte| !byte.is_ascii_whitespace());
    // An escaped character begins a text event of its own; the backslash is not part of it.
    let mut from = usize::from(byte_before(start) == Some(b'\\'));
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(SPOILER_MARK)) {
        let at = start + from + found;
        from += found + SPOILER_MARK.len();
        let behind = bytes.get(at + SPOILER_MARK.len()).copied();
        match *open {
            Some(first) if is_solid(byte_before(at)) && at > first + SPOILER_MARK.len() => {
                pairs.insert(first, Mark::Open);
                pairs.insert(at, Mark::Close);
                *open = None;
            }
            _ if is_solid(behind) && behind != Some(b'|') => *open = Some(at),
            _ => {}
        }
    }
}

fn is_inline(tag: &Tag<'_>) -> bool {
    matches!(tag, Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. })
}
