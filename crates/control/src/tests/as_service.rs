//! Agents that are services: client authentication by JWT-SVID and by certificate, and its end.

use std::time::Duration;

use aims_crypto::{Signer, SigningKey};
use aims_jose::{SigningHeader, Thumbprint, sign, typ};
use aims_links::{EndedInstance, Services, TokenCall, TokenReply};
use aims_model::{Assurance, EventKind, Subject};
use aims_oauth::{PROCESS_CLAIM, TokenResponse};
use aims_types::{self as types, Digest, Id};
use aims_x509::{Bundle, CaCertificate, PeerId, verify_svid};

use super::kill::killing;
use super::remote::{Remote, claims, instance, refusal};
use super::services::{attest, call, running, seen, service, svid};
use super::world::{ISSUER, RESOURCE, Somebody, World, agent, kid, new_key, text};
use crate::{Proof, Refused, RegisterAgent};

const CLIENT: &str = "spiffe://aims.local/agent/courier";

/// A service `mail` that is the agent `courier`, with one process and a task.
struct Mail {
    world: World,
    mia: Somebody,
    process: Id<types::Instance>,
    task: Id<types::Task>,
}

fn registration(name: &str, assurance: &str, service: &str) -> RegisterAgent {
    RegisterAgent {
        evidence: Proof::Service {
            assurance: assurance.to_owned(),
            service: service.to_owned(),
        },
        ..agent(name, "mia")
    }
}

impl Mail {
    async fn new() -> Self {
        let (world, mia) = World::ready().await;
        let cx = world.cx(&world.operator);
        let mail = service(&world, "mail");
        world.plane.service_register(&cx, mail).await.unwrap();
        let courier = registration("courier", "observed", "mail");
        world.plane.agent_register(&cx, courier).await.unwrap();
        let process = running(&world).await;
        let task = world.start(&mia, "courier").await.task.id;
        Self {
            world,
            mia,
            process,
            task,
        }
    }

    async fn jwt(&self, audience: &[&str]) -> String {
        let audience = audience.iter().map(|&one| one.to_owned()).collect();
        let call = call(&self.world, self.process);
        let jwt = self.world.plane.service_jwt(call, audience).await;
        jwt.unwrap().unwrap().token.expose().clone()
    }

    async fn peer(&self) -> PeerId {
        let (svid, _) = svid(&self.world, call(&self.world, self.process))
            .await
            .unwrap();
        let authority = CaCertificate::from_der(&svid.bundle[0]).unwrap();
        let bundle = Bundle::new(vec![authority]).unwrap();
        verify_svid(&svid.chain, &bundle, self.world.now()).unwrap()
    }

    /// Asks for a token with what a form says of the client, and with a certificate.
    async fn ask(&self, client: &str, peer: Option<PeerId>, run: &SigningKey) -> TokenReply {
        let form = format!(
            "grant_type=client_credentials&aims_task={}&resource={RESOURCE}{client}",
            self.task
        );
        let call = TokenCall {
            form: form.into(),
            dpop: self.world.proof(run),
        };
        self.world.plane.oauth_token(call, peer).await.unwrap()
    }

    async fn by_jwt(&self, svid: &str, run: &SigningKey) -> TokenReply {
        self.ask(&of_jwt(CLIENT, svid), None, run).await
    }

    async fn by_certificate(&self, run: &SigningKey) -> TokenReply {
        let client = format!("&client_id={CLIENT}");
        self.ask(&client, Some(self.peer().await), run).await
    }

    /// Status, error and record of a refusal.
    async fn refusal(&self, reply: &TokenReply) -> (u16, String, String) {
        refusal(&self.world, reply).await
    }

    async fn is_active(&self, token: &str) -> bool {
        let form = format!("token={token}&client_id={CLIENT}");
        let peer = Some(self.peer().await);
        let reply = self.world.plane.oauth_introspect(form.into(), peer).await;
        let reply = reply.unwrap();
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.body.starts_with(br#"{"active":true"#)
    }
}

fn of_jwt(client_id: &str, svid: &str) -> String {
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-spiffe";
    format!("&client_id={client_id}&client_assertion_type={kind}&client_assertion={svid}")
}

fn token_of(reply: &TokenReply) -> String {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let response = TokenResponse::parse(&reply.body).unwrap();
    response.access_token.expose().clone()
}

fn invalid_client(code: &str) -> (u16, String, String) {
    (401, "invalid_client".to_owned(), code.to_owned())
}

#[tokio::test]
async fn a_process_of_a_service_gets_tokens_as_the_agent_that_it_is_registered_as() {
    let mail = Mail::new().await;
    let run = new_key();
    let token = token_of(&mail.by_jwt(&mail.jwt(&[ISSUER]).await, &run).await);
    let said = claims(&mail.world, &token).await;
    assert_eq!(said.assurance, "observed");
    assert_eq!(said.common.client_id, CLIENT);
    assert_eq!(said.common.jkt.to_string(), kid(&run));
    let made = instance(&mail.world, said.instance).await;
    assert_eq!(made.assurance(), Assurance::Observed);
    assert_eq!((made.process, made.node), (Some(mail.process), None));
    // By its certificate it is the same run.
    let again = token_of(&mail.by_certificate(&run).await);
    assert_eq!(claims(&mail.world, &again).await.instance, said.instance);
    assert!(mail.is_active(&token).await);
    let attested = mail.world.records_of(EventKind::InstanceAttested).await;
    assert_eq!(text(&attested[0], "process"), mail.process.to_string());
    let issued = mail.world.records_of(EventKind::TokenIssued).await;
    for record in &issued {
        assert_eq!(text(record, "process"), mail.process.to_string());
    }
}

#[tokio::test]
async fn trap_15_no_jwt_svid_but_one_for_this_server_alone_counts() {
    let mail = Mail::new().await;
    let run = new_key();
    let endpoint = format!("{ISSUER}/token");
    for audience in [
        vec!["bank"],
        vec![endpoint.as_str()],
        vec![RESOURCE],
        vec![ISSUER, "bank"],
    ] {
        let reply = mail.by_jwt(&mail.jwt(&audience).await, &run).await;
        let expected = invalid_client("client_svid_refused");
        assert_eq!(mail.refusal(&reply).await, expected, "{audience:?}");
    }
    // One that somebody else signed, though it says everything that ours does.
    let claims = format!(
        r#"{{"aud":"{ISSUER}","exp":{1},"iat":{0},"jti":"x","sub":"spiffe://aims.local/service/mail","{PROCESS_CLAIM}":"{2}"}}"#,
        mail.world.now().unix_secs(),
        mail.world.now().unix_secs() + 60,
        mail.process
    );
    let known = mail.world.plane.keyring().jwt.kid.clone();
    let header = SigningHeader::new(typ::JWT).kid(known);
    let forged = sign(&header, claims.as_bytes(), &new_key()).unwrap();
    let reply = mail.by_jwt(&forged, &run).await;
    assert_eq!(
        mail.refusal(&reply).await,
        invalid_client("client_svid_refused")
    );
    // One that has ended.
    let svid = mail.jwt(&[ISSUER]).await;
    mail.world.clock.forward(Duration::from_secs(306));
    let reply = mail.by_jwt(&svid, &run).await;
    assert_eq!(
        mail.refusal(&reply).await,
        invalid_client("client_svid_refused")
    );
}

#[tokio::test]
async fn a_jwt_svid_counts_once_because_who_finds_it_holds_it() {
    let mail = Mail::new().await;
    let svid = mail.jwt(&[ISSUER]).await;
    token_of(&mail.by_jwt(&svid, &new_key()).await);
    let thief = mail.by_jwt(&svid, &new_key()).await;
    assert_eq!(mail.refusal(&thief).await.2, "assertion_replayed");
    let form = format!("token=x{}", of_jwt(CLIENT, &svid));
    let asked = mail.world.plane.oauth_introspect(form.into(), None).await;
    assert_eq!(asked.unwrap().status, 400);
    assert_eq!(mail.world.refused().await, "assertion_replayed");
}

#[tokio::test]
async fn trap_16_an_svid_is_of_exactly_the_agent_that_its_service_is_registered_as() {
    let mail = Mail::new().await;
    let (world, run) = (&mail.world, new_key());
    Remote::new(world, &mail.mia, "planner").await;
    let cx = world.cx(&world.operator);
    let mut post = service(world, "post");
    post.executable.path = "/usr/bin/post".to_owned();
    world.plane.service_register(&cx, post).await.unwrap();
    let other = registration("walker", "observed", "post");
    world.plane.agent_register(&cx, other).await.unwrap();
    let foreign = invalid_client("foreign_client");
    for client_id in [
        "spiffe://aims.local/agent/walker",
        "spiffe://aims.local/agent/planner",
        "spiffe://aims.local/agent/notes",
        "spiffe://aims.local/agent/nobody",
        "spiffe://aims.local/agent/courier/x",
        "spiffe://aims.local/service/mail",
        "spiffe://other.example/agent/courier",
        "courier",
    ] {
        let svid = mail.jwt(&[ISSUER]).await;
        let reply = mail.ask(&of_jwt(client_id, &svid), None, &run).await;
        assert_eq!(mail.refusal(&reply).await, foreign, "{client_id}");
        let client = format!("&client_id={client_id}");
        let reply = mail.ask(&client, Some(mail.peer().await), &run).await;
        assert_eq!(mail.refusal(&reply).await, foreign, "{client_id}");
    }
    // A JWT-SVID is none of the assertions that an agent signs itself.
    let svid = mail.jwt(&[ISSUER]).await;
    let disguised = of_jwt(CLIENT, &svid).replace("jwt-spiffe", "jwt-bearer");
    let reply = mail.ask(&disguised, None, &run).await;
    assert_eq!(mail.refusal(&reply).await.0, 401);
}

#[tokio::test]
async fn a_name_without_a_certificate_and_a_certificate_without_a_name_are_nobody() {
    let mail = Mail::new().await;
    let run = new_key();
    let name = format!("&client_id={CLIENT}");
    for (client, peer) in [(name.as_str(), None), ("", Some(mail.peer().await))] {
        let reply = mail.ask(client, peer, &run).await;
        assert_eq!(mail.refusal(&reply).await, invalid_client("no_client"));
    }
    // A JWT-SVID names its client besides.
    let svid = mail.jwt(&[ISSUER]).await;
    let nameless = of_jwt("", &svid);
    let reply = mail.ask(&nameless, None, &run).await;
    assert_eq!(mail.refusal(&reply).await.1, "invalid_request");
}

#[tokio::test]
async fn trap_36_a_run_outlives_a_certificate_and_no_connection_does() {
    let mail = Mail::new().await;
    let (peer, run) = (mail.peer().await, new_key());
    let client = format!("&client_id={CLIENT}");
    let first = token_of(&mail.ask(&client, Some(peer.clone()), &run).await);
    let first = claims(&mail.world, &first).await.instance;
    mail.world.clock.forward(Duration::from_secs(301));
    let old = mail.ask(&client, Some(peer), &run).await;
    assert_eq!(mail.refusal(&old).await, invalid_client("process_ended"));
    // What a token is bound to is the run's own key, not the certificate.
    let later = token_of(&mail.by_certificate(&run).await);
    assert_eq!(claims(&mail.world, &later).await.instance, first);
}

#[tokio::test]
async fn another_process_of_the_service_is_another_run() {
    let mut mail = Mail::new().await;
    let run = new_key();
    token_of(&mail.by_jwt(&mail.jwt(&[ISSUER]).await, &run).await);
    let mut second = seen();
    second.started += 1;
    let grants = attest(&mail.world, second.clone()).await.unwrap();
    let (first, second_call) = (mail.process, {
        let mut call = call(&mail.world, grants[0].instance);
        call.seen = second;
        call
    });
    mail.process = grants[0].instance;
    let jwt = mail
        .world
        .plane
        .service_jwt(second_call, vec![ISSUER.to_owned()]);
    let jwt = jwt.await.unwrap().unwrap().token.expose().clone();
    assert_ne!(first, mail.process);
    let reply = mail.by_jwt(&jwt, &run).await;
    assert_eq!(mail.refusal(&reply).await.2, "key_taken");
}

/// What ends a process, and how it is told after that.
async fn end(mail: &Mail, how: &str) {
    let (world, cx) = (&mail.world, mail.world.cx(&mail.world.operator));
    let kill = match how {
        "exit" => {
            let ended = EndedInstance {
                node: world.node.id,
                instance: mail.process,
                how: "the process exited".to_owned(),
            };
            return world.plane.service_ended(ended).await.unwrap();
        }
        "change" => {
            let mut changed = call(world, mail.process);
            changed.seen.executable.digest = Digest::from_bytes([9; 32]);
            let refused = svid(world, changed).await;
            assert_eq!(refused.err().unwrap().code, "evidence_mismatch");
            return;
        }
        "retired" => {
            let name = "mail".parse().unwrap();
            world.plane.service_retire(&cx, &name).await.unwrap();
            return;
        }
        "process" => killing("instance", &mail.process.to_string()),
        "certificate" => killing("key", &mail.peer().await.kid().to_string()),
        "node" => killing("key", &kid(&world.node.key)),
        _ => killing("agent", "courier"),
    };
    world.plane.kill(&cx, kill).await.unwrap();
}

#[tokio::test]
async fn what_a_process_does_as_an_agent_ends_with_it_at_every_gateway() {
    for how in [
        "exit",
        "change",
        "retired",
        "process",
        "certificate",
        "node",
        "agent",
    ] {
        let mail = Mail::new().await;
        let run = new_key();
        let unused = mail.jwt(&[ISSUER]).await;
        let token = token_of(&mail.by_jwt(&mail.jwt(&[ISSUER]).await, &run).await);
        assert!(mail.is_active(&token).await, "{how}");
        let said = claims(&mail.world, &token).await;
        let peer = mail.peer().await;
        end(&mail, how).await;
        let cutoffs = mail.world.gateway.newest().cutoffs.clone();
        let cut = |subject: Subject| cutoffs.iter().any(|one| one.subject == subject);
        if how == "agent" {
            let courier = instance(&mail.world, said.instance).await.agent;
            assert!(cut(Subject::Agent(courier)));
        } else {
            assert!(cut(Subject::Instance(said.instance)), "{how}");
            assert!(cut(Subject::Key(kid(&run))), "{how}");
            let made = instance(&mail.world, said.instance).await;
            assert!(!made.stage.is_live(), "{how}");
        }
        // Nor does what it still holds open anything.
        let client = format!("&client_id={CLIENT}");
        let by_peer = mail.ask(&client, Some(peer), &new_key()).await;
        let by_jwt = mail.by_jwt(&unused, &new_key()).await;
        for reply in [by_peer, by_jwt] {
            let code = mail.refusal(&reply).await.0;
            assert_eq!(code, if how == "agent" { 400 } else { 401 }, "{how}");
        }
    }
}

#[tokio::test]
async fn an_agent_is_a_service_only_where_that_is_said_aloud() {
    let mail = Mail::new().await;
    let (world, cx) = (&mail.world, mail.world.cx(&mail.world.operator));
    let gone = service(world, "gone");
    world.plane.service_register(&cx, gone).await.unwrap();
    let name = "gone".parse().unwrap();
    world.plane.service_retire(&cx, &name).await.unwrap();
    let before = world.revision().await;
    for (code, assurance, named) in [
        ("bad_assurance", "key_held", "mail"),
        ("bad_assurance", "confined", "mail"),
        ("bad_assurance", "", "mail"),
        ("bad_service", "observed", "mail"),
        ("bad_service", "observed", "gone"),
        ("bad_service", "observed", "nobody"),
        ("bad_service", "observed", "../mail"),
        ("bad_service", "observed", ""),
    ] {
        let asked = registration("fresh", assurance, named);
        let error = world.plane.agent_register(&cx, asked).await.unwrap_err();
        assert_eq!(error.code(), code, "{assurance} {named}: {error}");
        assert_eq!(world.refused().await, code);
    }
    assert_eq!(world.revision().await, before);
    let registered = world.records_of(EventKind::AgentRegistered).await;
    assert!(text(registered.last().unwrap(), "service").starts_with("svc_"));
    // An agent that was retired leaves its service to another one.
    let name = "courier".parse().unwrap();
    world.plane.agent_retire(&cx, &name).await.unwrap();
    let asked = registration("fresh", "observed", "mail");
    world.plane.agent_register(&cx, asked).await.unwrap();
}

#[tokio::test]
async fn a_process_remembers_as_many_keys_as_count() {
    let mail = Mail::new().await;
    let first = mail.peer().await;
    for _ in 0..aims_model::service::KEYS_OF_PROCESS_MAX {
        mail.peer().await;
    }
    let mut reader = mail.world.parts.store.read().await.unwrap();
    let process = reader
        .service_instance(mail.process)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(process.keys.len(), aims_model::service::KEYS_OF_PROCESS_MAX);
    assert!(!process.holds(&first.kid().to_string(), mail.world.now()));
    let stranger = Thumbprint::of(new_key().public()).to_string();
    assert!(!process.holds(&stranger, mail.world.now()));
}
