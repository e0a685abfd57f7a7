//! Tables and properties of the whole crate.

use proptest::prelude::*;

use crate::strategies::{canonical_value, number_text, value};
use crate::{
    CanonicalError, DEPTH_MAX, Decimal, Document, Limits, Number, Object, ParseCanonicalError,
    ParseError, Value, from_slice, parse, parse_canonical, to_canonical, to_canonical_exact,
    to_value,
};

fn read(text: &str) -> Result<Value, ParseError> {
    parse(text.as_bytes(), &Limits::MESSAGE)
}

fn canonical(text: &str) -> Result<String, CanonicalError> {
    to_canonical(&read(text).unwrap()).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn refuses_what_has_more_than_one_reading() {
    let duplicate = |name: &str, offset| ParseError::DuplicateMember {
        name: name.into(),
        offset,
    };
    for (text, expect) in [
        (r#"{"a":1,"a":2}"#, duplicate("a", 7)),
        (r#"{"a":1,"\u0061":2}"#, duplicate("a", 7)),
        (
            r#"{"method":1,"b":0,"\u006dethod":2}"#,
            duplicate("method", 18),
        ),
        (r#"{"x":[{"y":{"k":1, "k":1}}]}"#, duplicate("k", 19)),
        (r#"{"":1,"":1}"#, duplicate("", 6)),
        (r#"{"😀":1,"\ud83d\ude00":1}"#, duplicate("😀", 10)),
        (r#"{"\/":1,"/":1}"#, duplicate("/", 8)),
        (r#""\ud800""#, ParseError::LoneSurrogate { offset: 1 }),
        (r#""\udc00""#, ParseError::LoneSurrogate { offset: 1 }),
        (r#""\ud800\ud800""#, ParseError::LoneSurrogate { offset: 1 }),
        (r#""\ud800A""#, ParseError::LoneSurrogate { offset: 1 }),
        ("\u{feff}{}", ParseError::ByteOrderMark),
        ("{}\u{feff}", ParseError::TrailingBytes { offset: 2 }),
        ("{}{}", ParseError::TrailingBytes { offset: 2 }),
        ("1 2", ParseError::TrailingBytes { offset: 2 }),
        ("{}\0", ParseError::TrailingBytes { offset: 2 }),
    ] {
        assert_eq!(read(text), Err(expect), "{text}");
    }
}

#[test]
fn refuses_what_is_no_json() {
    let unexpected = |offset| ParseError::Unexpected { offset };
    for (text, expect) in [
        ("", ParseError::UnexpectedEnd),
        ("  \n", ParseError::UnexpectedEnd),
        ("[1", ParseError::UnexpectedEnd),
        ("{\"a\"", ParseError::UnexpectedEnd),
        ("\"abc", ParseError::UnexpectedEnd),
        ("\"\\", ParseError::UnexpectedEnd),
        ("\"\\u00", ParseError::UnexpectedEnd),
        ("tru", ParseError::UnexpectedEnd),
        ("TRUE", unexpected(0)),
        ("nul!", unexpected(3)),
        ("[1,]", unexpected(3)),
        ("[,1]", unexpected(1)),
        ("[1 2]", unexpected(3)),
        ("{\"a\":1,}", unexpected(7)),
        ("{a:1}", unexpected(1)),
        ("{'a':1}", unexpected(1)),
        ("{\"a\" 1}", unexpected(5)),
        ("{1:1}", unexpected(1)),
        ("// x\n1", unexpected(0)),
        ("[1}", unexpected(2)),
        ("\u{a0}1", unexpected(0)),
        ("\u{b}1", unexpected(0)),
        ("NaN", unexpected(0)),
        ("Infinity", unexpected(0)),
        ("+1", unexpected(0)),
        (".5", unexpected(0)),
        ("-", ParseError::Number { offset: 0 }),
        ("01", ParseError::Number { offset: 0 }),
        ("-01", ParseError::Number { offset: 0 }),
        ("1.", ParseError::Number { offset: 0 }),
        ("1.e1", ParseError::Number { offset: 0 }),
        ("1e", ParseError::Number { offset: 0 }),
        ("1e+", ParseError::Number { offset: 0 }),
        ("1e1e1", ParseError::Number { offset: 0 }),
        ("1.2.3", ParseError::Number { offset: 0 }),
        ("-Infinity", ParseError::Number { offset: 0 }),
        ("0x10", ParseError::TrailingBytes { offset: 1 }),
        ("\"\\x\"", ParseError::Escape { offset: 1 }),
        ("\"\\u12G4\"", ParseError::Escape { offset: 1 }),
        ("\"\\U0041\"", ParseError::Escape { offset: 1 }),
        ("\"a\nb\"", ParseError::ControlCharacter { offset: 2 }),
        ("\"a\0b\"", ParseError::ControlCharacter { offset: 2 }),
    ] {
        assert_eq!(read(text), Err(expect), "{text}");
    }
    let utf8 = parse(b"\"a\xff\"", &Limits::MESSAGE);
    assert_eq!(utf8, Err(ParseError::NotUtf8 { offset: 2 }));
    // An overlong form, a surrogate and UTF-16 are not UTF-8 either.
    for bytes in [&b"\"\xc0\xaf\""[..], b"\"\xed\xa0\x80\"", b"\xff\xfe1\x00"] {
        assert!(matches!(
            parse(bytes, &Limits::MESSAGE),
            Err(ParseError::NotUtf8 { .. })
        ));
    }
}

#[test]
fn limits_are_inclusive_and_hold_before_work_is_done() {
    let limits = Limits {
        bytes: 8,
        depth: 2,
        nodes: 3,
    };
    let within = |text: &str| parse(text.as_bytes(), &limits);
    assert!(within("[[1]]   ").is_ok());
    assert_eq!(
        within("[[1]]    "),
        Err(ParseError::TooLarge { len: 9, max: 8 })
    );
    assert_eq!(
        within("[[[]]]"),
        Err(ParseError::TooDeep { max: 2, offset: 2 })
    );
    assert_eq!(within("[1,2,3]"), Err(ParseError::TooManyNodes { max: 3 }));

    let generous = Limits {
        depth: usize::MAX,
        ..Limits::DOCUMENT
    };
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deepest = parse(nested(DEPTH_MAX).as_bytes(), &generous).unwrap();
    assert!(to_canonical(&deepest).is_ok());
    assert!(from_slice::<serde_json::Value>(nested(DEPTH_MAX).as_bytes(), &generous).is_ok());
    let too_deep = ParseError::TooDeep {
        max: DEPTH_MAX,
        offset: DEPTH_MAX,
    };
    assert_eq!(
        parse(nested(DEPTH_MAX + 1).as_bytes(), &generous),
        Err(too_deep)
    );
    assert!(parse("[".repeat(1 << 20).as_bytes(), &generous).is_err());
    assert!(parse("{\"a\":".repeat(1 << 20).as_bytes(), &generous).is_err());
    assert_eq!(
        to_canonical(&Value::from(vec![deepest])),
        Err(CanonicalError::TooDeep)
    );

    assert!(read(&"1".repeat(128)).is_ok());
    assert_eq!(
        read(&"1".repeat(129)),
        Err(ParseError::NumberTooLong { offset: 0 })
    );
}

#[test]
fn many_members_cost_no_quadratic_time() {
    let members: Vec<String> = (0..99_000).map(|n| format!("\"k{n}\":0")).collect();
    let text = format!("{{{}}}", members.join(","));
    let limits = Limits {
        bytes: 4 << 20,
        ..Limits::MESSAGE
    };
    let value = parse(text.as_bytes(), &limits).unwrap();
    assert_eq!(value.as_object().map(Object::len), Some(99_000));
    assert_eq!(value.get("k98999").and_then(Value::as_u64), Some(0));
}

#[test]
fn objects_keep_order_and_uniqueness() {
    let mut object = Object::new()
        .with("b", 1_u64)
        .with("a", true)
        .with("b", "again");
    assert_eq!(object.to_string(), r#"{"b":"again","a":true}"#);
    assert!(object.insert("a", false).is_err());
    object.insert("c", Vec::new()).unwrap();
    assert_eq!(object.remove("b"), Some(Value::from("again")));
    assert_eq!(object.remove("b"), None);
    assert_eq!(object.to_string(), r#"{"a":true,"c":[]}"#);
    assert!(object.contains("c") && !object.contains("b"));
    let other = Object::new().with("c", Vec::new()).with("a", true);
    assert_eq!(object, other, "members are unordered");
    assert_ne!(object, other.with("d", 0_i64));
}

#[test]
fn documents_give_back_exact_source_bytes() {
    let bytes = br#" {"id": 1e0, "params" : { "list":[ {"x" : "\u0061"} , 2 ], "\u006e":{}}} "#;
    let document = Document::parse(bytes, &Limits::MESSAGE).unwrap();
    assert_eq!(document.raw(&["id"]), Some(&b"1e0"[..]));
    assert_eq!(document.raw(&["params", "n"]), Some(&b"{}"[..]));
    assert_eq!(document.span(&["id"]), Some(8..11));
    let elements = document.elements(&["params", "list"]).unwrap();
    let raw: Vec<&[u8]> = elements.iter().map(|(_, raw)| *raw).collect();
    assert_eq!(raw, [&br#"{"x" : "\u0061"}"#[..], b"2"]);
    assert_eq!(
        elements
            .first()
            .and_then(|(value, _)| value.get("x")?.as_str()),
        Some("a")
    );
    let members = document.members(&["params"]).unwrap();
    assert_eq!(
        members.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["list", "n"]
    );
    for absent in [&["nothing"][..], &["id", "x"], &["params", "list", "0"]] {
        assert_eq!(document.raw(absent), None);
    }
    let trimmed = bytes.trim_ascii();
    assert_eq!(document.raw(&[]), Some(trimmed));
}

#[test]
fn canonical_form_follows_rfc_8785() {
    for (text, expect) in [
        (
            r#"{ "b":1, "a":[ true , null ] }"#,
            r#"{"a":[true,null],"b":1}"#,
        ),
        (
            r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#,
            r#""€$\u000f\nA'B\"\\\\\"/""#,
        ),
        (
            r#""\b\t\n\f\r\u007f\u2028""#,
            "\"\\b\\t\\n\\f\\r\u{7f}\u{2028}\"",
        ),
        // RFC 8785 §3.2.3: by UTF-16 code units, so U+1F600 stands before U+FB33.
        (
            r#"{"\u20ac":0,"\r":0,"\ufb33":0,"1":0,"\ud83d\ude00":0,"\u0080":0,"\u00f6":0}"#,
            "{\"\\r\":0,\"1\":0,\"\u{80}\":0,\"ö\":0,\"€\":0,\"😀\":0,\"\u{fb33}\":0}",
        ),
        ("9007199254740991", "9007199254740991"),
        ("-9007199254740991", "-9007199254740991"),
        ("0", "0"),
    ] {
        assert_eq!(canonical(text).as_deref(), Ok(expect), "{text}");
    }
    for text in [
        "9007199254740992",
        "-9007199254740992",
        "-0",
        "1.0",
        "1e2",
        "0.5",
        "1E400",
    ] {
        assert_eq!(
            canonical(text),
            Err(CanonicalError::Number { text: text.into() })
        );
        assert_eq!(
            to_canonical_exact(&read(text).unwrap()),
            Ok(text.as_bytes().to_vec())
        );
    }
}

#[test]
fn one_encoding_only_is_canonical() {
    let read = |text: &str| parse_canonical(text.as_bytes(), &Limits::TOKEN);
    assert!(read(r#"{"a":"é","b":[1,-2]}"#).is_ok());
    for (text, offset) in [
        (r#"{"b":1,"a":2}"#, 2),
        (r#"{"a": 1}"#, 5),
        (r#""\u0061""#, 1),
        (r#""\/""#, 1),
        (r#""\u000A""#, 2),
        ("1\n", 1),
        (" 1", 0),
    ] {
        assert_eq!(
            read(text),
            Err(ParseCanonicalError::OtherEncoding { offset }),
            "{text}"
        );
    }
    assert!(matches!(read("-0"), Err(ParseCanonicalError::Canonical(_))));
    assert!(matches!(
        read("{\"a\":1,\"a\":1}"),
        Err(ParseCanonicalError::Parse(_))
    ));
}

#[test]
fn trap_30_decimals_are_exact() {
    let decimal = |text: &str| text.parse::<Decimal>().map(|d| d.to_string()).ok();
    for (text, expect) in [
        ("0", Some("0")),
        ("-0", Some("0")),
        ("-0.00e5", Some("0")),
        ("0e999999999999999999999", Some("0")),
        ("1.50", Some("1.5")),
        ("15e-1", Some("1.5")),
        ("-0.05", Some("-0.05")),
        ("1E3", Some("1000")),
        ("1200e-2", Some("12")),
        ("0.1", Some("0.1")),
        ("1e-28", Some("0.0000000000000000000000000001")),
        ("1e-29", None),
        ("10e-29", Some("0.0000000000000000000000000001")),
        (
            "170141183460469231731687303715884105727",
            Some("170141183460469231731687303715884105727"),
        ),
        ("170141183460469231731687303715884105728", None),
        ("1e38", Some("100000000000000000000000000000000000000")),
        ("1e39", None),
        ("1e400", None),
        ("", None),
        ("1_000", None),
        ("0x1", None),
        ("+1", None),
        (" 1", None),
        (".5", None),
    ] {
        assert_eq!(decimal(text).as_deref(), expect, "{text}");
    }
    let d = |text: &str| text.parse::<Decimal>().unwrap();
    let ascending = [
        "-1e38", "-2", "-1.5", "-1.49", "-0.001", "0", "0.1", "0.11", "1", "9e37",
    ];
    assert!(ascending.windows(2).all(|pair| d(pair[0]) < d(pair[1])));
    assert_eq!(d("0.1").checked_add(d("0.2")), Some(d("0.3")));
    assert_eq!(d("0.3").checked_sub(d("0.3")), Some(Decimal::ZERO));
    assert_eq!(d("1e38").checked_add(d("1e38")), None);
    assert_eq!(Decimal::new(1, 29), None);
    assert_eq!(Decimal::new(0, 400), Some(Decimal::ZERO));
}

#[test]
fn integers_are_read_from_plain_text_only() {
    for (text, i, u) in [
        ("0", Some(0), Some(0)),
        ("-0", Some(0), Some(0)),
        ("-1", Some(-1), None),
        ("9223372036854775808", None, Some(1 << 63)),
        ("18446744073709551616", None, None),
        ("1.0", None, None),
        ("1e0", None, None),
    ] {
        let value = read(text).unwrap();
        assert_eq!((value.as_i64(), value.as_u64()), (i, u), "{text}");
    }
    assert_ne!(read("1.0"), read("1"), "numbers are their text");
}

#[test]
fn serde_sees_only_what_passed_the_strict_check() {
    #[derive(serde::Deserialize, serde::Serialize, PartialEq, Debug)]
    struct Claims {
        sub: String,
        n: u64,
    }
    let claims: Claims = from_slice(br#"{"sub":"a","n":1}"#, &Limits::TOKEN).unwrap();
    assert_eq!(
        to_value(&claims).unwrap().to_string(),
        r#"{"sub":"a","n":1}"#
    );
    for bad in [
        r#"{"sub":"a","n":1,"x":{"y":1,"y":2}}"#,
        r#"{"sub":"a"}"#,
        r#"{"sub":"a","n":"1"}"#,
    ] {
        assert!(
            from_slice::<Claims>(bad.as_bytes(), &Limits::TOKEN).is_err(),
            "{bad}"
        );
    }
}

/// What `serde_json` accepts and we refuse, or the other way round, for a listed reason.
fn differs_for_a_listed_reason(ours: &Result<Value, ParseError>, theirs: &str) -> bool {
    match ours {
        Ok(_) => theirs.contains("number out of range"),
        Err(error) => matches!(
            error,
            ParseError::DuplicateMember { .. }
                | ParseError::TooDeep { .. }
                | ParseError::NumberTooLong { .. }
        ),
    }
}

proptest! {
    #[test]
    fn printing_then_parsing_gives_the_value_back(value in value()) {
        let text = value.to_string();
        prop_assert_eq!(parse(text.as_bytes(), &Limits::MESSAGE), Ok(value.clone()));
        let document = Document::parse(text.as_bytes(), &Limits::MESSAGE).unwrap();
        prop_assert_eq!(document.root(), &value);
        prop_assert_eq!(document.raw(&[]), Some(text.as_bytes()));
    }

    #[test]
    fn every_member_stands_where_its_span_says(value in value()) {
        let text = Value::from(Object::new().with("v", vec![value])).to_string();
        let document = Document::parse(text.as_bytes(), &Limits::MESSAGE).unwrap();
        for (element, raw) in document.elements(&["v"]).unwrap() {
            let again = parse(raw, &Limits::MESSAGE).unwrap();
            prop_assert_eq!(&again, element);
        }
    }

    #[test]
    fn the_canonical_form_is_a_fixpoint(value in canonical_value()) {
        let bytes = to_canonical(&value).unwrap();
        let again = parse_canonical(&bytes, &Limits::DOCUMENT).unwrap();
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(to_canonical(&again).unwrap(), bytes);
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in any::<Vec<u8>>()) {
        let _ = parse(&bytes, &Limits::MESSAGE);
        let _ = parse_canonical(&bytes, &Limits::TOKEN);
    }

    #[test]
    fn serde_json_agrees_on_what_is_json(
        text in "[\\[\\]{}:, \"\\\\a-fnrtuls0-9eE.+\\-\n\u{e9}]{0,24}",
    ) {
        let ours = read(&text);
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(theirs) => prop_assert!(
                ours.as_ref().is_ok_and(|o| {
                    serde_json::from_str::<serde_json::Value>(&o.to_string()).unwrap() == theirs
                }) || differs_for_a_listed_reason(&ours, ""),
                "{text}: {ours:?}"
            ),
            Err(error) => prop_assert!(
                ours.is_err() || differs_for_a_listed_reason(&ours, &error.to_string()),
                "{text}: {error}"
            ),
        }
    }

    #[test]
    fn a_changed_byte_of_json_is_judged_as_serde_json_judges_it(
        value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let ours = parse(&bytes, &Limits::MESSAGE);
        match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(_) => prop_assert!(ours.is_ok() || differs_for_a_listed_reason(&ours, "")),
            Err(error) => prop_assert!(
                ours.is_err() || differs_for_a_listed_reason(&ours, &error.to_string())
            ),
        }
    }

    #[test]
    fn decimals_order_and_print_by_value(a in number_text(), b in number_text()) {
        let number = |text: &str| Number::from_text(text).unwrap().as_decimal();
        if let (Some(x), Some(y)) = (number(&a), number(&b)) {
            prop_assert_eq!(x.to_string().parse::<Decimal>(), Ok(x));
            prop_assert_eq!(x == y, x.cmp(&y).is_eq());
            prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
            if let Some(difference) = x.checked_sub(y) {
                prop_assert_eq!(difference.cmp(&Decimal::ZERO), x.cmp(&y));
                prop_assert_eq!(difference.checked_add(y), Some(x));
            }
        }
    }
}
