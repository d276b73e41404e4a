//! all-MiniLM-L6-v2: what its tensors are called, and how the pieces of a text become a vector.

use super::gguf::{F32, Gguf, GgufError, Q8};
use super::kernel::{INPUTS_MAX, Kernel, Rounded, scale_of, values_of};
use super::math::{gelu, normalise, softmax};
use super::wordpiece::PIECES_MAX;
use blufio_core::memory::vector::DIMENSIONS;

const LAYERS: usize = 6;
const HEADS: usize = 12;
/// Numbers of a head.
const HEAD: usize = DIMENSIONS / HEADS;
/// Numbers between the two matrices of a layer.
const WIDE: usize = 1_536;
/// Pieces in the vocabulary.
const PIECES: usize = 30_522;
/// Places that have a row of their own.
const POSITIONS: usize = 512;
const _: () = assert!(PIECES_MAX <= POSITIONS);

struct Linear<'a> {
    matrix: Q8<'a>,
    bias: F32<'a>,
}

struct Norm<'a> {
    factors: F32<'a>,
    sums: F32<'a>,
}

struct Layer<'a> {
    query: Linear<'a>,
    key: Linear<'a>,
    value: Linear<'a>,
    mixed: Linear<'a>,
    mixed_norm: Norm<'a>,
    widen: Linear<'a>,
    narrow: Linear<'a>,
    narrow_norm: Norm<'a>,
}

/// The weights, in place.
pub struct Model<'a> {
    kernel: Kernel,
    pieces: Q8<'a>,
    positions: F32<'a>,
    /// What is added to every row: all of a text is of the first kind.
    kind: F32<'a>,
    norm: Norm<'a>,
    layers: Vec<Layer<'a>>,
}

/// Memory that is used for one text after the other: 2.6 MB, of which a short text touches little.
pub struct Scratch {
    rows: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    mixed: Vec<f32>,
    wide: Vec<f32>,
    /// The keys of a head, the other way round.
    turned: Vec<f32>,
    rounded: Rounded,
}

impl Scratch {
    /// For the longest text.
    pub fn new() -> Self {
        let all = || vec![0.0; PIECES_MAX * DIMENSIONS];
        Self {
            rows: all(),
            query: all(),
            key: all(),
            value: all(),
            mixed: all(),
            wide: vec![0.0; INPUTS_MAX * WIDE],
            turned: vec![0.0; HEAD * PIECES_MAX],
            rounded: Rounded::default(),
        }
    }
}

impl<'a> Model<'a> {
    /// Finds the tensors in a file.
    ///
    /// # Errors
    /// The file is cut off, or of another model.
    pub fn new(file: &'a [u8], kernel: Kernel) -> Result<Self, GgufError> {
        let file = Gguf::new(file)?;
        let layers = (0..LAYERS).map(|layer| Layer::new(&file, layer)).collect::<Result<_, _>>()?;
        Ok(Self {
            kernel,
            pieces: file.q8("embeddings.word_embeddings.weight", DIMENSIONS, PIECES)?,
            positions: file.f32("embeddings.position_embeddings.weight", DIMENSIONS, POSITIONS)?,
            kind: file.f32("embeddings.token_type_embeddings.weight", DIMENSIONS, 2)?.part(0, DIMENSIONS),
            norm: Norm::new(&file, "embeddings.LayerNorm")?,
            layers,
        })
    }

    /// The mean of what the model makes of each piece. At most [`PIECES_MAX`] are read.
    pub fn vector(&self, ids: &[u16], scratch: &mut Scratch) -> [f32; DIMENSIONS] {
        let count = ids.len().min(PIECES_MAX);
        let Scratch { rows, query, key, value, mixed, wide, turned, rounded } = scratch;
        let rows = start(rows, count);
        let (query, key, value, mixed) =
            (start(query, count), start(key, count), start(value, count), start(mixed, count));
        for ((at, id), row) in ids.iter().enumerate().zip(rows.chunks_exact_mut(DIMENSIONS)) {
            self.embed(*id, at, row);
        }
        for layer in &self.layers {
            let chunk = INPUTS_MAX * DIMENSIONS;
            let outs = query.chunks_mut(chunk).zip(key.chunks_mut(chunk)).zip(value.chunks_mut(chunk));
            for (rows, ((query, key), value)) in rows.chunks(chunk).zip(outs) {
                rounded.take(rows, DIMENSIONS);
                layer.query.apply(self.kernel, rounded, query);
                layer.key.apply(self.kernel, rounded, key);
                layer.value.apply(self.kernel, rounded, value);
            }
            attend(query, key, value, mixed, turned);
            for (rows, mixed) in rows.chunks_mut(chunk).zip(mixed.chunks_mut(chunk)) {
                layer.finish(self.kernel, rows, mixed, wide, rounded);
            }
        }
        mean(rows, count)
    }

    /// The sum of the rows of a piece, of its place and of the kind of text.
    fn embed(&self, id: u16, at: usize, row: &mut [f32]) {
        let Some(blocks) = self.pieces.row(usize::from(id)) else { return row.fill(0.0) };
        let numbers = blocks.iter().flat_map(|block| {
            let scale = scale_of(block);
            values_of(block).into_iter().map(move |value| scale * f32::from(value))
        });
        let places = self.positions.part(at * DIMENSIONS, DIMENSIONS).numbers();
        for (((out, number), place), kind) in row.iter_mut().zip(numbers).zip(places).zip(self.kind.numbers()) {
            *out = number + place + kind;
        }
        self.norm.apply(row);
    }
}

impl<'a> Layer<'a> {
    fn new(file: &Gguf<'a>, layer: usize) -> Result<Self, GgufError> {
        let linear =
            |name: &str, columns, rows| Linear::new(file, &format!("encoder.layer.{layer}.{name}"), columns, rows);
        let norm = |name: &str| Norm::new(file, &format!("encoder.layer.{layer}.{name}"));
        Ok(Self {
            query: linear("attention.self.query", DIMENSIONS, DIMENSIONS)?,
            key: linear("attention.self.key", DIMENSIONS, DIMENSIONS)?,
            value: linear("attention.self.value", DIMENSIONS, DIMENSIONS)?,
            mixed: linear("attention.output.dense", DIMENSIONS, DIMENSIONS)?,
            mixed_norm: norm("attention.output.LayerNorm")?,
            widen: linear("intermediate.dense", DIMENSIONS, WIDE)?,
            narrow: linear("output.dense", WIDE, DIMENSIONS)?,
            narrow_norm: norm("output.LayerNorm")?,
        })
    }

    /// What follows the attention, for some rows: each step is added to them, and they are normalised. `mixed` is used up.
    fn finish(&self, kernel: Kernel, rows: &mut [f32], mixed: &mut [f32], wide: &mut [f32], rounded: &mut Rounded) {
        rounded.take(mixed, DIMENSIONS);
        self.mixed.apply(kernel, rounded, mixed);
        self.mixed_norm.add(rows, mixed);
        rounded.take(rows, DIMENSIONS);
        let wide = wide.get_mut(..rows.len() / DIMENSIONS * WIDE).unwrap_or_default();
        self.widen.apply(kernel, rounded, wide);
        gelu(wide);
        rounded.take(wide, WIDE);
        self.narrow.apply(kernel, rounded, mixed);
        self.narrow_norm.add(rows, mixed);
    }
}

impl<'a> Linear<'a> {
    fn new(file: &Gguf<'a>, name: &str, columns: usize, rows: usize) -> Result<Self, GgufError> {
        let matrix = file.q8(&format!("{name}.weight"), columns, rows)?;
        Ok(Self { matrix, bias: file.f32(&format!("{name}.bias"), rows, 1)? })
    }

    fn apply(&self, kernel: Kernel, inputs: &Rounded, out: &mut [f32]) {
        kernel.multiply(inputs, self.matrix, self.bias, out);
    }
}

impl<'a> Norm<'a> {
    fn new(file: &Gguf<'a>, name: &str) -> Result<Self, GgufError> {
        let part = |part: &str| file.f32(&format!("{name}.{part}"), DIMENSIONS, 1);
        Ok(Self { factors: part("weight")?, sums: part("bias")? })
    }

    fn apply(&self, row: &mut [f32]) {
        normalise(row, self.factors.numbers(), self.sums.numbers());
    }

    fn add(&self, rows: &mut [f32], added: &[f32]) {
        rows.iter_mut().zip(added).for_each(|(row, added)| *row += added);
        rows.chunks_exact_mut(DIMENSIONS).for_each(|row| self.apply(row));
    }
}

/// The first rows.
fn start(rows: &mut [f32], count: usize) -> &mut [f32] {
    rows.get_mut(..count * DIMENSIONS).unwrap_or_default()
}

/// For each head: each row becomes the sum of all values, by how well its query goes with their keys.
fn attend(query: &[f32], key: &[f32], value: &[f32], mixed: &mut [f32], turned: &mut [f32]) {
    let count = (key.len() / DIMENSIONS).max(1);
    let scale = 1.0 / (HEAD as f32).sqrt();
    let mut shares = [0.0; PIECES_MAX];
    let shares = shares.get_mut(..count).unwrap_or_default();
    let turned = turned.get_mut(..HEAD * count).unwrap_or_default();
    let values = value.as_chunks::<HEAD>().0;
    for head in 0..HEADS {
        // The keys of this head side by side, so that a query is multiplied with all of them at once.
        for (at, line) in turned.chunks_exact_mut(count).enumerate() {
            let column = key.iter().skip(head * HEAD + at).step_by(DIMENSIONS);
            line.iter_mut().zip(column).for_each(|(out, number)| *out = number * scale);
        }
        let queries = query.as_chunks::<HEAD>().0.iter().skip(head).step_by(HEADS);
        let outs = mixed.as_chunks_mut::<HEAD>().0.iter_mut().skip(head).step_by(HEADS);
        for (query, out) in queries.zip(outs) {
            shares.fill(0.0);
            for (number, line) in query.iter().zip(turned.chunks_exact(count)) {
                add_times(shares, *number, line);
            }
            softmax(shares);
            out.fill(0.0);
            for (share, value) in shares.iter().zip(values.iter().skip(head).step_by(HEADS)) {
                add_times(out, *share, value);
            }
        }
    }
}

fn add_times(out: &mut [f32], factor: f32, numbers: &[f32]) {
    for (out, number) in out.iter_mut().zip(numbers) {
        *out += factor * number;
    }
}

fn mean(rows: &[f32], count: usize) -> [f32; DIMENSIONS] {
    let mut mean = [0.0; DIMENSIONS];
    for row in rows.chunks_exact(DIMENSIONS) {
        mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value);
    }
    #[expect(clippy::cast_precision_loss, reason = "a text has hundreds of pieces")]
    let count = count.max(1) as f32;
    mean.map(|sum| sum / count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::embedding::wordpiece::WordPiece;

    fn file() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models/minilm-l6-v2-Q8_0.gguf");
        std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}; ./dev model makes it"))
    }

    #[test]
    fn every_processor_makes_the_same_vectors() {
        let file = file();
        let (plain, best) = (Model::new(&file, Kernel::Plain).unwrap(), Model::new(&file, Kernel::best()).unwrap());
        let mut scratch = Scratch::new();
        for text in ["", "the cat sat on the mat", "Привет, мир! Ёлка", &"a long text of many words, ".repeat(40)]
        {
            let ids = WordPiece::get().ids(text);
            let bits = |numbers: [f32; DIMENSIONS]| numbers.map(f32::to_bits);
            let plain = bits(plain.vector(&ids, &mut scratch));
            assert_eq!(plain, bits(best.vector(&ids, &mut scratch)), "{text:?}");
        }
    }

    #[test]
    fn wrong_pieces_and_too_many_are_no_panic() {
        let file = file();
        let model = Model::new(&file, Kernel::best()).unwrap();
        let mut scratch = Scratch::new();
        let long: Vec<u16> = (0..400).collect();
        let cut = model.vector(&long[..PIECES_MAX], &mut scratch);
        assert_eq!(model.vector(&long, &mut scratch), cut);
        assert_eq!(model.vector(&[], &mut scratch), [0.0; DIMENSIONS]);
        assert!(model.vector(&[u16::MAX; 3], &mut scratch).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn other_files_are_refused() {
        let mut file = file();
        for end in [0, 3, 4, 23, 24, 40, 6_000, 8_000, 1_000_000, file.len() / 2, file.len() - 1] {
            assert!(Model::new(&file[..end], Kernel::Plain).is_err(), "{end} bytes");
        }
        // The first tensor is the bias of the first norm: 384 numbers become 383.
        let at = 32 + "embeddings.LayerNorm.bias".len() + 4;
        assert_eq!(file[at..at + 8], 384_u64.to_le_bytes());
        file[at] -= 1;
        let shape = GgufError::Shape("embeddings.LayerNorm.bias".to_owned());
        assert_eq!(Model::new(&file, Kernel::Plain).err(), Some(shape));
        file[32] = b'E';
        let missing = GgufError::Missing("embeddings.LayerNorm.bias".to_owned());
        assert_eq!(Model::new(&file, Kernel::Plain).err(), Some(missing));
    }
}
