use super::*;

fn raw() -> RawUpstreamSpec {
    RawUpstreamSpec {
        url: "https://models.example".to_owned(),
        ca: None,
        private: false,
        credential: RawCredentialUse::default(),
        headers: std::collections::BTreeMap::new(),
        endpoints: vec![RawEndpoint {
            methods: vec!["POST".to_owned()],
            path: "/v1".to_owned(),
        }],
        limits: RawBounds::default(),
    }
}

fn upstream(raw: RawUpstreamSpec) -> Upstream {
    Upstream {
        id: Id::from_u128(1),
        name: "model".parse().unwrap(),
        purpose: "answers".parse().unwrap(),
        spec: raw.try_into().unwrap(),
        version: 1,
        registered_at: Timestamp::from_unix_secs(1),
        rotated_at: None,
        retired_at: None,
    }
}

#[test]
fn an_origin_has_one_spelling_and_is_https() {
    for (text, one) in [
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("https://a.example:8443", "https://a.example:8443"),
        ("https://127.0.0.1:1", "https://127.0.0.1:1"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://[::1]", "https://[::1]"),
    ] {
        assert_eq!(text.parse::<Origin>().unwrap().to_string(), one);
    }
    for bad in [
        "",
        "a.example",
        "http://a.example",
        "HTTPS://a.example",
        "https://",
        "https://A.example",
        "https://a.example/v1",
        "https://a.example//",
        "https://a.example?x",
        "https://a.example#x",
        "https://u@a.example",
        "https://u:p@a.example",
        "https://a.example:",
        "https://a.example:0",
        "https://a.example:70000",
        "https://a.example:0443",
        "https://a.example:+1",
        "https://::1",
        "https://[a.example]",
        "https://[::1",
        "https://a b",
        "https://a.example\\",
    ] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
}

#[test]
fn what_can_not_be_an_upstream_is_refused() {
    type Spoil = fn(&mut RawUpstreamSpec);
    let spoils: [(&str, Spoil); 17] = [
        ("plain http", |r| r.url = "http://a.example".to_owned()),
        ("no endpoint", |r| r.endpoints.clear()),
        ("no method", |r| r.endpoints[0].methods.clear()),
        ("an unknown method", |r| {
            r.endpoints[0].methods[0] = "CONNECT".to_owned();
        }),
        ("a path that climbs", |r| {
            r.endpoints[0].path = "/v1/..".to_owned();
        }),
        ("an encoded path", |r| {
            r.endpoints[0].path = "/%2e".to_owned();
        }),
        ("a credential as host", |r| {
            r.credential.header = Some("host".to_owned());
        }),
        ("a credential as length", |r| {
            r.credential.header = Some("content-length".to_owned());
        }),
        ("a header in capitals", |r| {
            r.credential.header = Some("X-Key".to_owned());
        }),
        ("a header with a line", |r| {
            r.credential.header = Some("x\r\ny".to_owned());
        }),
        ("a scheme with a space", |r| {
            r.credential.scheme = Some("Bearer x".to_owned());
        }),
        ("a second credential", |r| {
            r.headers.insert("authorization".to_owned(), "x".to_owned());
        }),
        ("a header of the connection", |r| {
            r.headers
                .insert("transfer-encoding".to_owned(), "chunked".to_owned());
        }),
        ("a value with a line", |r| {
            r.headers
                .insert("x-version".to_owned(), "1\r\nx: y".to_owned());
        }),
        ("a private key", |r| {
            r.ca =
                Some("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n".to_owned());
        }),
        ("no time", |r| r.limits.seconds = Some(0)),
        ("too much", |r| {
            r.limits.answer_bytes = Some(ANSWER_BYTES_MAX + 1);
        }),
    ];
    for (what, spoil) in spoils {
        let mut raw = raw();
        spoil(&mut raw);
        assert!(UpstreamSpec::try_from(raw).is_err(), "{what}");
    }
    assert!(UpstreamSpec::try_from(raw()).is_ok());
}

#[test]
fn a_description_is_read_back_as_it_was() {
    let mut raw = raw();
    raw.headers
        .insert("x-version".to_owned(), "2026-01-01".to_owned());
    raw.ca = Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned());
    raw.credential.header = Some("x-api-key".to_owned());
    let spec = UpstreamSpec::try_from(raw).unwrap();
    assert_eq!(spec.credential().scheme(), None);
    let json = aims_json::to_value(&spec).unwrap().to_string();
    let again: UpstreamSpec =
        aims_json::from_slice(json.as_bytes(), &aims_json::Limits::DOCUMENT).unwrap();
    assert_eq!(again, spec);
    let usual = UpstreamSpec::try_from(self::raw()).unwrap();
    let (header, scheme) = (usual.credential().header(), usual.credential().scheme());
    assert_eq!((header, scheme), ("authorization", Some("Bearer")));
}

#[test]
fn a_credential_is_bound_to_upstream_version_host_and_header() {
    let one = upstream(raw());
    let binding = one.binding();
    let mut others = vec![one.clone(); 2];
    others[0].id = Id::from_u128(2);
    others[1].version = 2;
    for url in ["https://models.example:444", "https://other.example"] {
        let url = url.to_owned();
        others.push(upstream(RawUpstreamSpec { url, ..raw() }));
    }
    let mut header = raw();
    header.credential.header = Some("x-api-key".to_owned());
    others.push(upstream(header));
    for other in others {
        assert_ne!(other.binding(), binding, "{other:?}");
    }
}

#[test]
fn only_what_is_offered_may_be_asked() {
    let spec = UpstreamSpec::try_from(raw()).unwrap();
    let (get, post) = (
        aims_authority::HttpMethod::Get,
        aims_authority::HttpMethod::Post,
    );
    assert!(spec.offers(post, "/v1/chat"));
    assert!(
        !spec.offers(get, "/v1/chat") && !spec.offers(post, "/v2") && !spec.offers(post, "/v1x")
    );
}

#[test]
fn a_credential_is_visible_and_long_enough() {
    assert!(check_credential(b"sk-0123456789").is_ok());
    for bad in [
        "",
        "short",
        "with a space 0123",
        "with\nline 0123456",
        "umläut-0123456789",
    ] {
        assert!(check_credential(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(check_credential(&vec![b'x'; CREDENTIAL_LEN_MAX + 1]).is_err());
}
