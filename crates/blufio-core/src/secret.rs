//! Text that must not be seen.
//!
//! A [`Secret`] cannot be printed, logged or stored by accident: it has no `Display` and no `Serialize`, its `Debug` shows
//! nothing, and its memory is overwritten when it goes. Whoever needs the text says [`Secret::expose`], at the last moment.

use std::fmt;
use zeroize::Zeroizing;

/// Text that must not be seen. A copy is made by `clone` alone.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes the text in; the memory it came in is overwritten.
    #[must_use]
    pub fn new(text: String) -> Self {
        let text = Zeroizing::new(text);
        // A copy of exactly its length: shrinking the string in place could leave its old memory behind.
        Self(Zeroizing::new(Box::from(text.as_str())))
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Without white space around it; `None` if nothing is left.
    #[must_use]
    pub fn trimmed(&self) -> Option<Self> {
        let text = self.0.trim();
        (!text.is_empty()).then(|| Self(Zeroizing::new(Box::from(text))))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Does not compile if `$type` implements one of the traits: then the method is there twice.
    macro_rules! implements_none_of {
        ($type:ty: $($bound:path),+) => {$({
            trait Unless<Marker> {
                fn met() {}
            }
            impl<T: ?Sized> Unless<()> for T {}
            struct Met;
            impl<T: ?Sized + $bound> Unless<Met> for T {}
            <$type as Unless<_>>::met();
        })+};
    }

    #[test]
    fn a_secret_cannot_be_shown() {
        implements_none_of!(Secret: fmt::Display, serde::Serialize, AsRef<str>, Into<String>, std::ops::Deref, PartialEq);
        let secret = Secret::new("sk-canary".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(…) Some(Secret(…))");
        assert_eq!(secret.expose(), "sk-canary");
        assert_eq!(secret.clone().expose(), "sk-canary");
    }

    #[test]
    fn white_space_around_a_secret_goes() {
        let check = |text: &str, expect: Option<&str>| {
            let trimmed = Secret::new(text.to_owned()).trimmed();
            assert_eq!(trimmed.as_ref().map(Secret::expose), expect, "{text:?}");
        };
        check(" sk \n", Some("sk"));
        check("s k", Some("s k"));
        check("  \n", None);
        check("", None);
    }
}
