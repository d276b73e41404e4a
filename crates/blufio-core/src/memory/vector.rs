//! The meaning of a text as a point on the unit sphere, in eight bits a number.

/// Numbers of a vector.
pub const DIMENSIONS: usize = 384;
/// Bytes of the signs of a vector.
pub const SIGN_BYTES: usize = DIMENSIONS / 8;

/// A text's vector, of length one.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// What each number is multiplied with.
    scale: f32,
    values: Box<[i8; DIMENSIONS]>,
}

impl Vector {
    /// Makes it as long as one and rounds it; `None` if it has no direction (zero, infinite or not a number) or other dimensions.
    #[must_use]
    pub fn new(values: &[f32]) -> Option<Self> {
        let values: &[f32; DIMENSIONS] = values.try_into().ok()?;
        let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        if !length.is_normal() {
            return None;
        }
        let most = values.iter().fold(0.0_f32, |most, value| most.max((value / length).abs()));
        let scale = most / 127.0;
        #[expect(clippy::cast_possible_truncation, reason = "no number is over 127")]
        let rounded = values.map(|value| (value / length / scale).round() as i8);
        Some(Self { scale, values: Box::new(rounded) })
    }

    /// Takes a stored one; `None` if it has other dimensions or no scale.
    #[must_use]
    pub fn stored(scale: f32, bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; DIMENSIONS] = bytes.try_into().ok()?;
        let whole = scale.is_normal() && scale > 0.0;
        whole.then(|| Self { scale, values: Box::new(bytes.map(u8::cast_signed)) })
    }

    /// What each number is multiplied with.
    #[must_use]
    pub const fn scale(&self) -> f32 {
        self.scale
    }

    /// As it is stored: a byte per number.
    #[must_use]
    pub fn bytes(&self) -> [u8; DIMENSIONS] {
        self.values.map(i8::cast_unsigned)
    }

    /// How alike two texts are: the cosine of the angle between them, from -1 to 1.
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        let sum: i32 = self.values.iter().zip(other.values.iter()).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        #[expect(clippy::cast_precision_loss, reason = "the sum is below 2^23")]
        let sum = sum as f32;
        (sum * self.scale * other.scale).clamp(-1.0, 1.0)
    }

    /// A bit per number: whether it is above zero. Few differ between texts that are alike.
    #[must_use]
    pub fn signs(&self) -> [u8; SIGN_BYTES] {
        let mut signs = [0; SIGN_BYTES];
        for (byte, values) in signs.iter_mut().zip(self.values.chunks_exact(8)) {
            *byte = values.iter().fold(0, |bits, value| bits << 1 | u8::from(*value > 0));
        }
        signs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_no_direction_is_no_vector() {
        assert_eq!(Vector::new(&[0.0; DIMENSIONS]), None);
        assert_eq!(Vector::new(&[f32::NAN; DIMENSIONS]), None);
        assert_eq!(Vector::new(&[f32::INFINITY; DIMENSIONS]), None);
        assert_eq!(Vector::new(&[1.0; 12]), None);
        assert_eq!(Vector::stored(0.0, &[1; DIMENSIONS]), None);
        assert_eq!(Vector::stored(0.1, &[1; DIMENSIONS - 1]), None);
    }

    proptest! {
        #[test]
        fn rounding_keeps_the_angle(a in proptest::collection::vec(-1.0_f32..1.0, DIMENSIONS), b in proptest::collection::vec(-1.0_f32..1.0, DIMENSIONS)) {
            let (Some(first), Some(second)) = (Vector::new(&a), Vector::new(&b)) else { return Ok(()) };
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let exact = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
            prop_assert!((first.cosine(&second) - exact).abs() < 0.01, "{} {exact}", first.cosine(&second));
            prop_assert!((first.cosine(&first) - 1.0).abs() < 0.01);
            prop_assert_eq!(Vector::stored(first.scale(), &first.bytes()).unwrap(), first);
        }
    }
}
