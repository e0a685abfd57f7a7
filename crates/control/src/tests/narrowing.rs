//! Exchanging a token for one that carries less.

use std::time::Duration;

use aims_crypto::SigningKey;
use aims_oauth::{ClientCredential, TokenExchange, TokenRequest, TokenType, TypedToken};
use aims_types::Secret;

use super::remote::Remote;
use super::revoking::revoke;
use super::world::{World, new_key};

/// A request to exchange a token for a part of what it carries.
fn exchange_of(token: &str, part: Option<&str>) -> TokenExchange {
    let part = part.map(|part| aims_json::parse(part.as_bytes(), &aims_json::Limits::TOKEN));
    TokenExchange {
        subject: TypedToken {
            token: Secret::new(token.to_owned()),
            token_type: TokenType::AccessToken,
        },
        actor: None,
        requested_token_type: None,
        resource: Some(super::world::RESOURCE.to_owned()),
        audience: None,
        scope: None,
        authorization_details: part.map(Result::unwrap),
    }
}

const PART: &str = r#"[{"type":"mcp_tool","server":"git","actions":["git_log"],
    "arguments":{"repo_path":{"equals":"/srv/repo"}}}]"#;

#[tokio::test]
async fn a_token_is_exchanged_for_a_part_of_what_it_carries_and_no_more() {
    let (world, mia) = World::ready().await;
    let (remote, run) = (Remote::new(&world, &mia, "planner").await, new_key());
    let courier = Remote::new(&world, &mia, "courier").await;
    let token = remote.token(&world, &run).await;
    let send = async |exchange: TokenExchange, client: ClientCredential, key: &SigningKey| {
        let request = TokenRequest::Exchange(Box::new(exchange));
        let form = request.to_form(Some(&client)).expose().clone().into();
        let dpop = world.proof(key);
        let call = aims_links::TokenCall { form, dpop };
        world.plane.oauth_token(call, None).await.unwrap()
    };
    world.clock.forward(Duration::from_mins(2));
    let good = send(exchange_of(&token, Some(PART)), remote.client(&world), &run).await;
    assert_eq!(good.status, 200, "{:?}", good.body);
    let answer = aims_oauth::TokenResponse::parse(&good.body).unwrap();
    assert_eq!(
        answer.expires_in,
        Duration::from_mins(3),
        "it ends with the first"
    );
    let other_repo = PART.replace("/srv/repo", "/srv/other");
    let other_tool = PART.replace("git_log", "git_commit");
    let any = PART.replace(r#"{"equals":"/srv/repo"}"#, r#""any""#);
    for wider in [other_repo.as_str(), &other_tool, &any, r#"[{"type":"x"}]"#] {
        let exchange = exchange_of(&token, Some(wider));
        let reply = send(exchange, remote.client(&world), &run).await;
        assert_eq!(
            (reply.status, world.refused().await.as_str()),
            (400, "wrong_details")
        );
    }
    // Of another client, under another key, of another kind, or with an actor.
    let exchange = exchange_of(&token, Some(PART));
    assert_eq!(
        send(exchange, courier.client(&world), &run).await.status,
        400
    );
    assert_eq!(world.refused().await, "foreign_token");
    let exchange = exchange_of(&token, Some(PART));
    assert_eq!(
        send(exchange, remote.client(&world), &new_key())
            .await
            .status,
        400
    );
    assert_eq!(world.refused().await, "actor_key");
    let mut exchange = exchange_of(&token, Some(PART));
    exchange.subject.token_type = TokenType::Jwt;
    assert_eq!(
        send(exchange, remote.client(&world), &run).await.status,
        400
    );
    assert_eq!(world.refused().await, "token_type");
    let mut exchange = exchange_of(&token, Some(PART));
    exchange.actor = Some(exchange.subject.clone());
    assert_eq!(
        send(exchange, remote.client(&world), &run).await.status,
        400
    );
    assert_eq!(world.refused().await, "token_type");
    revoke(&world, &token, &remote.client(&world)).await;
    let exchange = exchange_of(&token, Some(PART));
    assert_eq!(
        send(exchange, remote.client(&world), &run).await.status,
        400
    );
    assert_eq!(world.refused().await, "subject_dead");
}
