//! Bodies of `application/x-www-form-urlencoded`, read strictly.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// Longest body.
pub const FORM_LEN_MAX: usize = 64 << 10;
/// Most parameters.
pub const FORM_PARAMETERS_MAX: usize = 32;
/// Longest name of a parameter.
const NAME_LEN_MAX: usize = 64;

/// Why a body is not a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Longer than [`FORM_LEN_MAX`].
    #[error("the body is longer than {FORM_LEN_MAX} bytes")]
    TooLong,
    /// More parameters than [`FORM_PARAMETERS_MAX`].
    #[error("the body has more than {FORM_PARAMETERS_MAX} parameters")]
    TooMany,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8 text.
    #[error("the body is not `application/x-www-form-urlencoded`")]
    Encoding,
    /// A parameter without a name, or with one that is too long.
    #[error("a parameter has no name or one longer than {NAME_LEN_MAX} bytes")]
    Name,
    /// RFC 6749 §3.2: parameters must not be repeated.
    #[error("the parameter `{0}` is repeated")]
    Repeated(String),
}

/// The parameters of a form; values may be secrets and are overwritten when dropped.
#[derive(Debug)]
pub(crate) struct Form(BTreeMap<String, Zeroizing<String>>);

impl Form {
    /// Reads a body. Parameters without a value count as left out (RFC 6749 §3.2), except that
    /// they may not be repeated either.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, FormError> {
        if body.len() > FORM_LEN_MAX {
            return Err(FormError::TooLong);
        }
        let mut parameters = BTreeMap::new();
        for pair in body
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            if parameters.len() == FORM_PARAMETERS_MAX {
                return Err(FormError::TooMany);
            }
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = match equals.and_then(|at| pair.split_at_checked(at)) {
                Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
                None => (pair, &[][..]),
            };
            let name = decode(name)?;
            if !(1..=NAME_LEN_MAX).contains(&name.len()) {
                return Err(FormError::Name);
            }
            let value = Zeroizing::new(decode(value)?);
            if parameters.insert(name.clone(), value).is_some() {
                return Err(FormError::Repeated(name));
            }
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter, unless it is missing or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = hex(rest.next())?;
                (high << 4) | hex(rest.next())?
            }
            // What may stand unescaped is printable ASCII (WHATWG URL §5.2).
            byte if byte.is_ascii_graphic() => *byte,
            _ => return Err(FormError::Encoding),
        });
    }
    String::from_utf8(bytes).map_err(|_| FormError::Encoding)
}

fn hex(digit: Option<&u8>) -> Result<u8, FormError> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(FormError::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_left_out() {
        let form = Form::parse(b"a=1%2B%C3%A4+b&c=&d&&e==").unwrap();
        assert_eq!(form.get("a"), Some("1+ä b"));
        assert_eq!(
            (form.get("c"), form.get("d"), form.get("x")),
            (None, None, None)
        );
        assert_eq!(form.get("e"), Some("="));
    }

    #[test]
    fn bodies_that_are_no_form_are_refused() {
        use FormError::{Encoding, Name, Repeated, TooLong, TooMany};
        let many = (0..=FORM_PARAMETERS_MAX)
            .map(|i| format!("p{i}=x"))
            .collect::<Vec<_>>();
        let long_name = format!("{}=x", "n".repeat(NAME_LEN_MAX + 1));
        for (body, why) in [
            (b"a=%".to_vec(), Encoding),
            (b"a=%2".to_vec(), Encoding),
            (b"a=%g0".to_vec(), Encoding),
            (b"a=%ff".to_vec(), Encoding),
            (b"a=b c".to_vec(), Encoding),
            (b"a=b\n".to_vec(), Encoding),
            ("a=ä".as_bytes().to_vec(), Encoding),
            (b"=x".to_vec(), Name),
            (long_name.into_bytes(), Name),
            (b"a=1&b=2&a=1".to_vec(), Repeated("a".to_owned())),
            (b"a=1&%61=2".to_vec(), Repeated("a".to_owned())),
            (b"a=&a=2".to_vec(), Repeated("a".to_owned())),
            (many.join("&").into_bytes(), TooMany),
            (vec![b'a'; FORM_LEN_MAX + 1], TooLong),
        ] {
            assert_eq!(
                Form::parse(&body).err(),
                Some(why),
                "{}",
                body.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn what_another_implementation_writes_is_read_back(
            pairs in proptest::collection::btree_map("[a-z]{1,9}", ".{0,20}", 0..9),
        ) {
            let text = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&pairs)
                .finish();
            let form = Form::parse(text.as_bytes()).unwrap();
            for (name, value) in &pairs {
                prop_assert_eq!(form.get(name).unwrap_or_default(), value);
            }
        }

        #[test]
        fn reading_any_bytes_never_panics(body: Vec<u8>) {
            let _ = Form::parse(&body);
        }
    }
}
