//! One pass over a text: what its words are made of, and what they cost.
//!
//! A class can only become dearer while its word grows, so that a longer text never costs less than a part of it.

use super::{Milli, Tokenizer};

/// Letters and digits in a row that are data (a hash, base64) and no name, if there is a digit among them.
const DATA_RUN_MIN: u64 = 16;
/// Letters in a row that are no word.
const LETTER_RUN_MIN: u64 = 32;
/// Characters after a word with accents that are taken to be of the same language: few of its words have any.
const ACCENT_REACH: u64 = 64;
/// Thousandths of a token are summed in thousandths.
const MICRO: u64 = 1_000;

/// What a character of each class costs, in millionths of a token.
#[derive(Clone, Copy)]
struct Prices {
    prose: u64,
    code: u64,
    digits: u64,
    latin: u64,
    alphabets: u64,
    dense: u64,
    rare: u64,
    spaces: u64,
}

impl Prices {
    const fn of(tokenizer: Tokenizer) -> Self {
        // Hundredths of characters per token. The newer tokenizer makes 1.4 times as many of prose, 1.2 times of code.
        let (prose, code) = match tokenizer {
            Tokenizer::Newer => (320, 260),
            Tokenizer::Older => (448, 312),
        };
        Self {
            prose: per_character(prose),
            code: per_character(code),
            digits: per_character(200),
            latin: per_character(260),
            alphabets: per_character(190),
            dense: per_character(90),
            rare: per_character(60),
            spaces: per_character(600),
        }
    }
}

const fn per_character(hundredths: u64) -> u64 {
    100_000_000_u64.div_ceil(hundredths)
}

/// Tokens of a text whose kind is told word by word: prose, code, numbers, data, languages.
#[must_use]
pub fn text(text: &str, tokenizer: Tokenizer) -> Milli {
    let prices = Prices::of(tokenizer);
    scan(text, prices, prices.prose)
}

/// Tokens of a text that is code, also where it looks like prose.
#[must_use]
pub fn code(text: &str, tokenizer: Tokenizer) -> Milli {
    let prices = Prices::of(tokenizer);
    scan(text, prices, prices.code)
}

/// Tokens of base64, hexadecimal digits and other opaque bytes.
pub(super) fn opaque(text: &str, tokenizer: Tokenizer) -> Milli {
    Milli(length(text.len()).saturating_mul(Prices::of(tokenizer).digits).div_ceil(MICRO))
}

/// `plain`: what a letter costs in a word that nothing is remarkable about.
fn scan(text: &str, prices: Prices, plain: u64) -> Milli {
    let (mut sum, mut reach, mut letter) = (0_u64, 0_u64, plain);
    for piece in text.as_bytes().chunk_by(|a, b| a.is_ascii_whitespace() == b.is_ascii_whitespace()) {
        let cost = if piece.first().is_some_and(u8::is_ascii_whitespace) {
            // One space belongs to its word; the others of a run are indentation and cheap.
            letter.saturating_add(prices.spaces.saturating_mul(length(piece.len()) - 1))
        } else {
            let word = Word::read(piece, prices);
            letter = match (word.accented || reach > 0, word.code) {
                (true, _) => prices.latin.max(plain),
                (false, true) => prices.code,
                (false, false) => plain,
            };
            reach = if word.accented { ACCENT_REACH } else { reach.saturating_sub(length(piece.len())) };
            word.cost(prices, letter)
        };
        sum = sum.saturating_add(cost);
    }
    Milli(sum.div_ceil(MICRO))
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What there is between two white spaces.
#[derive(Default)]
struct Word {
    letters: u64,
    /// Digits, and letters of long runs that hold digits.
    digits: u64,
    punctuation: u64,
    /// The cost of what is not ASCII.
    foreign: u64,
    accented: bool,
    code: bool,
    run_letters: u64,
    run_digits: u64,
    last: Last,
}

/// What the last character was, as far as the next one is understood by it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nothing,
    Lower,
    Upper,
    Digit,
    /// Punctuation behind a letter or digit; another one behind it makes code.
    Inside,
}

impl Word {
    fn read(bytes: &[u8], prices: Prices) -> Self {
        let mut word = Self::default();
        match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.is_ascii() => text.chars().for_each(|c| word.character(c, prices)),
            Ok(_) | Err(_) => bytes.iter().for_each(|byte| word.byte(*byte)),
        }
        word.end_run();
        word
    }

    fn character(&mut self, c: char, prices: Prices) {
        if let Ok(byte) = u8::try_from(c)
            && byte.is_ascii()
        {
            return self.byte(byte);
        }
        self.end_run();
        match c {
            '\u{c0}'..='\u{24f}' | '\u{300}'..='\u{36f}' | '\u{1e00}'..='\u{1eff}' => {
                self.accented = true;
                self.code |= self.last == Last::Inside;
                self.foreign = self.foreign.saturating_add(prices.latin);
                self.last = Last::Lower;
            }
            _ => self.foreign = self.foreign.saturating_add(price(c, prices)),
        }
    }

    fn byte(&mut self, byte: u8) {
        match byte {
            b'a'..=b'z' => {
                self.run_letters += 1;
                self.code |= self.last == Last::Inside || self.last == Last::Digit;
                self.last = Last::Lower;
            }
            // camelCase and CAPITALS break into more pieces than other words.
            b'A'..=b'Z' => {
                self.run_letters += 1;
                self.code |= self.last != Last::Nothing;
                self.last = Last::Upper;
            }
            b'0'..=b'9' => {
                self.run_digits += 1;
                self.code = true;
                self.last = Last::Digit;
            }
            _ => self.punctuation(byte),
        }
    }

    fn punctuation(&mut self, byte: u8) {
        self.end_run();
        self.punctuation += 1;
        let behind = self.last != Last::Nothing;
        match byte {
            // don't, well-known
            b'\'' | b'-' => self.last = Last::Nothing,
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'"' | b')' | b']' | b'*' | b'#' | b'%' | b'+' | b'_' => {
                if behind {
                    self.last = Last::Inside;
                }
            }
            b'(' | b'[' => {
                self.code |= behind;
            }
            _ => self.code = true,
        }
    }

    fn end_run(&mut self) {
        let whole = self.run_letters + self.run_digits;
        if (self.run_digits > 0 && whole >= DATA_RUN_MIN) || self.run_letters >= LETTER_RUN_MIN {
            self.digits += whole;
        } else {
            self.letters += self.run_letters;
            self.digits += self.run_digits;
        }
        (self.run_letters, self.run_digits) = (0, 0);
    }

    fn cost(&self, prices: Prices, letter: u64) -> u64 {
        let ascii = [(self.letters, letter), (self.digits, prices.digits), (self.punctuation, prices.code)];
        ascii.iter().fold(self.foreign, |sum, (count, price)| sum.saturating_add(count.saturating_mul(*price)))
    }
}

/// What a character costs that is neither ASCII nor Latin.
const fn price(c: char, prices: Prices) -> u64 {
    match c {
        // Greek, Cyrillic, Armenian, Hebrew, Arabic, Georgian; dashes, quotes and other signs of ordinary writing.
        '\u{a0}'..='\u{bf}'
        | '\u{370}'..='\u{6ff}'
        | '\u{750}'..='\u{77f}'
        | '\u{8a0}'..='\u{8ff}'
        | '\u{10a0}'..='\u{10ff}'
        | '\u{1f00}'..='\u{1fff}'
        | '\u{2010}'..='\u{205e}' => prices.alphabets,
        // Indian and South-East Asian scripts; Hangul, kana, Chinese characters and their punctuation.
        '\u{900}'..='\u{109f}'
        | '\u{1100}'..='\u{11ff}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3000}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff00}'..='\u{ffef}'
        | '\u{20000}'..='\u{3ffff}' => prices.dense,
        _ => prices.rare,
    }
}
