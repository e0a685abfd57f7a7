use proptest::prelude::*;

use super::*;

const HEADER: Header = Header {
    first: 1,
    prev: GENESIS,
};

fn frames(records: &[(u64, u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (seq, batch_first, payload) in records {
        let frame = Frame {
            seq: *seq,
            batch_first: *batch_first,
            payload,
        };
        frame.encode(HEADER.salt(), &mut bytes);
    }
    bytes
}

#[test]
fn the_format_stays_as_it_is() {
    let header = HEADER.encode();
    assert_eq!(header[..16], *b"AIMSWAL\x01\0\0\0\0\0\0\0\x01");
    assert_eq!(Header::decode(&header), Some(HEADER));
    let bytes = frames(&[(7, 5, b"abc".to_vec())]);
    assert_eq!(bytes[..4], *b"\0\0\0\x03");
    assert_eq!(bytes[8..], *b"\0\0\0\0\0\0\0\x07\0\0\0\x02abc");
    let body = [&bytes[..4], &bytes[8..]].concat();
    let expected = crc32c(&[header.as_slice(), &body].concat());
    assert_eq!(bytes[4..8], expected.to_be_bytes());
}

#[test]
fn any_changed_byte_of_a_header_is_noticed() {
    let header = HEADER.encode();
    for at in 0..HEADER_LEN {
        let mut bad = header;
        bad[at] ^= 1;
        assert_eq!(Header::decode(&bad), None, "byte {at}");
        assert_eq!(Header::decode(&header[..at]), None, "length {at}");
    }
}

#[test]
fn a_frame_made_up_inside_a_payload_does_not_pass() {
    let mut fake = Vec::new();
    Frame {
        seq: 3,
        batch_first: 3,
        payload: b"fake",
    }
    .encode(0, &mut fake);
    let torn = frames(&[(1, 1, fake)]);
    assert!(!was_durable(&torn[1..], HEADER.salt(), 1));
}

#[test]
fn only_a_later_batch_shows_that_a_record_was_durable() {
    let one = |seq, batch_first| frames(&[(seq, batch_first, vec![9; 30])]);
    let torn = vec![0; 50];
    let salt = HEADER.salt();
    assert!(!was_durable(&[torn.clone(), one(6, 5)].concat(), salt, 5));
    assert!(!was_durable(&[torn.clone(), one(7, 4)].concat(), salt, 5));
    assert!(was_durable(&[torn.clone(), one(6, 6)].concat(), salt, 5));
    assert!(was_durable(&[torn, one(6, 5), one(7, 7)].concat(), salt, 5));
    assert!(was_durable(&one(6, 6), salt, 5));
    assert!(was_durable(&one(4, 4), salt, 5));
}

proptest! {
    #[test]
    fn frames_round_trip(
        seq in 1..u64::MAX,
        back in 0..1000_u64,
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let batch_first = seq.saturating_sub(back).max(1);
        let bytes = frames(&[(seq, batch_first, payload.clone())]);
        let frame = Frame::decode(&bytes, HEADER.salt(), seq);
        prop_assert_eq!(frame, Some(Frame { seq, batch_first, payload: &payload }));
        prop_assert_eq!(Frame::decode(&bytes, HEADER.salt() ^ 1, seq), None);
        prop_assert_eq!(Frame::decode(&bytes, HEADER.salt(), seq - 1), None);
    }

    #[test]
    fn a_changed_byte_or_a_cut_is_noticed(
        payload in prop::collection::vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let bytes = frames(&[(3, 3, payload)]);
        let at = at.index(bytes.len());
        let mut bad = bytes.clone();
        bad[at] ^= flip;
        prop_assert_eq!(Frame::decode(&bad, HEADER.salt(), 3), None);
        prop_assert_eq!(Frame::decode(&bytes[..at], HEADER.salt(), 3), None);
    }
}
