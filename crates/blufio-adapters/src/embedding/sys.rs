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

// SAFETY: it is memory that is only read, and belongs to no thread.
unsafe impl Send for Map {}

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
    pub fn row(self, weights: &[[u8; BLOCK_BYTES]], scales: &[f32], inputs: &[[i16; BLOCK]], sums: &mut [[f32; 8]]) {
        // SAFETY: there is a value of this type, so the processor has AVX2.
        unsafe { avx2::row(weights, scales, inputs, sums) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BLOCK, BLOCK_BYTES};
    use std::arch::x86_64::{
        __m256, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps,
        _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    /// Inputs that are worked on side by side, so that no addition waits for the one before.
    const TILE: usize = 4;

    #[target_feature(enable = "avx2")]
    pub fn row(weights: &[[u8; BLOCK_BYTES]], scales: &[f32], inputs: &[[i16; BLOCK]], sums: &mut [[f32; 8]]) {
        let (tiles, rest) = sums.as_chunks_mut::<TILE>();
        let (four, one) = inputs.split_at_checked(tiles.len() * TILE * weights.len()).unwrap_or((inputs, &[]));
        for (sums, inputs) in tiles.iter_mut().zip(four.chunks_exact(TILE * weights.len())) {
            let (ab, cd) = inputs.split_at(2 * weights.len());
            let ((a, b), (c, d)) = (ab.split_at(weights.len()), cd.split_at(weights.len()));
            let mut lanes = [_mm256_setzero_ps(); TILE];
            for (((((block, scale), a), b), c), d) in weights.iter().zip(scales).zip(a).zip(b).zip(c).zip(d) {
                let (low, high) = spread(block);
                let scale = _mm256_set1_ps(*scale);
                lanes = [
                    _mm256_add_ps(lanes[0], _mm256_mul_ps(scale, times(low, high, a))),
                    _mm256_add_ps(lanes[1], _mm256_mul_ps(scale, times(low, high, b))),
                    _mm256_add_ps(lanes[2], _mm256_mul_ps(scale, times(low, high, c))),
                    _mm256_add_ps(lanes[3], _mm256_mul_ps(scale, times(low, high, d))),
                ];
            }
            sums.iter_mut().zip(lanes).for_each(|(sum, lanes)| store(sum, lanes));
        }
        for (sum, input) in rest.iter_mut().zip(one.chunks_exact(weights.len())) {
            let mut lanes = _mm256_setzero_ps();
            for ((block, scale), input) in weights.iter().zip(scales).zip(input) {
                let (low, high) = spread(block);
                lanes = _mm256_add_ps(lanes, _mm256_mul_ps(_mm256_set1_ps(*scale), times(low, high, input)));
            }
            store(sum, lanes);
        }
    }

    /// The 32 signed bytes of a block, as twice 16 numbers of 16 bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn spread(block: &[u8; BLOCK_BYTES]) -> (__m256i, __m256i) {
        // SAFETY: behind the two bytes of the scale lie 32 more; neither load needs an alignment.
        let (low, high) = unsafe {
            let values = block.as_ptr().add(2);
            (_mm_loadu_si128(values.cast()), _mm_loadu_si128(values.add(BLOCK / 2).cast()))
        };
        (_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high))
    }

    /// Eight sums of four products each.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn times(low: __m256i, high: __m256i, input: &[i16; BLOCK]) -> __m256 {
        // SAFETY: these are 64 bytes, twice 32; neither load needs an alignment.
        let (first, second) = unsafe {
            let input = input.as_ptr();
            (_mm256_loadu_si256(input.cast()), _mm256_loadu_si256(input.add(BLOCK / 2).cast()))
        };
        _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_madd_epi16(low, first), _mm256_madd_epi16(high, second)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(sum: &mut [f32; 8], lanes: __m256) {
        // SAFETY: there is place for eight numbers; the store needs no alignment.
        unsafe { _mm256_storeu_ps(sum.as_mut_ptr(), lanes) }
    }
}
