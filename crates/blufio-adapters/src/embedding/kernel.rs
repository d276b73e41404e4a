//! Products of the stored matrices with rows of numbers, in whole numbers: the weights are signed bytes as they lie in the file,
//! the inputs are rounded to 16 bits with one scale a row. With AVX2 or without, the result is the same to the last bit: the
//! sums of a block are exact, and what follows is done in the same order.

use super::gguf::{BLOCK, BLOCK_BYTES, F32, Q8};
#[cfg(target_arch = "x86_64")]
use super::sys::Avx2;

/// Sums that are kept side by side.
const LANES: usize = 8;
/// Blocks of the longest row: 1,536 numbers.
const BLOCKS_MAX: usize = 48;
/// Rows of inputs that are multiplied at once, so that they stay in the processor's cache.
pub const INPUTS_MAX: usize = 64;
/// The largest rounded input.
const INPUT_MAX: i32 = i16::MAX as i32;
// A lane sums four products of a block. Below 2^24 every whole number is an f32.
const _: () = assert!(4 * INPUT_MAX * 128 < 1 << 24);
/// Added to an f32 below 2^22, it leaves no place for anything behind the point: the low bits are then the rounded number.
const ROUNDING: f32 = 12_582_912.0;

/// How products are made.
#[derive(Clone, Copy, Debug)]
pub enum Kernel {
    /// On any processor.
    Plain,
    /// Sixteen products at once.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Kernel {
    /// The fastest that this processor has.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::detect() {
            return Self::Avx2(avx2);
        }
        Self::Plain
    }

    /// The product of the row of weights with each input, which has as many blocks.
    fn row(self, weights: &[[u8; BLOCK_BYTES]], scales: &[f32], inputs: &[[i16; BLOCK]], sums: &mut [f32]) {
        match self {
            Self::Plain => plain_row(weights, scales, inputs, sums),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.row(weights, scales, inputs, sums),
        }
    }

    /// Multiplies each input with each row of a matrix and adds the row's number of `bias`. `out` has a row for each input, and
    /// in it a number for each row of the matrix.
    pub fn multiply(self, inputs: &Rounded, matrix: Q8<'_>, bias: F32<'_>, out: &mut [f32]) {
        let mut sums = [0.0; INPUTS_MAX];
        let Some(sums) = sums.get_mut(..inputs.scales.len()) else { return };
        let columns = out.len() / sums.len().max(1);
        for (at, (row, bias)) in matrix.rows().zip(bias.numbers()).enumerate() {
            let mut scales = [0.0; BLOCKS_MAX];
            scales.iter_mut().zip(row).for_each(|(scale, block)| *scale = scale_of(block));
            self.row(row, &scales, &inputs.blocks, sums);
            let column = out.iter_mut().skip(at).step_by(columns.max(1));
            for ((out, sum), scale) in column.zip(sums.iter()).zip(&inputs.scales) {
                *out = sum * scale + bias;
            }
        }
    }
}

/// Rows of numbers, rounded to 16 bits.
#[derive(Default)]
pub struct Rounded {
    blocks: Vec<[i16; BLOCK]>,
    /// What each row is multiplied with.
    scales: Vec<f32>,
}

impl Rounded {
    /// Takes rows of so many numbers, a multiple of 32; at most [`INPUTS_MAX`] rows are read.
    pub fn take(&mut self, rows: &[f32], columns: usize) {
        self.blocks.clear();
        self.scales.clear();
        for row in rows.chunks_exact(columns).take(INPUTS_MAX) {
            let largest = largest(row);
            #[expect(clippy::cast_precision_loss, reason = "it is below 2^24")]
            let most = INPUT_MAX as f32;
            self.scales.push(largest / most);
            let factor = if largest > 0.0 { most / largest } else { 0.0 };
            for block in row.as_chunks::<BLOCK>().0 {
                let mut out = [0; BLOCK];
                for (out, value) in out.iter_mut().zip(block) {
                    #[expect(clippy::cast_possible_truncation, reason = "the low bits are the rounded number")]
                    let rounded = (value * factor + ROUNDING).to_bits() as i16;
                    *out = rounded;
                }
                self.blocks.push(out);
            }
        }
    }
}

/// The largest of the numbers without their signs.
fn largest(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for chunk in row.as_chunks::<LANES>().0 {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if value.abs() > *lane { value.abs() } else { *lane };
        }
    }
    lanes.into_iter().fold(0.0, f32::max)
}

/// Adds up lanes, always in this order.
fn fold(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The scale of a block: an f16. It is a normal number or zero in every file of ours; others come out finite.
pub fn scale_of(block: &[u8; BLOCK_BYTES]) -> f32 {
    let bits = u32::from(u16::from_le_bytes([block[0], block[1]]));
    // The exponent is moved to its place, and its bias corrected by a product that is exact.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

/// The 32 numbers of a block, without its scale.
pub fn values_of(block: &[u8; BLOCK_BYTES]) -> [i8; BLOCK] {
    let [_, _, values @ ..] = block;
    values.map(u8::cast_signed)
}

fn plain_row(weights: &[[u8; BLOCK_BYTES]], scales: &[f32], inputs: &[[i16; BLOCK]], sums: &mut [f32]) {
    let mut wide = [[0; BLOCK]; BLOCKS_MAX];
    wide.iter_mut().zip(weights).for_each(|(wide, block)| *wide = values_of(block).map(i16::from));
    for (sum, input) in sums.iter_mut().zip(inputs.chunks_exact(weights.len())) {
        let mut lanes = [0.0; LANES];
        for (at, input) in input.iter().enumerate() {
            let (Some(weights), Some(scale)) = (wide.get(at), scales.get(at)) else { break };
            for (lane, whole) in lanes.iter_mut().zip(plain_block(weights, input)) {
                #[expect(clippy::cast_precision_loss, reason = "it is below 2^24")]
                let whole = whole as f32;
                *lane += scale * whole;
            }
        }
        *sum = fold(lanes);
    }
}

/// Lane by lane: two products of the first half of a block, and two of the second.
fn plain_block(weights: &[i16; BLOCK], input: &[i16; BLOCK]) -> [i32; LANES] {
    let mut products = [0_i32; BLOCK];
    for (product, (weight, input)) in products.iter_mut().zip(weights.iter().zip(input)) {
        *product = i32::from(*weight) * i32::from(*input);
    }
    let mut lanes = [0; LANES];
    for half in products.as_chunks::<{ BLOCK / 2 }>().0 {
        for (lane, [first, second]) in lanes.iter_mut().zip(half.as_chunks::<2>().0) {
            *lane += first + second;
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scales_are_halves() {
        let check = |bits: u16, expect: f32| {
            let mut block = [0; BLOCK_BYTES];
            block[..2].copy_from_slice(&bits.to_le_bytes());
            assert_eq!(scale_of(&block).to_bits(), expect.to_bits(), "{bits:04x}");
        };
        check(0x3c00, 1.0);
        check(0xc000, -2.0);
        check(0x0000, 0.0);
        check(0x0001, 5.960_464_5e-8);
        check(0x03ff, 6.097_555e-5);
        check(0x7bff, 65_504.0);
        check(0x1555, 0.001_301_765_4);
    }

    #[test]
    fn rounding_is_to_the_nearest() {
        let mut row = [0.0_f32; BLOCK];
        row[..6].copy_from_slice(&[32_767.0, -32_767.0, 0.4, -0.6, 1_000.6, -1_000.4]);
        let mut rounded = Rounded::default();
        rounded.take(&row, BLOCK);
        assert_eq!(rounded.blocks[0][..7], [32_767, -32_767, 0, -1, 1_001, -1_000, 0]);
        rounded.take(&[0.0; BLOCK], BLOCK);
        assert_eq!((rounded.blocks.as_slice(), rounded.scales.as_slice()), ([[0; BLOCK]].as_slice(), [0.0].as_slice()));
    }

    #[test]
    fn the_largest_sum_is_exact() {
        let block = [0x80; BLOCK_BYTES];
        let sum = 4 * 128 * i32::from(i16::MAX);
        assert_eq!(plain_block(&[-128; BLOCK], &[-i16::MAX; BLOCK]), [sum; LANES]);
        assert_eq!(plain_block(&[-128; BLOCK], &[i16::MAX; BLOCK]), [-sum; LANES]);
        for kernel in [Kernel::Plain, Kernel::best()] {
            let mut sums = [0.0; 5];
            kernel.row(&[block], &[1.0], &[[i16::MAX; BLOCK]; 5], &mut sums);
            #[expect(clippy::cast_precision_loss, reason = "it is below 2^24")]
            let expect = (-8 * sum) as f32;
            assert_eq!(sums, [expect; 5]);
        }
    }

    proptest! {
        #[test]
        fn both_ways_give_the_same_bits(
            blocks in prop_oneof![Just(1_usize), Just(12), Just(48)],
            inputs in 1_usize..=9,
            seed in any::<u64>(),
        ) {
            let mut state = seed | 1;
            let mut next = move || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            };
            let weights: Vec<[u8; BLOCK_BYTES]> = (0..blocks).map(|_| std::array::from_fn(|_| next()[3])).collect();
            let scales: Vec<f32> = weights.iter().map(scale_of).collect();
            let input: Vec<[i16; BLOCK]> = (0..blocks * inputs)
                .map(|_| std::array::from_fn(|_| { let bytes = next(); i16::from_le_bytes([bytes[1], bytes[2]]).max(-i16::MAX) }))
                .collect();
            let (mut plain, mut best) = (vec![0.0; inputs], vec![0.0; inputs]);
            Kernel::Plain.row(&weights, &scales, &input, &mut plain);
            Kernel::best().row(&weights, &scales, &input, &mut best);
            let bits = |sums: &[f32]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&plain), bits(&best));
        }
    }
}
