//! The `:authority` of clients that put the path of the socket there.
//!
//! Over a Unix socket it means nothing, and gRPC's C core (so PyPI's `spiffe`) fills it with the
//! path in percent encoding, others with the path as it is. RFC 9113 §8.3.1 allows neither, and the
//! HTTP/2 library ends such a stream before anybody can answer. So on its way in, each character
//! that can't be in an authority becomes a `-`: in place, with the same length, so that frames and
//! the compression of headers (RFC 7541) stay whole. Nothing here looks at an authority. One that
//! is Huffman-coded is left as it is: C core does not do that.

use std::mem;

/// What an HTTP/2 connection starts with (RFC 9113 §3.4), in bytes.
const PREFACE_LEN: usize = 24;
const FRAME_HEAD_LEN: usize = 9;
/// Longest payload without another agreement (RFC 9113 §4.2).
const PAYLOAD_LEN_MAX: usize = 16_384;
/// The type of frames that start the headers of a request (RFC 9113 §6.2), and two of its flags.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// How many bytes the priority takes.
const PRIORITY_LEN: usize = 5;
/// `:authority` in the static table (RFC 7541 Appendix A), and as text.
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY: &[u8] = b":authority";
/// What takes the place of what can't be there.
const INSTEAD: u8 = b'-';

/// The bytes of a connection on their way in, whole frames at a time.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    waiting: Vec<u8>,
    ready: Vec<u8>,
    is_open: bool,
    /// It does not speak as expected: everything goes on as it is.
    is_foreign: bool,
}

impl Incoming {
    /// Takes what has arrived.
    pub(crate) fn arrived(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        if !self.is_open {
            if self.waiting.len() < PREFACE_LEN {
                return;
            }
            self.is_open = true;
            self.pass(PREFACE_LEN);
        }
        while !self.is_foreign {
            let Some(len) = self.frame_len() else { return };
            if len > FRAME_HEAD_LEN + PAYLOAD_LEN_MAX {
                self.is_foreign = true;
                break;
            }
            if self.waiting.len() < len {
                return;
            }
            if let Some(whole) = self.waiting.get_mut(..len) {
                frame(whole);
            }
            self.pass(len);
        }
        self.pass(self.waiting.len());
    }

    /// The connection ends: what is left is passed on as it is.
    pub(crate) fn ended(&mut self) {
        self.pass(self.waiting.len());
    }

    /// At most `most` bytes that may be read.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        let rest = self.ready.split_off(most.min(self.ready.len()));
        mem::replace(&mut self.ready, rest)
    }

    pub(crate) const fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn pass(&mut self, len: usize) {
        self.ready.extend(self.waiting.drain(..len));
    }

    /// The length of the next frame with its head.
    fn frame_len(&self) -> Option<usize> {
        let [a, b, c] = *self.waiting.first_chunk::<3>()?;
        let payload = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        Some(FRAME_HEAD_LEN + payload)
    }
}

/// Looks at the headers that a frame starts.
fn frame(bytes: &mut [u8]) {
    let Some((head, payload)) = bytes.split_first_chunk_mut::<FRAME_HEAD_LEN>() else {
        return;
    };
    let [_, _, _, kind, flags, ..] = *head;
    if kind != HEADERS {
        return;
    }
    let before = usize::from(flags & PADDED != 0)
        + if flags & PRIORITY == 0 {
            0
        } else {
            PRIORITY_LEN
        };
    if let Some(block) = payload.get_mut(before..) {
        // What is cut off or not understood is left to the library that refuses it.
        let _ = headers(Cursor(block));
    }
}

/// The rest of a header block.
struct Cursor<'a>(&'a mut [u8]);

/// Walks over the fields of a block (RFC 7541 §6); `None` at the end, or where it can't be read.
fn headers(mut block: Cursor<'_>) -> Option<()> {
    loop {
        let first = *block.0.first()?;
        let prefix = match first {
            0x80.. => 7,
            0x40..=0x7f => 6,
            0x20..=0x3f => 5,
            _ => 4,
        };
        let index = block.integer(prefix)?;
        if prefix == 7 || prefix == 5 {
            continue;
        }
        let is_authority = if index == 0 {
            let (name, is_coded) = block.string()?;
            !is_coded && name == AUTHORITY
        } else {
            index == AUTHORITY_INDEX
        };
        let (value, is_coded) = block.string()?;
        if is_authority && !is_coded {
            value
                .iter_mut()
                .filter(|byte| !may_be(**byte))
                .for_each(|byte| *byte = INSTEAD);
        }
    }
}

/// What can be in an authority: the unreserved characters of RFC 3986 §2.3, and the colon.
const fn may_be(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':')
}

impl<'a> Cursor<'a> {
    /// An integer with a prefix of so many bits (RFC 7541 §5.1).
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let most = (1_usize << prefix) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Some(value);
        }
        // No length of a frame takes more.
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A string, and whether it is compressed (RFC 7541 §5.2).
    fn string(&mut self) -> Option<(&'a mut [u8], bool)> {
        let is_coded = *self.0.first()? & 0x80 != 0;
        let len = self.integer(7)?;
        let (string, rest) = mem::take(&mut self.0).split_at_mut_checked(len)?;
        self.0 = rest;
        Some((string, is_coded))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = mem::take(&mut self.0).split_first_mut()?;
        self.0 = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame_of(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn text(text: &[u8]) -> Vec<u8> {
        [&[u8::try_from(text.len()).unwrap()], text].concat()
    }

    /// The block as it comes out, with the authority in each way that it can be written.
    fn out(flags: u8, before: &[u8], block: &[u8]) -> Vec<u8> {
        let sent = frame_of(HEADERS, flags, &[before, block].concat());
        let mut incoming = Incoming::default();
        incoming.arrived(&[PREFACE, &sent].concat());
        let out = incoming.take(usize::MAX);
        assert_eq!(out.len(), PREFACE.len() + sent.len());
        out[PREFACE.len() + 9 + before.len()..].to_vec()
    }

    #[test]
    fn a_path_as_authority_becomes_one_that_can_be_and_nothing_else_changes() {
        let path = text(b"%2Frun%2Faims%2Fworkload.sock");
        let fixed = text(b"-2Frun-2Faims-2Fworkload.sock");
        let method = [0x83_u8];
        let other = [&[0x40_u8][..], &text(b"x-path"), &text(b"%2F/")].concat();
        for name in [
            vec![0x41_u8],
            vec![0x01],
            vec![0x11],
            [&[0x40_u8][..], &text(b":authority")].concat(),
            [&[0x00_u8][..], &text(b":authority")].concat(),
        ] {
            let block = [&method[..], &name, &path, &other].concat();
            let wanted = [&method[..], &name, &fixed, &other].concat();
            assert_eq!(out(0x4, &[], &block), wanted);
            assert_eq!(out(0x4 | PADDED, &[0], &block), wanted);
            assert_eq!(out(0x4 | PRIORITY, &[0; 5], &block), wanted);
        }
        let plain = [&[0x41_u8][..], &text(b"/run/w.sock")].concat();
        assert_eq!(out(0x4, &[], &plain)[2..], *b"-run-w.sock");
        let good = [&[0x41_u8][..], &text(b"localhost:80")].concat();
        assert_eq!(out(0x4, &[], &good), good);
    }

    #[test]
    fn bytes_in_any_pieces_come_out_in_order_and_whole() {
        let path = [&[0x41_u8][..], &text(b"%2F")].concat();
        let all = [
            PREFACE,
            &frame_of(4, 0, &[]),
            &frame_of(HEADERS, 0x4, &path),
            &frame_of(0, 1, b"%2F in a body stays"),
        ]
        .concat();
        for size in [1, 2, 7, 1000] {
            let mut incoming = Incoming::default();
            let mut out = Vec::new();
            for piece in all.chunks(size) {
                incoming.arrived(piece);
                while incoming.is_ready() {
                    out.extend(incoming.take(3));
                }
            }
            let changed = all.iter().zip(&out).filter(|(a, b)| a != b).count();
            assert_eq!((out.len(), changed), (all.len(), 1), "{size}");
        }
    }

    #[test]
    fn what_is_not_understood_goes_on_as_it_is() {
        let broken: [&[u8]; 6] = [
            &[0x41],
            &[0x41, 0x7f],
            &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff],
            &[0x41, 5, b'%'],
            &[0xff, 0xff],
            &[],
        ];
        for block in broken {
            assert_eq!(out(0x4, &[], block), block);
        }
        let mut incoming = Incoming::default();
        let long = [PREFACE, &[0xff, 0xff, 0xff, 1, 4, 0, 0, 0, 1], b"rest"].concat();
        incoming.arrived(&long);
        incoming.arrived(b"more");
        assert_eq!(incoming.take(usize::MAX), [&long[..], b"more"].concat());
        let mut short = Incoming::default();
        short.arrived(b"GET /");
        assert!(!short.is_ready());
        short.ended();
        assert_eq!(short.take(usize::MAX), b"GET /");
    }
}
