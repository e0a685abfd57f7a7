//! Bodies that are not what a route reads.

use crate::{BODY_LEN_MAX, ROUTES, Route};
use http::{Request, StatusCode};

use super::stage::Stage;
use super::world::Answer;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

async fn post(stage: &Stage, route: &Route, token: &str, kinds: &[&str], body: Vec<u8>) -> Answer {
    let credentials = stage.credentials(route, &stage.world.operator, token);
    let mut request = Request::post(stage.path(route))
        .header("authorization", &credentials.authorization[0])
        .header("dpop", &credentials.dpop[0]);
    for kind in kinds {
        request = request.header("content-type", *kind);
    }
    stage.world.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn a_body_that_is_not_exactly_what_a_route_reads_changes_nothing() {
    let stage = Stage::new().await;
    let operator = &stage.world.operator;
    let token = stage.world.log_in(operator).await;
    let before = stage.world.state().await;
    let mut with_body = 0;
    for route in ROUTES {
        let Some(good) = stage.body(route, operator) else {
            continue;
        };
        with_body += 1;
        let (text, members) = (good.to_string(), good.as_object().unwrap());
        let (name, value) = members.iter().next().unwrap();
        let inside = text.strip_prefix('{').unwrap();
        let deep = format!("{{\"{name}\":{}1{}}}", "[".repeat(4096), "]".repeat(4096));
        let escaped = name.chars().map(|c| format!("\\u{:04x}", u32::from(c)));
        let escaped: String = escaped.collect();
        let bad: Vec<(&str, Vec<u8>)> = vec![
            ("twice", format!("{{\"{name}\":{value},{inside}").into()),
            (
                "twice, escaped",
                format!("{{\"{escaped}\":{value},{inside}").into(),
            ),
            ("unknown", format!("{{\"role_\":1,{inside}").into()),
            ("wrong type", format!("{{\"{name}\":7}}").into()),
            ("array", format!("[{text}]").into()),
            ("deep", deep.into()),
            ("more after it", format!("{text}{text}").into()),
            ("cut off", text.strip_suffix('}').unwrap().into()),
            ("comment", format!("/**/{text}").into()),
            (
                "mark",
                [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat(),
            ),
            ("not text", [text.as_bytes(), b"\xff"].concat()),
            ("nothing", Vec::new()),
            ("null", b"null".to_vec()),
        ];
        for (what, body) in bad {
            let answer = post(&stage, route, &token, &[JSON], body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{route:?} {what}");
            assert_eq!(answer.headers["content-type"], "application/problem+json");
            assert_eq!(answer.code(), "invalid_request", "{route:?} {what}");
        }
        let kinds: [&[&str]; 5] = [
            &[],
            &["text/plain"],
            &[FORM],
            &[JSON, JSON],
            &[JSON, "text/plain"],
        ];
        for kinds in kinds {
            let answer = post(&stage, route, &token, kinds, text.clone().into()).await;
            assert_eq!(
                answer.status,
                StatusCode::BAD_REQUEST,
                "{route:?} {kinds:?}"
            );
        }
        let long = format!("{text}{}", " ".repeat(BODY_LEN_MAX));
        let answer = post(&stage, route, &token, &[JSON], long.into()).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{route:?}");
    }
    assert_eq!(with_body, 13);
    assert_eq!(stage.world.state().await, before, "something changed");
}

#[tokio::test]
async fn a_body_is_not_read_for_somebody_unknown() {
    let stage = Stage::new().await;
    for route in ROUTES.iter().filter(|route| route.path != "/token") {
        let request = Request::builder()
            .method(route.method)
            .uri(stage.path(route));
        let body = vec![b'{'; BODY_LEN_MAX + 1];
        let answer = stage.world.send(request.body(body.into()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{route:?}");
    }
}

/// What it is, the status, content types, proofs and the form.
type Case = (&'static str, u16, Vec<&'static str>, Vec<String>, String);

#[tokio::test]
async fn the_token_endpoint_takes_one_form_with_one_proof() {
    let stage = Stage::new().await;
    let (world, revision) = (&stage.world, stage.world.state().await.0);
    let proof = || world.proof(&stage.mia.key, ("POST", "/token"), None);
    let form = || world.login_form(&stage.mia);
    let twice = |name: &str| {
        let form = form();
        let one = form.split('&').find(|pair| pair.starts_with(name)).unwrap();
        format!("{form}&{one}")
    };
    let one = || vec![proof()];
    let cases: Vec<Case> = vec![
        ("no proof", 400, vec![FORM], Vec::new(), form()),
        (
            "two proofs",
            400,
            vec![FORM],
            vec![proof(), proof()],
            form(),
        ),
        ("json", 400, vec![JSON], one(), form()),
        ("no content type", 400, Vec::new(), one(), form()),
        ("two content types", 400, vec![FORM, FORM], one(), form()),
        (
            "grant type twice",
            400,
            vec![FORM],
            one(),
            twice("grant_type"),
        ),
        (
            "assertion twice",
            400,
            vec![FORM],
            one(),
            twice("assertion"),
        ),
        ("nothing", 400, vec![FORM], one(), String::new()),
        (
            "in JSON",
            400,
            vec![FORM],
            one(),
            r#"{"grant_type":"x"}"#.to_owned(),
        ),
        (
            "too long",
            413,
            vec![FORM],
            one(),
            "a".repeat(BODY_LEN_MAX + 1),
        ),
    ];
    for (what, status, kinds, proofs, body) in cases {
        let mut request = Request::post("/token");
        for kind in kinds {
            request = request.header("content-type", kind);
        }
        for proof in proofs {
            request = request.header("dpop", proof);
        }
        let answer = world.send(request.body(body.into()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{what} {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("access_token"));
    }
    assert_eq!(stage.world.state().await.0, revision);
    let records = stage.world.records().await;
    let issued = aims_model::EventKind::TokenIssued;
    assert!(records.iter().all(|record| record.event.kind != issued));
}
