//! An agent's side: an instance with its key, token and session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aims_crypto::{Alg, Signer, SigningKey};
use aims_jose::Thumbprint;
use aims_json::{Limits, Object, Value, parse};
use aims_links::{Body, ConnectReply, Endpoint};
use aims_oauth::dpop::Proof;
use aims_oauth::{AccessToken, Actor, ActorChain, Chain, HttpUri, InstanceToken, TokenCommon};
use aims_types::{self as types, Clock, Id, Revision};
use bytes::Bytes;
use http_body_util::BodyExt;

use super::{ISSUER, NOW, RESOURCE, Task, World, kid, person};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// One instance.
#[derive(Clone)]
pub(crate) struct Agent<'w> {
    pub(crate) world: &'w World,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) token: InstanceToken,
    pub(crate) session: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    /// The messages: one of a JSON body, or those of the stream.
    pub(crate) messages: Vec<Value>,
    /// Their exact texts.
    pub(crate) texts: Vec<String>,
    /// Whether the stream was ended by an error.
    pub(crate) broken: bool,
}

impl<'w> Agent<'w> {
    pub(crate) fn new(world: &'w World, task: &Task, instance: u128) -> Self {
        let key = Arc::new(SigningKey::generate(Alg::Es256).unwrap());
        let actors: Vec<Actor> = task.agents().map(actor).collect();
        let [prior @ .., current] = actors.as_slice() else {
            panic!("a chain has an agent")
        };
        let prior = prior.iter().rev().cloned().collect();
        let details = task.grant.authority.details().iter();
        let details = details.map(aims_authority::Detail::to_value).collect();
        let token = InstanceToken {
            assurance: "confined".to_owned(),
            common: TokenCommon {
                issuer: ISSUER.to_owned(),
                client_id: task.grant.delegate_spiffe_id.to_string(),
                audience: RESOURCE.to_owned(),
                issued_at: NOW,
                expires_at: NOW.plus(Duration::from_mins(10)),
                token: Id::from_u128(900 + instance),
                jkt: Thumbprint::of(key.public()),
            },
            subject: person().id.to_string(),
            act: Some(ActorChain::new(current.clone(), prior).unwrap()),
            authorization_details: Value::Array(details),
            task: task.id,
            instance: Id::from_u128(instance),
            chain: Chain::new(task.digests()).unwrap(),
            revision: Revision::new(10),
        };
        Self {
            world,
            key,
            token,
            session: None,
        }
    }

    pub(crate) async fn open(world: &'w World, task: &Task, instance: u128) -> Self {
        let mut agent = Self::new(world, task, instance);
        let answer = agent.initialize().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer
            .headers
            .get("mcp-session-id")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        agent.session = Some(session);
        agent
    }

    pub(crate) fn instance(&self) -> Id<types::Instance> {
        self.token.instance
    }

    pub(crate) fn token_text(&self) -> String {
        let key = self.world.keys.token.as_ref();
        AccessToken::Instance(self.token.clone())
            .create(key, &kid(key))
            .unwrap()
    }

    pub(crate) fn proof(&self, method: &str, uri: &str, token: &str) -> String {
        let htu = HttpUri::parse(uri).unwrap();
        let jti = format!("jti-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let proof = Proof {
            htm: method,
            htu: &htu,
            iat: self.world.clock.now(),
            jti: &jti,
            access_token: Some(token),
        };
        proof.create(self.key.as_ref()).unwrap()
    }

    /// A good request, to be spoilt.
    pub(crate) fn request(&self, method: &str, body: &str) -> http::Request<Bytes> {
        let token = self.token_text();
        let uri = format!("{RESOURCE}/mcp/bench");
        let mut request = http::Request::builder()
            .method(method)
            .uri("/mcp/bench")
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", self.proof(method, &uri, &token))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        request.body(Bytes::from(body.to_owned())).unwrap()
    }

    pub(crate) async fn send(&self, request: http::Request<Bytes>) -> Answer {
        Answer::read(self.world.gateway.http(request).await.unwrap()).await
    }

    pub(crate) async fn post(&self, body: &str) -> Answer {
        self.send(self.request("POST", body)).await
    }

    /// Sends a call and returns its stream unread.
    pub(crate) async fn begin(&self, id: u64, tool: &str, arguments: &str) -> http::Response<Body> {
        self.unread(&call(id, tool, arguments)).await
    }

    /// Sends a message and returns the answer unread.
    pub(crate) async fn unread(&self, body: &str) -> http::Response<Body> {
        let request = self.request("POST", body);
        self.world.gateway.http(request).await.unwrap()
    }

    pub(crate) async fn initialize(&self) -> Answer {
        let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
        self.post(body).await
    }

    pub(crate) async fn call(&self, id: u64, tool: &str, arguments: &str) -> Answer {
        self.post(&call(id, tool, arguments)).await
    }

    pub(crate) async fn tools(&self) -> Vec<String> {
        let answer = self
            .post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
            .await;
        let tools = answer
            .result()
            .and_then(|result| result.get("tools"))
            .cloned()
            .unwrap();
        let name = |tool: &Value| tool.get("name").unwrap().as_str().unwrap().to_owned();
        tools.as_array().unwrap().iter().map(name).collect()
    }

    pub(crate) async fn connect(&self, target: &str) -> ConnectReply {
        let token = self.token_text();
        let uri = format!("{RESOURCE}/connect/{target}");
        let request = http::Request::builder()
            .method("CONNECT")
            .uri(target)
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", self.proof("CONNECT", &uri, &token))
            .body(())
            .unwrap();
        self.world.gateway.connect(request).await.unwrap()
    }
}

fn actor(agent: &types::SpiffeId) -> Actor {
    Actor {
        sub: agent.to_string(),
        iss: None,
    }
}

pub(crate) fn call(id: u64, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":"p{id}"}}}}}}"#
    )
}

impl Answer {
    pub(crate) async fn read(response: http::Response<Body>) -> Self {
        let (head, mut body) = response.into_parts();
        let (mut bytes, mut broken) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => broken = true,
            }
            if broken {
                break;
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        let stream = head
            .headers
            .get("content-type")
            .is_some_and(|kind| kind == "text/event-stream");
        let texts: Vec<String> = if stream {
            text.lines()
                .filter_map(|line| line.strip_prefix("data: "))
                .map(str::to_owned)
                .collect()
        } else {
            Some(text)
                .filter(|text| text.starts_with('{'))
                .into_iter()
                .collect()
        };
        let read = |text: &String| parse(text.as_bytes(), &Limits::DOCUMENT).unwrap();
        let messages = texts.iter().map(read).collect();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            messages,
            texts,
            broken,
        }
    }

    pub(crate) fn result(&self) -> Option<&Value> {
        self.messages.last()?.get("result")
    }

    pub(crate) fn error(&self) -> Option<&Object> {
        self.messages.last()?.get("error")?.as_object()
    }

    pub(crate) fn code(&self) -> i64 {
        self.error()
            .and_then(|error| error.get("code"))
            .and_then(Value::as_i64)
            .unwrap_or(0)
    }

    pub(crate) fn rule(&self) -> String {
        let rule = self
            .error()
            .and_then(|error| error.get("data")?.get("rule")?.as_str());
        rule.unwrap_or_default().to_owned()
    }
}
