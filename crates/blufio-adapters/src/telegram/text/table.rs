//! A table as a code block if a phone can show it, else one bullet per row.

use pulldown_cmark::Alignment;
use unicode_width::UnicodeWidthStr;

use super::builder::Builder;
use super::document::Document;

/// Display columns of a table that is shown as a block.
const TABLE_COLUMNS_MAX: usize = 64;
/// Between two cells of a row.
const SEPARATOR: &str = " | ";
/// How often the header's bytes may be repeated in bullets, in multiples of the table's bytes. Used up: values only.
const LABELS_FACTOR: usize = 16;

/// The cells of a table while it is read; the first row is the header.
pub struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<Document>>,
}

impl Table {
    pub fn new(alignments: Vec<Alignment>) -> Self {
        Table { alignments, rows: Vec::new() }
    }

    pub fn begin_row(&mut self) {
        self.rows.push(Vec::new());
    }

    pub fn cell(&mut self, cell: Document) {
        if let Some(row) = self.rows.last_mut() {
            row.push(cell);
        }
    }

    pub fn write(self, builder: &mut Builder) {
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(one_line).collect()).collect();
        let widths = widths(&rows);
        let separators = SEPARATOR.len() * widths.len().saturating_sub(1);
        if widths.iter().sum::<usize>() + separators <= TABLE_COLUMNS_MAX {
            builder.pre(None, &self.block(&rows, &widths));
        } else {
            self.bullets(builder);
        }
    }

    fn block(&self, rows: &[Vec<String>], widths: &[usize]) -> String {
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        let mut block = String::new();
        for (index, row) in rows.iter().enumerate() {
            let cells: Vec<String> = (0..)
                .zip(widths)
                .map(|(column, &width)| {
                    let cell = row.get(column).map_or("", String::as_str);
                    pad(cell, width, self.alignments.get(column).copied().unwrap_or(Alignment::None))
                })
                .collect();
            block.push_str(cells.join(SEPARATOR).trim_end());
            block.push('\n');
            if index == 0 {
                block.push_str(&rule.join("-+-"));
                block.push('\n');
            }
        }
        block
    }

    fn bullets(self, builder: &mut Builder) {
        let bytes: usize = self.rows.iter().flatten().map(|cell| cell.text.len()).sum();
        let mut labels_left = LABELS_FACTOR * bytes;
        let mut rows = self.rows.into_iter();
        let header = rows.next().unwrap_or_default();
        builder.begin_list(None);
        if rows.len() == 0 {
            write_row(builder, &[], &header, &mut labels_left);
        }
        for row in rows {
            write_row(builder, &header, &row, &mut labels_left);
        }
        builder.end_list();
    }
}

fn write_row(builder: &mut Builder, header: &[Document], row: &[Document], labels_left: &mut usize) {
    builder.begin_item();
    for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        builder.gap(1);
        if let Some(label) = header.get(column).filter(|label| !label.is_empty() && label.text.len() <= *labels_left) {
            *labels_left -= label.text.len();
            builder.append(label);
            builder.text(": ");
        }
        builder.append(cell);
    }
    builder.end_item();
}

fn one_line(cell: &Document) -> String {
    cell.plain().replace(['\n', '\t'], " ")
}

/// The display columns of each column's widest cell, at least one.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![1; columns];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    widths
}

fn pad(cell: &str, width: usize, alignment: Alignment) -> String {
    let blanks = width.saturating_sub(cell.width());
    let left = match alignment {
        Alignment::None | Alignment::Left => 0,
        Alignment::Center => blanks / 2,
        Alignment::Right => blanks,
    };
    format!("{}{cell}{}", " ".repeat(left), " ".repeat(blanks - left))
}
