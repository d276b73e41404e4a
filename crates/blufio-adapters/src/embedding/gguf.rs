//! The file of the weights, read in place: a list of named tensors, and their numbers. Whatever is not as it should be is an
//! error; nothing outside of the given bytes is ever looked at. What the tensors are for is not known here.

/// Numbers that share a scale.
pub const BLOCK: usize = 32;
/// Bytes of a block: an f16, and a signed byte for each number.
pub const BLOCK_BYTES: usize = 2 + BLOCK;
/// Tensors of the file.
pub const TENSORS: usize = 101;
/// Bytes of a name. More: the file is not ours.
const NAME_BYTES_MAX: usize = 128;
/// Tensors begin at multiples of so many bytes.
const ALIGNMENT: usize = 32;
const MAGIC: &[u8] = b"GGUF";
const VERSION: u32 = 2;
const KIND_F32: u32 = 0;
const KIND_Q8_0: u32 = 8;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// It does not begin as it should.
    #[error("it is no GGUF file of version {VERSION}")]
    Foreign,
    /// It has more or fewer tensors, or settings.
    #[error("it is a GGUF file of another model")]
    Other,
    /// It ends in the middle.
    #[error("it is cut off")]
    Cut,
    /// A tensor is not there.
    #[error("it has no tensor {0}")]
    Missing(String),
    /// A tensor has other dimensions, or numbers of another kind.
    #[error("its tensor {0} has another shape")]
    Shape(String),
}

/// A matrix of rows; each block of 32 numbers shares a scale.
#[derive(Clone, Copy)]
pub struct Q8<'a> {
    blocks: &'a [[u8; BLOCK_BYTES]],
    /// Blocks of a row, never 0.
    row: usize,
}

impl<'a> Q8<'a> {
    /// The rows, from the first on.
    pub fn rows(self) -> impl Iterator<Item = &'a [[u8; BLOCK_BYTES]]> {
        self.blocks.chunks_exact(self.row)
    }

    /// One row.
    pub fn row(self, at: usize) -> Option<&'a [[u8; BLOCK_BYTES]]> {
        self.blocks.chunks_exact(self.row).nth(at)
    }
}

/// Plain numbers.
#[derive(Clone, Copy)]
pub struct F32<'a>(&'a [[u8; 4]]);

impl<'a> F32<'a> {
    /// The numbers, from the first on.
    pub fn numbers(self) -> impl Iterator<Item = f32> + 'a {
        self.0.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }

    /// So many numbers from one on; fewer if there are no more.
    pub fn part(self, start: usize, count: usize) -> Self {
        let (_, from) = self.0.split_at_checked(start).unwrap_or((self.0, &[]));
        Self(from.get(..count).unwrap_or(from))
    }
}

struct Tensor<'a> {
    name: &'a str,
    /// The fastest first; a missing one is 1.
    dimensions: (usize, usize),
    kind: u32,
    bytes: &'a [u8],
}

/// The tensors of a file.
pub struct Gguf<'a>(Vec<Tensor<'a>>);

impl<'a> Gguf<'a> {
    /// Reads the list of tensors.
    ///
    /// # Errors
    /// The file is cut off, or not of the kind that is read here.
    pub fn new(file: &'a [u8]) -> Result<Self, GgufError> {
        let mut reader = Reader { rest: file };
        if reader.take(MAGIC.len()).ok() != Some(MAGIC) || reader.u32()? != VERSION {
            return Err(GgufError::Foreign);
        }
        if reader.size()? != TENSORS || reader.size()? != 0 {
            return Err(GgufError::Other);
        }
        let mut tensors = Vec::with_capacity(TENSORS);
        for _ in 0..TENSORS {
            tensors.push(reader.tensor()?);
        }
        let header = file.len() - reader.rest.len();
        let data = file.get(header.next_multiple_of(ALIGNMENT)..).ok_or(GgufError::Cut)?;
        let placed = tensors.into_iter().map(|(tensor, offset)| {
            let kind_bytes = match tensor.kind {
                KIND_F32 => Some((1, 4)),
                KIND_Q8_0 => Some((BLOCK, BLOCK_BYTES)),
                _ => None,
            };
            let shape = || GgufError::Shape(tensor.name.to_owned());
            let (numbers, bytes) = kind_bytes.ok_or_else(shape)?;
            let count = tensor.dimensions.0.checked_mul(tensor.dimensions.1).ok_or_else(shape)?;
            if !tensor.dimensions.0.is_multiple_of(numbers) {
                return Err(shape());
            }
            let length = (count / numbers).checked_mul(bytes).ok_or_else(shape)?;
            let bytes = data.get(offset..).and_then(|from| from.get(..length)).ok_or(GgufError::Cut)?;
            Ok(Tensor { bytes, ..tensor })
        });
        placed.collect::<Result<_, _>>().map(Self)
    }

    /// A matrix, by its name.
    ///
    /// # Errors
    /// It is not there, or has other dimensions.
    pub fn q8(&self, name: &str, columns: usize, rows: usize) -> Result<Q8<'a>, GgufError> {
        let bytes = self.find(name, KIND_Q8_0, (columns, rows))?;
        Ok(Q8 { blocks: bytes.as_chunks().0, row: (columns / BLOCK).max(1) })
    }

    /// Plain numbers in one or two dimensions, by their name.
    ///
    /// # Errors
    /// They are not there, or have other dimensions.
    pub fn f32(&self, name: &str, columns: usize, rows: usize) -> Result<F32<'a>, GgufError> {
        Ok(F32(self.find(name, KIND_F32, (columns, rows))?.as_chunks().0))
    }

    fn find(&self, name: &str, kind: u32, dimensions: (usize, usize)) -> Result<&'a [u8], GgufError> {
        let found = self.0.iter().find(|tensor| tensor.name == name);
        let tensor = found.ok_or_else(|| GgufError::Missing(name.to_owned()))?;
        let same = tensor.kind == kind && tensor.dimensions == dimensions;
        same.then_some(tensor.bytes).ok_or_else(|| GgufError::Shape(name.to_owned()))
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], GgufError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(GgufError::Cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        let bytes = self.take(4)?.try_into().map_err(|_| GgufError::Cut)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Eight bytes that count something in memory.
    fn size(&mut self) -> Result<usize, GgufError> {
        let bytes = self.take(8)?.try_into().map_err(|_| GgufError::Cut)?;
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| GgufError::Other)
    }

    /// What the list says of a tensor, and where its numbers begin.
    fn tensor(&mut self) -> Result<(Tensor<'a>, usize), GgufError> {
        let length = self.size()?;
        if length > NAME_BYTES_MAX {
            return Err(GgufError::Other);
        }
        let name = std::str::from_utf8(self.take(length)?).map_err(|_| GgufError::Other)?;
        let dimensions = match self.u32()? {
            1 => (self.size()?, 1),
            2 => (self.size()?, self.size()?),
            _ => return Err(GgufError::Shape(name.to_owned())),
        };
        let (kind, offset) = (self.u32()?, self.size()?);
        Ok((Tensor { name, dimensions, kind, bytes: &[] }, offset))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A file of our kind with little in it; what it begins with, and how a tensor is described, can be changed.
    fn file(head: &[u8], describe: impl Fn(usize, &mut (u64, u64, u32, u64))) -> Vec<u8> {
        let mut file = [MAGIC, head].concat();
        let mut data = Vec::new();
        for at in 0..TENSORS {
            let rounded = at.is_multiple_of(2);
            let mut words = (32, 2, if rounded { 8 } else { 0 }, data.len() as u64);
            describe(at, &mut words);
            file.extend(4_u64.to_le_bytes());
            file.extend(format!("t{at:03}").bytes());
            file.extend(2_u32.to_le_bytes());
            file.extend([words.0.to_le_bytes(), words.1.to_le_bytes()].concat());
            file.extend(words.2.to_le_bytes());
            file.extend(words.3.to_le_bytes());
            data.extend(std::iter::repeat_n(u8::try_from(at).unwrap(), if rounded { 68 } else { 256 }));
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(data);
        file
    }

    fn head(version: u32, tensors: u64, settings: u64) -> Vec<u8> {
        [&version.to_le_bytes()[..], &tensors.to_le_bytes(), &settings.to_le_bytes()].concat()
    }

    fn right() -> Vec<u8> {
        file(&head(2, 101, 0), |_, _| {})
    }

    #[test]
    fn tensors_are_found_by_name_and_shape() {
        let file = right();
        let gguf = Gguf::new(&file).unwrap();
        let rounded = gguf.q8("t002", 32, 2).unwrap();
        assert_eq!(rounded.rows().collect::<Vec<_>>(), [[[2; BLOCK_BYTES]]; 2]);
        assert_eq!((rounded.row(1), rounded.row(2)), (Some([[2; BLOCK_BYTES]].as_slice()), None));
        let plain = gguf.f32("t099", 32, 2).unwrap();
        let number = f32::from_le_bytes([99; 4]);
        assert_eq!(plain.numbers().collect::<Vec<_>>(), [number; 64]);
        assert_eq!((plain.part(60, 9).numbers().count(), plain.part(65, 1).numbers().count()), (4, 0));
        let shape = |name: &str| Some(GgufError::Shape(name.to_owned()));
        assert_eq!(gguf.q8("t002", 64, 1).err(), shape("t002"));
        assert_eq!(gguf.q8("t003", 32, 2).err(), shape("t003"));
        assert_eq!(gguf.f32("t002", 32, 2).err(), shape("t002"));
        assert_eq!(gguf.f32("t200", 32, 2).err(), Some(GgufError::Missing("t200".to_owned())));
    }

    #[test]
    fn a_file_that_ends_anywhere_is_cut() {
        let file = right();
        for end in 4..file.len() - 28 {
            assert_eq!(Gguf::new(&file[..end]).err(), Some(GgufError::Cut), "{end} bytes of {}", file.len());
        }
        for end in 0..4 {
            assert_eq!(Gguf::new(&file[..end]).err(), Some(GgufError::Foreign));
        }
    }

    #[test]
    fn foreign_files_are_refused() {
        let check = |file: &[u8], expect: GgufError| assert_eq!(Gguf::new(file).err(), Some(expect));
        let shape = || GgufError::Shape("t004".to_owned());
        let with = |change: fn(&mut (u64, u64, u32, u64))| {
            file(&head(2, 101, 0), |at, words| {
                if at == 4 {
                    change(words)
                }
            })
        };
        check(b"", GgufError::Foreign);
        check(b"PK\x03\x04 a zip file, and not a short one", GgufError::Foreign);
        check(&file(&head(3, 101, 0), |_, _| {}), GgufError::Foreign);
        check(&file(&head(2, 102, 0), |_, _| {}), GgufError::Other);
        check(&file(&head(2, u64::MAX, 0), |_, _| {}), GgufError::Other);
        check(&file(&head(2, 101, 1), |_, _| {}), GgufError::Other);
        check(&with(|words| words.2 = 2), shape());
        check(&with(|words| words.0 = 33), shape());
        check(&with(|words| words.0 = u64::MAX / 32 * 32), shape());
        check(&with(|words| (words.0, words.1) = (1 << 40, 1 << 30)), shape());
        check(&with(|words| words.1 = 1 << 20), GgufError::Cut);
        check(&with(|words| words.3 = u64::MAX), GgufError::Cut);
        check(&with(|words| words.3 = 1 << 40), GgufError::Cut);
        let mut long = right();
        long[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
        check(&long, GgufError::Other);
        let mut name = right();
        name[32] = 0xff;
        check(&name, GgufError::Other);
        let mut rank = right();
        rank[36] = 3;
        check(&rank, GgufError::Shape("t000".to_owned()));
    }
}
