//! Money is an integer number of micro-dollars; floats appear only when printing.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A millionth of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

/// A text that is not an amount of dollars.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an amount in dollars with at most six decimals")]
pub struct NotDollars(pub String);

impl MicroUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or the largest amount there is; saturation errs on the side of "too expensive".
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Parses a decimal string of dollars, `"0.125"`; at most six decimals, no sign, no exponent.
    pub fn parse_dollars(text: &str) -> Result<Self, NotDollars> {
        let wrong = || NotDollars(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
        whole.checked_mul(1_000_000).and_then(|micro| micro.checked_add(fraction)).map(Self).ok_or_else(wrong)
    }

    /// Dollars as people say them, `$1.20`; below a cent with as many decimals as it takes, `$0.0031`. Rounded up.
    #[must_use]
    pub fn cents(self) -> String {
        if self.0 == 0 || self.0 >= 10_000 {
            let cents = self.0.div_ceil(10_000);
            return format!("${}.{:02}", cents / 100, cents % 100);
        }
        let digits = format!("{:06}", self.0.div_ceil(100) * 100);
        format!("$0.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Display for MicroUsd {
    /// Dollars with six decimals, `$0.001234`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly_or_refused() {
        assert_eq!(MicroUsd::parse_dollars("0.125"), Ok(MicroUsd(125_000)));
        assert_eq!(MicroUsd::parse_dollars("2"), Ok(MicroUsd(2_000_000)));
        assert_eq!(MicroUsd::parse_dollars("0.000001"), Ok(MicroUsd(1)));
        for wrong in ["", ".5", "1.", "-1", "1e3", "0.0000001", "1,5", "99999999999999999999"] {
            assert!(MicroUsd::parse_dollars(wrong).is_err(), "{wrong}");
        }
        assert_eq!(MicroUsd(1_234_567).to_string(), "$1.234567");
        let said = |micro| MicroUsd(micro).cents();
        assert_eq!([said(0), said(1_200_000), said(1_200_001), said(9_999_999)], ["$0.00", "$1.20", "$1.21", "$10.00"]);
        assert_eq!([said(3_050), said(10_000), said(40), said(9_900)], ["$0.0031", "$0.01", "$0.0001", "$0.0099"]);
    }
}
