//! Looking for a credential in what comes back, however it is cut into pieces.

use aims_types::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The shortest piece of an encoded credential that counts as it.
const ENCODED_LEN_MIN: usize = 12;

/// Looks through a stream for the forms of one credential: as it is, as JSON escapes it, in
/// percent-encoding, in hexadecimal, and in Base64 and Base64url wherever it begins.
///
/// What may be the beginning of one is held back until it is clear.
pub(super) struct Scrubber {
    forms: Vec<Secret<Vec<u8>>>,
    held: Secret<Vec<u8>>,
}

/// The credential was found: nothing more may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaked;

impl Scrubber {
    pub(super) fn new(credential: &[u8]) -> Self {
        let mut forms = vec![
            credential.to_vec(),
            hex(credential, false),
            hex(credential, true),
        ];
        forms.extend([b"\\/".as_slice(), b"\\u002f", b"\\u002F"].map(|to| slashes(credential, to)));
        forms.extend([percent(credential, false), percent(credential, true)]);
        forms.extend((0..3).flat_map(|before| base64_from(credential, before)));
        forms.sort_unstable();
        forms.dedup();
        Self {
            forms: forms.into_iter().map(Secret::new).collect(),
            held: Secret::new(Vec::new()),
        }
    }

    /// Whether a text on its own holds the credential.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        (0..text.len()).any(|at| self.begins(text.get(at..).unwrap_or_default()) == Begins::Whole)
    }

    /// Takes the next piece; gives what may go on.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<u8>, Leaked> {
        let mut text = [self.held.expose().as_slice(), piece].concat();
        let mut hold = text.len();
        for at in 0..text.len() {
            match self.begins(text.get(at..).unwrap_or_default()) {
                Begins::Whole => return Err(Leaked),
                Begins::Part => hold = hold.min(at),
                Begins::Not => {}
            }
        }
        self.held = Secret::new(text.split_off(hold));
        Ok(text)
    }

    /// What was held back and did not become a credential.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let rest = self.held.expose().clone();
        self.held = Secret::new(Vec::new());
        rest
    }

    /// Whether `text` begins with a form, or with all of the text being the beginning of one.
    fn begins(&self, text: &[u8]) -> Begins {
        let mut found = Begins::Not;
        for form in &self.forms {
            let form = form.expose();
            if text.starts_with(form) {
                return Begins::Whole;
            }
            if form.starts_with(text) {
                found = Begins::Part;
            }
        }
        found
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    Whole,
    Part,
    Not,
}

fn hex(bytes: &[u8], upper: bool) -> Vec<u8> {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let cased = |c: char| if upper { c.to_ascii_uppercase() } else { c };
    let pairs = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    pairs
        .map(|half| cased(digit(half)))
        .collect::<String>()
        .into_bytes()
}

/// With each `/` written as JSON may write it.
fn slashes(bytes: &[u8], to: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = bytes.split(|b| *b == b'/').collect();
    parts.join(to)
}

/// Percent-encoded but for unreserved characters (RFC 3986 §2.3).
fn percent(bytes: &[u8], upper: bool) -> Vec<u8> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let one = |b: &u8| {
        if plain(*b) {
            vec![*b]
        } else {
            [b"%".as_slice(), &hex(&[*b], upper)].concat()
        }
    };
    bytes.iter().flat_map(one).collect()
}

/// What Base64 makes of the bytes for certain when `before` other bytes come before them within a
/// group of three, whatever these are and whatever follows.
fn base64_from(bytes: &[u8], before: usize) -> Vec<Vec<u8>> {
    let padded = [&vec![0; before], bytes].concat();
    let skip = (before * 8).div_ceil(6);
    let whole = (padded.len() * 8) / 6;
    let cut = |text: String| text.as_bytes().get(skip..whole).map(<[u8]>::to_vec);
    let forms = [
        STANDARD_NO_PAD.encode(&padded),
        URL_SAFE_NO_PAD.encode(&padded),
    ];
    let forms = forms.into_iter().filter_map(cut);
    forms.filter(|form| form.len() >= ENCODED_LEN_MIN).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const KEY: &[u8] = b"sk-story/0123+abcdefXYZ";

    fn pass(text: &[u8], size: usize) -> Result<Vec<u8>, Leaked> {
        let mut scrubber = Scrubber::new(KEY);
        let mut out = Vec::new();
        for piece in text.chunks(size) {
            out.extend(scrubber.take(piece)?);
        }
        out.extend(scrubber.rest());
        Ok(out)
    }

    #[test]
    fn a_credential_is_found_in_every_form_and_however_it_is_cut() {
        let key = std::str::from_utf8(KEY).unwrap();
        let mut forms = vec![
            key.to_owned(),
            key.replace('/', "\\/"),
            key.replace('/', "\\u002f"),
            key.replace('/', "%2F").replace('+', "%2B"),
            key.replace('/', "%2f").replace('+', "%2b"),
            String::from_utf8(hex(KEY, false)).unwrap(),
            String::from_utf8(hex(KEY, true)).unwrap(),
        ];
        for before in ["", "a", "ab", "abc", "user:"] {
            let text = [before.as_bytes(), KEY, b"!tail"].concat();
            forms.extend([STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]);
        }
        for form in forms {
            let text = format!("data: {{\"echo\":\"{form}\"}}\n\n");
            for size in 1..=text.len() {
                assert_eq!(pass(text.as_bytes(), size), Err(Leaked), "{form} by {size}");
            }
            assert!(Scrubber::new(KEY).is_in(text.as_bytes()), "{form}");
        }
    }

    #[test]
    fn nothing_of_it_goes_on_before_it_is_found() {
        for cut in 1..KEY.len() {
            let mut scrubber = Scrubber::new(KEY);
            let text = [b"x: ", &KEY[..cut]].concat();
            let passed = scrubber.take(&text).unwrap();
            assert_eq!(passed, b"x: ", "{cut}");
            assert_eq!(scrubber.take(&KEY[cut..]), Err(Leaked));
        }
    }

    #[test]
    fn everything_else_goes_on_as_it_came() {
        let near = [
            &KEY[..KEY.len() - 1],
            b"~ sk-s sk-story/ c2stc3Rvcnk 736b2d",
        ]
        .concat();
        for text in [
            near.as_slice(),
            b"",
            b"sk-",
            b"data: [DONE]\n\n",
            &[0, 255, 128],
        ] {
            for size in 1..=text.len().max(1) {
                assert_eq!(pass(text, size).unwrap(), text);
            }
        }
    }

    #[test]
    fn the_end_of_an_event_is_not_held_back() {
        let mut scrubber = Scrubber::new(KEY);
        let event = b"data: {\"delta\":\"x\"}\n\n";
        assert_eq!(scrubber.take(event).unwrap(), event);
    }
}
