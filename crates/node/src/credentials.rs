//! What the node holds for an instance: its key, its workload identity token, its access token.
//!
//! Nothing of it enters the walls. The access token is fetched when the first request needs it and
//! again before half its life is left.

use std::sync::Arc;

use aims_authority::Authority;
use aims_crypto::{Signer, SigningKey, base64url};
use aims_jose::{Jwk, SigningHeader, Thumbprint, sign};
use aims_links::{Control, InstanceGrant, TokenCall};
use aims_model::DelegationRequest;
use aims_model::grant::{DELEGATION_TYP, grant_digest};
use aims_oauth::dpop::Proof;
use aims_oauth::{
    AssertionClaims, ClientAssertion, ClientCredential, ErrorResponse, HttpUri, TokenExchange,
    TokenRequest, TokenResponse, TokenType, TypedToken,
};
use aims_types::{
    Clock, Entropy, Id, Instance, Node as NodeKind, Secret, SpiffeId, Timestamp, Token,
};
use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::Mutex;

use crate::delegation::Ask;
use crate::door::Problem;
use crate::launch::Seen;

/// The node itself: who it is towards the token endpoint.
pub(crate) struct NodeIdentity {
    pub(crate) id: Id<NodeKind>,
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) key: Arc<dyn Signer>,
}

/// One instance's credentials.
pub(crate) struct Credentials {
    grant: InstanceGrant,
    key: Arc<SigningKey>,
    seen: Arc<Seen>,
    node: Arc<NodeIdentity>,
    control: Arc<dyn Control>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    held: Mutex<Held>,
}

struct Held {
    /// The workload identity token.
    wit: Lived,
    /// The access token, once one was needed.
    token: Option<Lived>,
}

/// A token, and when it is to be renewed: at half its life.
struct Lived {
    text: Secret<String>,
    renew_at: Timestamp,
}

/// The two headers that authenticate one request (RFC 9449 §7.1).
pub(crate) struct Proven {
    pub(crate) authorization: HeaderValue,
    pub(crate) dpop: HeaderValue,
}

impl Credentials {
    pub(crate) fn new(
        grant: InstanceGrant,
        (key, seen): (Arc<SigningKey>, Arc<Seen>),
        node: Arc<NodeIdentity>,
        control: Arc<dyn Control>,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
    ) -> Self {
        let wit = Lived::until(&grant.wit, clock.now(), grant.expires_at);
        Self {
            grant,
            key,
            seen,
            node,
            control,
            clock,
            entropy,
            held: Mutex::new(Held { wit, token: None }),
        }
    }

    /// The resource (audience) that the instance's tokens are for.
    pub(crate) fn resource(&self) -> &str {
        &self.grant.resource
    }

    /// The instance.
    pub(crate) const fn instance(&self) -> Id<Instance> {
        self.grant.instance
    }

    /// What the instance signs to hand on a part of its authority, and the workload identity token
    /// that binds its key to it.
    pub(crate) async fn delegation(&self, ask: &Ask) -> Result<(String, String), Problem> {
        let wit = {
            let mut held = self.held.lock().await;
            let now = self.clock.now();
            if now >= held.wit.renew_at {
                held.wit = self.renew(now).await?;
            }
            held.wit.text.expose().clone()
        };
        let now = self.clock.now();
        let deadline = now.plus(ask.life).min(self.grant.deadline);
        let request = DelegationRequest {
            instance: self.grant.instance,
            audience: self.node.spiffe_id.trust_domain(),
            jti: self.jti()?,
            issued_at: now,
            parent: grant_digest(&self.grant.grant),
            agent: ask.agent.clone(),
            purpose: ask.purpose.clone(),
            deadline,
            authority: until(&ask.authority, deadline)?,
        };
        let claims = request.to_claims().map_err(|error| broken(&error))?;
        let kid = Thumbprint::of(self.key.public()).to_string();
        let header = SigningHeader::new(DELEGATION_TYP).kid(kid);
        let signed = sign(&header, &claims, self.key.as_ref()).map_err(|error| broken(&error))?;
        Ok((signed, wit))
    }

    /// Whether the task's deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.clock.now() >= self.grant.deadline
    }

    /// The headers for one request of `method` to `target`.
    pub(crate) async fn prove(&self, method: &str, target: &str) -> Result<Proven, Problem> {
        let token = self.token().await?;
        let dpop = self.proof(method, target, Some(token.expose()))?;
        Ok(Proven {
            authorization: header(&format!("DPoP {}", token.expose()))?,
            dpop: header(&dpop)?,
        })
    }

    /// The access token, renewed when half its life is over. One exchange at a time.
    async fn token(&self) -> Result<Secret<String>, Problem> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if now >= self.grant.deadline {
            let over = "the deadline of the task has passed";
            return Err(Problem::NoToken(over.to_owned()));
        }
        if let Some(current) = held.token.as_ref().filter(|token| now < token.renew_at) {
            return Ok(current.text.clone());
        }
        if now >= held.wit.renew_at {
            held.wit = self.renew(now).await?;
        }
        let answer = self.exchange(now, &held.wit.text).await?;
        let expires_at = now.plus(answer.expires_in);
        let fresh = Lived::until(answer.access_token.expose(), now, expires_at);
        Ok(held.token.insert(fresh).text.clone())
    }

    /// A new workload identity token, on evidence that is seen again now.
    async fn renew(&self, now: Timestamp) -> Result<Lived, Problem> {
        let seen = Arc::clone(&self.seen);
        let evidence = tokio::task::spawn_blocking(move || seen.again())
            .await
            .map_err(|error| Problem::NoToken(error.to_string()))?
            .map_err(|error| Problem::NoToken(format!("it can't be seen again: {error}")))?;
        let (node, instance) = (self.node.id, self.grant.instance);
        match self
            .control
            .instance_renew(node, instance, evidence)
            .await?
        {
            Ok(grant) => Ok(Lived::until(&grant.wit, now, grant.expires_at)),
            Err(refusal) => Err(Problem::NoToken(refusal.reason)),
        }
    }

    /// RFC 8693: the person's grant as subject, the instance as actor, the node as client.
    async fn exchange(
        &self,
        now: Timestamp,
        wit: &Secret<String>,
    ) -> Result<TokenResponse, Problem> {
        let typed = |token: &str| TypedToken {
            token: Secret::new(token.to_owned()),
            token_type: TokenType::Jwt,
        };
        let request = TokenRequest::Exchange(Box::new(TokenExchange {
            subject: typed(&self.grant.grant),
            actor: Some(typed(wit.expose())),
            requested_token_type: Some(TokenType::AccessToken),
            resource: Some(self.grant.resource.clone()),
            audience: None,
            scope: None,
            authorization_details: None,
        }));
        let form = request.to_form(Some(&self.client(now)?));
        let endpoint = format!("{}/token", self.grant.issuer);
        let call = TokenCall {
            form: Bytes::copy_from_slice(form.expose().as_bytes()),
            dpop: self.proof("POST", &endpoint, None)?,
        };
        let reply = self.control.token(call).await?;
        if reply.status != 200 {
            let said = ErrorResponse::parse(&reply.body);
            let said = said.map_or_else(
                |_| format!("the token endpoint answered {}", reply.status),
                |error| error.description().to_owned(),
            );
            return Err(Problem::NoToken(said));
        }
        TokenResponse::parse(&reply.body).map_err(|error| Problem::NoToken(error.to_string()))
    }

    /// The node's own authentication (RFC 7523 §2.2).
    fn client(&self, now: Timestamp) -> Result<ClientCredential, Problem> {
        let kid = Thumbprint::of(self.node.key.public()).to_string();
        let claims = AssertionClaims {
            audience: &self.grant.issuer,
            kid: Some(&kid),
            jti: &self.jti()?,
            now,
        };
        let client_id = self.node.spiffe_id.as_str();
        let assertion = ClientAssertion::create(self.node.key.as_ref(), client_id, &claims)
            .map_err(|error| Problem::NoToken(error.to_string()))?;
        Ok(ClientCredential {
            client_id: Some(client_id.to_owned()),
            assertion: Secret::new(assertion),
        })
    }

    fn proof(
        &self,
        method: &str,
        target: &str,
        access_token: Option<&str>,
    ) -> Result<String, Problem> {
        let htu = HttpUri::of_request(target).map_err(|_| Problem::Broken)?;
        let proof = Proof {
            htm: method,
            htu: &htu,
            iat: self.clock.now(),
            jti: &self.jti()?,
            access_token,
        };
        proof
            .create(self.key.as_ref())
            .map_err(|error| Problem::NoToken(error.to_string()))
    }

    fn jti(&self) -> Result<String, Problem> {
        let id: Id<Token> = Id::new(self.clock.now(), self.entropy.as_ref())
            .map_err(|error| Problem::NoToken(error.to_string()))?;
        Ok(base64url::encode(&id.as_u128().to_be_bytes()))
    }
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    Problem::Delegation(error.to_string())
}

/// The authority until `deadline`, if it does not say itself when it ends.
fn until(authority: &Authority, deadline: Timestamp) -> Result<Authority, Problem> {
    if authority.limits().not_after().is_some() {
        return Ok(authority.clone());
    }
    let limits = authority.limits().clone().with_not_after(deadline);
    let details = authority.details().to_vec();
    Authority::new(details, limits).map_err(|problem| broken(&problem))
}

impl Lived {
    fn until(text: &str, now: Timestamp, expires_at: Timestamp) -> Self {
        Self {
            text: Secret::new(text.to_owned()),
            renew_at: now.plus(expires_at.since(now) / 2),
        }
    }
}

/// The public half of an instance's key, as it is attested.
pub(crate) fn jwk_text(key: &SigningKey) -> String {
    Jwk::new(*key.public()).to_value().to_string()
}

fn header(text: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Problem::Broken)?;
    value.set_sensitive(true);
    Ok(value)
}
