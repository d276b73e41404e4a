//! The curves that the model is made of, from sums, products and divisions alone: they are the same on every machine, and the
//! compiler can work on several numbers at once.

/// Divided by the standard deviation of a row, so that a row of equal numbers does not divide by zero.
const EPSILON: f32 = 1e-12;
/// Added to an f32 below 2^22, it leaves no place for anything behind the point.
const ROUNDING: f32 = 12_582_912.0;

/// `e` to the power of a number up to 0, to a relative error of 2e-7; below -87 it is as at -87, which is next to nothing.
fn exp(x: f32) -> f32 {
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let whole = shifted - ROUNDING;
    // ln 2 in two parts: the first has so few bits that the product is exact.
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4;
    for factor in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5, 1.0, 1.0] {
        sum = sum * rest + factor;
    }
    // The low bits hold the power of two; it is put where an f32 has its exponent.
    sum * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// The error function, to an absolute error of 5e-7.
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut above = -2.726_142_3e-10;
    for factor in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2] {
        above = above * square + factor;
    }
    let mut below = -1.456_607_2e-5;
    for factor in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        below = below * square + factor;
    }
    x * above / below
}

/// Each number times the share of the normal distribution that is below it.
pub fn gelu(values: &mut [f32]) {
    for value in values {
        *value = *value * 0.5 * (1.0 + erf(*value * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// Makes shares of one of numbers: the larger, the more.
pub fn softmax(values: &mut [f32]) {
    let largest =
        values.iter().fold(f32::NEG_INFINITY, |largest, value| if *value > largest { *value } else { largest });
    values.iter_mut().for_each(|value| *value = exp(*value - largest));
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}

/// Moves and stretches a row to a mean of 0 and a variance of 1, then by the given factors and sums.
pub fn normalise(row: &mut [f32], factors: impl Iterator<Item = f32>, sums: impl Iterator<Item = f32>) {
    #[expect(clippy::cast_precision_loss, reason = "a row has hundreds of numbers")]
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / count;
    let stretch = 1.0 / (variance + EPSILON).sqrt();
    for ((value, factor), sum) in row.iter_mut().zip(factors).zip(sums) {
        *value = (*value - mean) * stretch * factor + sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By its series, which is exact enough up to 4.
    fn exact_erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn curves_are_near_the_exact_ones() {
        for step in -4_000..=4_000_i16 {
            let x = f32::from(step) / 1_000.0;
            assert!((f64::from(erf(x)) - exact_erf(f64::from(x))).abs() < 5e-7, "erf({x}) = {}", erf(x));
        }
        for step in 0..=8_600_i16 {
            let x = -f32::from(step) / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2e-7, "exp({x}) = {}", exp(x));
        }
        assert!(exp(-1e9) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38);
        assert_eq!((exp(0.0), erf(0.0), erf(9.0) > 0.999_999), (1.0, 0.0, true));
    }

    #[test]
    fn rows_are_shared_out_and_normalised() {
        let mut shares = [1.0, 2.0, 3.0, -500.0];
        softmax(&mut shares);
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-6 && shares[2] > 0.66 && shares[3] < 1e-30, "{shares:?}");
        let mut row = [1.0, 3.0];
        normalise(&mut row, [2.0, 2.0].into_iter(), [0.5, 0.5].into_iter());
        assert!((row[0] + 1.5).abs() < 1e-6 && (row[1] - 2.5).abs() < 1e-6, "{row:?}");
        let mut same = [7.0; 4];
        normalise(&mut same, [1.0; 4].into_iter(), [0.25; 4].into_iter());
        assert_eq!(same, [0.25; 4]);
    }
}
