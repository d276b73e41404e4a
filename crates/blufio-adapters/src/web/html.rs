//! HTML as Markdown, for a model to read.
//!
//! The pages are hostile. Therefore no tree is built: a tree of a page that nests a million elements deep overflows the stack
//! of whoever walks it, and the rules by which browsers repair unclosed formatting make a tree grow with the square of its
//! page (docs/decisions/0019). The tokens are written out as they come, in linear time and bounded memory.
//!
//! What people do not see is left out: scripts, styles, hidden elements, invisible characters.

use super::text::{is_visible, one_line};
use html5gum::emitters::default::DefaultEmitter;
use html5gum::{HtmlString, StartTag, Token, Tokenizer};
use reqwest::Url;

/// Lists within lists that are told apart. Deeper: as if they were on this level.
const LISTS_MAX: usize = 16;
/// Quotes within quotes that are told apart.
const QUOTES_MAX: usize = 4;
/// Characters of a title. More: cut.
const TITLE_CHARS_MAX: usize = 300;
/// Bytes of an address in a link. Longer: only the words of the link are kept.
const LINK_BYTES_MAX: usize = 1024;
/// Tokens after which other tasks get their turn.
const TOKENS_AT_ONCE: usize = 2_000;

/// A page as Markdown.
pub(super) struct Markdown {
    /// One line.
    pub(super) title: Option<String>,
    pub(super) text: String,
    /// The text was longer than what was asked for.
    pub(super) cut: bool,
}

/// The page as Markdown of at most `bytes_max` bytes. Links are completed with the address of the page.
pub(super) async fn markdown(html: &str, page: &Url, bytes_max: usize) -> Markdown {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut writer = Writer::new(page);
    let mut count = 0_usize;
    for token in Tokenizer::new_with_emitter(html, emitter) {
        match token {
            Ok(Token::StartTag(tag)) => writer.start(&tag),
            Ok(Token::EndTag(tag)) => writer.end(&tag.name),
            Ok(Token::String(text)) => writer.text(&String::from_utf8_lossy(&text)),
            Ok(Token::Comment(_) | Token::Doctype(_) | Token::Error(_)) => {}
            Err(never) => match never {},
        }
        if writer.out.len() > bytes_max {
            break;
        }
        count += 1;
        if count.is_multiple_of(TOKENS_AT_ONCE) {
            tokio::task::yield_now().await;
        }
    }
    writer.finish(bytes_max)
}

/// What is to come before the next word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

/// Something that is left out, until as many of its kind have ended as have begun.
struct Skipped {
    name: Vec<u8>,
    depth: u32,
}

struct Writer<'a> {
    page: &'a Url,
    out: String,
    gap: Gap,
    title: String,
    in_title: bool,
    skipped: Option<Skipped>,
    /// The number of the next item; `None`: the list has no numbers.
    lists: Vec<Option<u32>>,
    quotes: usize,
    /// Where the open link began, and where it leads.
    link: Option<(usize, Option<String>)>,
    pre: bool,
    code: bool,
    /// Cells of the row so far; `None`: no row is open.
    cells: Option<usize>,
    /// The table has no row yet.
    first_row: bool,
}

impl<'a> Writer<'a> {
    fn new(page: &'a Url) -> Self {
        Self {
            page,
            out: String::new(),
            gap: Gap::None,
            title: String::new(),
            in_title: false,
            skipped: None,
            lists: Vec::new(),
            quotes: 0,
            link: None,
            pre: false,
            code: false,
            cells: None,
            first_row: false,
        }
    }

    fn start(&mut self, tag: &StartTag<()>) {
        let name: &[u8] = &tag.name;
        if let Some(skipped) = &mut self.skipped {
            if skipped.name == name {
                skipped.depth += 1;
            }
            return;
        }
        if is_unread(name, tag.self_closing) || is_hidden(tag) {
            self.skipped = Some(Skipped { name: name.to_vec(), depth: 1 });
            return;
        }
        match name {
            b"title" => self.in_title = self.title.is_empty(),
            b"br" => self.ask(Gap::Line),
            b"hr" => {
                self.ask(Gap::Paragraph);
                self.word("---");
                self.ask(Gap::Paragraph);
            }
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => {
                self.ask(Gap::Paragraph);
                let level = name.get(1).map_or(1, |digit| usize::from(digit - b'0'));
                self.mark(&format!("{} ", "#".repeat(level)));
            }
            b"ul" | b"ol" | b"menu" => {
                self.ask(if self.lists.is_empty() { Gap::Paragraph } else { Gap::Line });
                if self.lists.len() < LISTS_MAX {
                    self.lists.push((name == b"ol").then_some(1));
                }
            }
            b"li" => self.item(),
            b"blockquote" => {
                self.ask(Gap::Paragraph);
                self.quotes = (self.quotes + 1).min(QUOTES_MAX);
            }
            b"pre" => {
                self.ask(Gap::Paragraph);
                self.mark("```\n");
                self.pre = true;
            }
            b"code" | b"kbd" | b"samp" if !self.pre && !self.code => {
                self.mark("`");
                self.code = true;
            }
            b"strong" | b"b" => self.emphasis("**"),
            b"em" | b"i" => self.emphasis("*"),
            b"a" if self.link.is_none() => {
                let leads = attribute(tag, b"href").and_then(|href| self.absolute(&href));
                if leads.is_some() {
                    self.mark("[");
                    self.link = Some((self.out.len(), leads));
                }
            }
            b"img" => self.image(tag),
            b"table" => {
                self.ask(Gap::Paragraph);
                self.first_row = true;
            }
            b"tr" => {
                self.end_row();
                self.ask(Gap::Line);
                self.cells = Some(0);
            }
            b"td" | b"th" => {
                if let Some(cells) = &mut self.cells {
                    *cells += 1;
                    self.ask(Gap::Space);
                    self.mark("| ");
                }
            }
            name if is_block(name) => self.ask(Gap::Paragraph),
            b"option" | b"dt" | b"dd" | b"summary" | b"legend" | b"caption" => self.ask(Gap::Line),
            _ => {}
        }
    }

    fn end(&mut self, name: &HtmlString) {
        let name: &[u8] = name;
        if let Some(skipped) = &mut self.skipped {
            if skipped.name == name {
                skipped.depth -= 1;
                if skipped.depth == 0 {
                    self.skipped = None;
                    self.ask(Gap::Space);
                }
            }
            return;
        }
        match name {
            b"title" => self.in_title = false,
            b"ul" | b"ol" | b"menu" => {
                self.lists.pop();
                self.ask(if self.lists.is_empty() { Gap::Paragraph } else { Gap::Line });
            }
            b"li" => self.ask(Gap::Line),
            b"blockquote" => {
                self.ask(Gap::Paragraph);
                self.quotes = self.quotes.saturating_sub(1);
            }
            b"pre" if self.pre => {
                self.pre = false;
                let ends = if self.out.ends_with('\n') { "```" } else { "\n```" };
                self.out.push_str(ends);
                self.ask(Gap::Paragraph);
            }
            b"code" | b"kbd" | b"samp" if self.code && !self.pre => {
                self.code = false;
                self.out.push('`');
            }
            b"strong" | b"b" => self.emphasis_ends("**"),
            b"em" | b"i" => self.emphasis_ends("*"),
            b"a" => self.link_ends(),
            b"td" | b"th" => self.ask(Gap::Space),
            b"tr" => self.end_row(),
            b"table" => {
                self.end_row();
                self.ask(Gap::Paragraph);
            }
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => self.ask(Gap::Paragraph),
            name if is_block(name) => self.ask(Gap::Paragraph),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.skipped.is_some() {
            return;
        }
        if self.in_title {
            if self.title.len() < TITLE_CHARS_MAX {
                self.title.push_str(text);
            }
            return;
        }
        if self.pre {
            self.out.extend(text.chars().filter(|character| is_visible(*character)));
            return;
        }
        for (index, word) in text.split(|character: char| character.is_whitespace()).enumerate() {
            if index > 0 {
                self.ask(Gap::Space);
            }
            self.word(word);
        }
    }

    /// A word, after the gap that was asked for.
    fn word(&mut self, word: &str) {
        let mut characters = word.chars().filter(|character| is_visible(*character)).peekable();
        if characters.peek().is_some() {
            self.fill_gap();
            self.out.extend(characters);
        }
    }

    /// A mark that words follow directly.
    fn mark(&mut self, mark: &str) {
        self.fill_gap();
        self.out.push_str(mark);
    }

    fn ask(&mut self, gap: Gap) {
        // A row of a table is one line, and so is the text of a link.
        let gap = if self.cells.is_some() || self.link.is_some() { gap.min(Gap::Space) } else { gap };
        if !self.pre {
            self.gap = self.gap.max(gap);
        }
    }

    fn fill_gap(&mut self) {
        let gap = std::mem::replace(&mut self.gap, Gap::None);
        if self.out.is_empty() {
            self.out.push_str(&"> ".repeat(self.quotes));
            return;
        }
        match gap {
            Gap::None => {}
            Gap::Space if self.out.ends_with([' ', '\n', '[']) => {}
            Gap::Space => self.out.push(' '),
            Gap::Line | Gap::Paragraph => {
                let kept = self.out.trim_end_matches(' ').len();
                self.out.truncate(kept);
                self.out.push('\n');
                let quote = "> ".repeat(self.quotes);
                if gap == Gap::Paragraph {
                    self.out.push_str(quote.trim_end());
                    self.out.push('\n');
                }
                self.out.push_str(&quote);
            }
        }
    }

    fn item(&mut self) {
        self.ask(Gap::Line);
        let indent = "  ".repeat(self.lists.len().saturating_sub(1));
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                let mark = format!("{indent}{number}. ");
                *number = number.saturating_add(1);
                mark
            }
            Some(None) | None => format!("{indent}- "),
        };
        self.mark(&mark);
    }

    fn emphasis(&mut self, mark: &str) {
        if !self.pre && !self.code {
            self.mark(mark);
        }
    }

    fn emphasis_ends(&mut self, mark: &str) {
        if self.pre || self.code {
            return;
        }
        if self.out.ends_with(mark) {
            // Nothing stood between.
            self.out.truncate(self.out.len() - mark.len());
        } else {
            self.out.push_str(mark);
        }
    }

    fn link_ends(&mut self) {
        let Some((start, leads)) = self.link.take() else { return };
        let words = self.out.get(start..).unwrap_or_default();
        if words.trim().is_empty() {
            self.out.truncate(start.saturating_sub(1));
        } else if let Some(leads) = leads {
            self.out.push_str(&format!("]({leads})"));
        }
    }

    fn image(&mut self, tag: &StartTag<()>) {
        let shown = attribute(tag, b"alt").map(|text| one_line(&text, TITLE_CHARS_MAX)).unwrap_or_default();
        if shown.is_empty() {
            return;
        }
        let source = attribute(tag, b"src").and_then(|source| self.absolute(&source));
        match source.filter(|_| self.link.is_none()) {
            Some(source) => self.mark(&format!("![{shown}]({source})")),
            None => self.mark(&format!("[image: {shown}]")),
        }
    }

    fn end_row(&mut self) {
        let Some(cells) = self.cells.take() else { return };
        if cells == 0 {
            return;
        }
        self.gap = Gap::None;
        self.out.push_str(" |");
        if std::mem::replace(&mut self.first_row, false) {
            self.ask(Gap::Line);
            // A row of a thousand columns is no table to read.
            self.mark(&"|---".repeat(cells.min(64)));
            self.out.push('|');
        }
        self.ask(Gap::Line);
    }

    /// Where a link leads, if it leads to the web.
    fn absolute(&self, link: &str) -> Option<String> {
        let link = link.trim();
        if link.len() > LINK_BYTES_MAX || link.starts_with('#') {
            return None;
        }
        let url = self.page.join(link).ok()?;
        // The parsed form has no spaces and no controls; a closing bracket would end the link early.
        let text = url.as_str().replace('(', "%28").replace(')', "%29");
        (matches!(url.scheme(), "https" | "http") && text.len() <= LINK_BYTES_MAX).then_some(text)
    }

    fn finish(mut self, bytes_max: usize) -> Markdown {
        if self.pre {
            self.out.push_str("\n```");
        }
        self.link_ends();
        self.end_row();
        let cut = self.out.len() > bytes_max;
        self.out.truncate(self.out.floor_char_boundary(bytes_max));
        let kept = self.out.trim_end().len();
        self.out.truncate(kept);
        self.out.shrink_to_fit();
        let title = one_line(&self.title, TITLE_CHARS_MAX);
        Markdown { title: (!title.is_empty()).then_some(title), text: self.out, cut }
    }
}

fn attribute(tag: &StartTag<()>, name: &[u8]) -> Option<String> {
    tag.attributes.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Elements whose content nobody reads.
fn is_unread(name: &[u8], self_closing: bool) -> bool {
    let foreign = matches!(name, b"svg" | b"math") && !self_closing;
    foreign
        || matches!(
            name,
            b"script"
                | b"style"
                | b"noscript"
                | b"template"
                | b"iframe"
                | b"noembed"
                | b"noframes"
                | b"object"
                | b"canvas"
        )
}

/// Elements that a browser does not show. Only those that must be closed, so that the end is found.
fn is_hidden(tag: &StartTag<()>) -> bool {
    let name: &[u8] = &tag.name;
    if !matches!(
        name,
        b"div" | b"span" | b"section" | b"article" | b"aside" | b"a" | b"b" | b"i" | b"font" | b"h1" | b"h2" | b"h3"
    ) {
        return false;
    }
    let style = attribute(tag, b"style").unwrap_or_default().to_ascii_lowercase();
    let style: String = style.chars().filter(|character| !character.is_whitespace()).collect();
    tag.attributes.contains_key(b"hidden".as_slice())
        || attribute(tag, b"aria-hidden").is_some_and(|value| value == "true")
        || ["display:none", "visibility:hidden", "font-size:0;", "opacity:0;"].iter().any(|hides| style.contains(hides))
        || ["font-size:0", "font-size:0px", "opacity:0"].iter().any(|hides| style.ends_with(hides))
}

fn is_block(name: &[u8]) -> bool {
    matches!(
        name,
        b"p" | b"div"
            | b"section"
            | b"article"
            | b"main"
            | b"header"
            | b"footer"
            | b"aside"
            | b"nav"
            | b"figure"
            | b"figcaption"
            | b"address"
            | b"form"
            | b"fieldset"
            | b"details"
            | b"dl"
            | b"body"
            | b"center"
            | b"select"
            | b"textarea"
            | b"thead"
            | b"tbody"
            | b"tfoot"
            | b"hgroup"
            | b"search"
    )
}

#[cfg(test)]
mod tests;
