//! Memory that is a file, and instructions that not every processor has: the one module of this crate with `unsafe`. It decides
//! nothing.
#![expect(unsafe_code, reason = "mapping a file and AVX2 have no safe form; each block says why it holds")]

use super::gguf::{BLOCK, BLOCK_BYTES};
use rustix::mm::{MapFlags, ProtFlags};
use std::fs::File;
use std::io;
use std::ptr::NonNull;

/// A file as memory, for reading. Its pages are the kernel's own of that file: it takes them back when memory is short.
pub struct Map {
    start: NonNull<u8>,
    length: usize,
}

impl Map {
    /// Maps the first bytes of a file. It must not become shorter while it is mapped: whoever replaces it writes another file
    /// and renames it. Reading what was cut off would end this process.
    ///
    /// # Errors
    /// The file is shorter, or cannot be mapped.
    pub fn new(file: &File, length: usize) -> io::Result<Self> {
        if length == 0 || file.metadata()?.len() < length as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the kernel chooses the place, so nothing that is mapped already is touched.
        let start =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped for reading as long as this lives. The file is in a folder of our own and replaced by
        // renaming alone, so nothing changes them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it was mapped here with this length, and what borrowed from it is gone.
        let gone = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
        if let Err(error) = gone {
            tracing::warn!(%error, "the embedding model could not be unmapped");
        }
    }
}

/// Gives the whole pages of the compiled-in weights back; they are read from the program's file when they are used again. Other
/// bytes are left alone.
pub fn forget(bytes: &'static [u8]) {
    if !super::EMBEDDED.is_some_and(|embedded| std::ptr::eq(bytes, embedded)) {
        return;
    }
    let page = rustix::param::page_size();
    let skipped = bytes.as_ptr().align_offset(page);
    let length = bytes.len().saturating_sub(skipped) / page * page;
    let start: *mut std::ffi::c_void = bytes.as_ptr().wrapping_add(skipped).cast_mut().cast();
    // SAFETY: these pages hold constants of the program alone, which nothing writes; the next access finds the same bytes.
    #[cfg(target_os = "linux")]
    if let Err(error) = unsafe { rustix::mm::madvise(start, length, rustix::mm::Advice::LinuxDontNeed) } {
        tracing::debug!(%error, "the pages of the embedding model stay");
    }
    #[cfg(not(target_os = "linux"))]
    tracing::trace!(?start, length, "the system takes back what it needs");
}

/// Shows that this processor has AVX2.
#[derive(Clone, Copy, Debug)]
#[cfg(target_arch = "x86_64")]
pub struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// Asks the processor.
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// See [`super::kernel::Kernel::row`].
    pub fn row(self, weights: &[[u8; BLOCK_BYTES]], scales: &[f32], inputs: &[[i16; BLOCK]], sums: &mut [f32]) {
        // SAFETY: there is a value of this type, so the processor has AVX2.
        unsafe { avx2::row(weights, scales, inputs, sums) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BLOCK, BLOCK_BYTES};
    use std::arch::x86_64::{
        __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128, _mm_movehl_ps, _mm_shuffle_ps,
        _mm256_add_epi32, _mm256_add_ps, _mm256_castps256_ps128, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps,
        _mm256_extractf128_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps,
    };

    #[target_feature(enable = "avx2")]
    pub fn row(weights: &[[u8; BLOCK_BYTES]], scales: &[f32], inputs: &[[i16; BLOCK]], sums: &mut [f32]) {
        let blocks = weights.len();
        assert!(
            scales.len() >= blocks && inputs.len() == blocks * sums.len(),
            "every block has a scale, every sum an input"
        );
        let mut input = inputs.as_ptr();
        let (tiles, rest) = sums.as_chunks_mut::<4>();
        // Four side by side, so that no addition waits for the one before.
        for [a, b, c, d] in tiles {
            let (mut sum_a, mut sum_b) = (_mm256_setzero_ps(), _mm256_setzero_ps());
            let (mut sum_c, mut sum_d) = (_mm256_setzero_ps(), _mm256_setzero_ps());
            for at in 0..blocks {
                // SAFETY: there are so many weights and scales, and four times as many blocks of inputs are left, as was
                // asserted above.
                unsafe {
                    let (low, high) = spread(weights.as_ptr().add(at));
                    let scale = _mm256_set1_ps(*scales.as_ptr().add(at));
                    let place = input.add(at);
                    sum_a = _mm256_add_ps(sum_a, _mm256_mul_ps(scale, times(low, high, place)));
                    sum_b = _mm256_add_ps(sum_b, _mm256_mul_ps(scale, times(low, high, place.add(blocks))));
                    sum_c = _mm256_add_ps(sum_c, _mm256_mul_ps(scale, times(low, high, place.add(2 * blocks))));
                    sum_d = _mm256_add_ps(sum_d, _mm256_mul_ps(scale, times(low, high, place.add(3 * blocks))));
                }
            }
            input = input.wrapping_add(4 * blocks);
            (*a, *b, *c, *d) = (fold(sum_a), fold(sum_b), fold(sum_c), fold(sum_d));
        }
        for out in rest {
            let mut sum = _mm256_setzero_ps();
            for at in 0..blocks {
                // SAFETY: as above, with one input.
                unsafe {
                    let (low, high) = spread(weights.as_ptr().add(at));
                    let scale = _mm256_set1_ps(*scales.as_ptr().add(at));
                    sum = _mm256_add_ps(sum, _mm256_mul_ps(scale, times(low, high, input.add(at))));
                }
            }
            input = input.wrapping_add(blocks);
            *out = fold(sum);
        }
    }

    /// The 32 signed bytes of a block, as twice 16 numbers of 16 bits. The block must be there.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn spread(block: *const [u8; BLOCK_BYTES]) -> (__m256i, __m256i) {
        // SAFETY: behind the two bytes of the scale lie 32 more; neither load needs an alignment.
        let (low, high) = unsafe {
            let values = block.cast::<u8>().add(2);
            (_mm_loadu_si128(values.cast()), _mm_loadu_si128(values.add(BLOCK / 2).cast()))
        };
        (_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high))
    }

    /// Eight sums of four products each. The input must be there.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn times(low: __m256i, high: __m256i, input: *const [i16; BLOCK]) -> __m256 {
        // SAFETY: these are 64 bytes, twice 32; neither load needs an alignment.
        let (first, second) = unsafe {
            let input = input.cast::<i16>();
            (_mm256_loadu_si256(input.cast()), _mm256_loadu_si256(input.add(BLOCK / 2).cast()))
        };
        _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_madd_epi16(low, first), _mm256_madd_epi16(high, second)))
    }

    /// Adds up lanes, in the order of the plain kernel.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fold(lanes: __m256) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}
