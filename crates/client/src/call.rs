//! Authenticated calls: an assertion for a token, a proof for each request.

use std::io;
use std::sync::Arc;

use aims_crypto::base64url;
use aims_json::Limits;
use aims_oauth::dpop::{CreateProofError, Proof};
use aims_oauth::{
    AssertionClaims, ErrorResponse, HttpUri, PersonGrant, TokenRequest, TokenResponse,
};
use aims_types::{Clock, Entropy, EntropyError, Gateway, Id, Secret, Token};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::{PersonKey, Profile};

/// Longest answer that is read, in bytes.
pub const RESPONSE_LEN_MAX: usize = 16 << 20;

/// Names one gateway each that did not take over the change.
const LAPSED: &str = "aims-lapsed";
/// Most of them that are told of.
const LAPSED_MAX: usize = 128;

/// A person's connection to the server.
pub struct Client {
    profile: Profile,
    key: PersonKey,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    token: Option<Secret<String>>,
    on_lapsed: Option<OnLapsed>,
}

/// Called with the gateways that did not take a change over; nothing is allowed there.
type OnLapsed = Box<dyn Fn(&[Id<Gateway>]) + Send + Sync>;

/// What the server says of a refused request (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable code for programs.
    pub code: String,
    /// What happened, why, what next.
    pub detail: String,
    /// HTTP status.
    pub status: u16,
}

/// A call that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server is not there.
    #[error("the server does not answer at `{socket}`: {source}; is `aims up` running?")]
    Unreachable {
        /// Its socket.
        socket: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("the connection to the server broke: {0}")]
    Broken(String),
    /// The server did not accept the person's key.
    #[error("the server does not accept this key: {0}")]
    NotAuthenticated(String),
    /// The server refused.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// The proof or the assertion could not be made.
    #[error("the request can't be signed: {0}")]
    Signing(String),
}

impl Client {
    /// A client of the profile's server, with the profile's key.
    pub const fn new(
        profile: Profile,
        key: PersonKey,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            profile,
            key,
            clock,
            entropy,
            token: None,
            on_lapsed: None,
        }
    }

    /// The same client, which tells of the gateways that did not take over a change that was made
    /// through it. Such a change is complete all the same: nothing is allowed there.
    #[must_use]
    pub fn telling_of_lapsed(
        mut self,
        tell: impl Fn(&[Id<Gateway>]) + Send + Sync + 'static,
    ) -> Self {
        self.on_lapsed = Some(Box::new(tell));
        self
    }

    /// The person's settings.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The person's key.
    pub const fn key(&self) -> &PersonKey {
        &self.key
    }

    /// Looks something up.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Asks for a change.
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| ClientError::Signing(e.to_string()))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let token = self.token().await?;
        let plain_path = path.split('?').next().unwrap_or(path);
        let proof = self.proof(method.as_str(), plain_path, Some(token.expose()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "aims")
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("DPoP {}", token.expose()))
            .header("dpop", proof)
            .body(Full::new(body))
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let (status, headers, body) = self.send(request).await?;
        if let Some(tell) = &self.on_lapsed
            && let lapsed @ [_, ..] = lapsed(&headers).as_slice()
        {
            tell(lapsed);
        }
        if status.is_success() {
            return aims_json::from_slice(&body, &Limits::DOCUMENT)
                .map_err(|error| ClientError::Broken(error.to_string()));
        }
        Err(refusal(status, &body))
    }

    /// The person's token; asked for once.
    async fn token(&mut self) -> Result<Secret<String>, ClientError> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let claims = AssertionClaims {
            audience: &self.profile.issuer,
            kid: Some(&self.key.jwk().thumbprint().to_string()),
            jti: &self.jti()?,
            now: self.clock.now(),
        };
        let assertion = PersonGrant::create(self.key.signer(), self.profile.person_id, &claims)
            .map_err(|error| ClientError::Signing(error.to_string()))?;
        let grant = TokenRequest::JwtBearer {
            assertion: Secret::new(assertion),
            scope: None,
        };
        let form = grant.to_form(None).expose().clone();
        let request = Request::builder()
            .method(Method::POST)
            .uri("/token")
            .header(HOST, "aims")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("dpop", self.proof("POST", "/token", None)?)
            .body(Full::new(Bytes::from(form)))
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let (status, _, body) = self.send(request).await?;
        if !status.is_success() {
            return Err(not_authenticated(status, &body));
        }
        let answer =
            TokenResponse::parse(&body).map_err(|error| ClientError::Broken(error.to_string()))?;
        let token = answer.access_token;
        self.token = Some(token.clone());
        Ok(token)
    }

    fn proof(
        &self,
        method: &str,
        path: &str,
        access_token: Option<&str>,
    ) -> Result<String, ClientError> {
        let signing = |error: &dyn std::fmt::Display| ClientError::Signing(error.to_string());
        let htu = HttpUri::of_request(&format!("{}{path}", self.profile.issuer))
            .map_err(|error| signing(&error))?;
        let proof = Proof {
            htm: method,
            htu: &htu,
            iat: self.clock.now(),
            jti: &self.jti()?,
            access_token,
        };
        proof
            .create(self.key.signer())
            .map_err(|error: CreateProofError| signing(&error))
    }

    fn jti(&self) -> Result<String, ClientError> {
        let id: Id<Token> = Id::new(self.clock.now(), self.entropy.as_ref())
            .map_err(|error: EntropyError| ClientError::Signing(error.to_string()))?;
        Ok(base64url::encode(&id.as_u128().to_be_bytes()))
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), ClientError> {
        let broken = |error: &dyn std::fmt::Display| ClientError::Broken(error.to_string());
        let socket = &self.profile.api_socket;
        let stream =
            UnixStream::connect(socket)
                .await
                .map_err(|source| ClientError::Unreachable {
                    socket: socket.display().to_string(),
                    source,
                })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let exchange = async {
            let response = sender.send_request(request).await;
            let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
            let body = Limited::new(body, RESPONSE_LEN_MAX).collect().await;
            let body = body.map_err(|error| broken(&error))?.to_bytes();
            Ok((head.status, head.headers, body))
        };
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            done = &mut exchange => done,
            ended = &mut connection => match ended {
                // The server closed after it answered: what it sent is still to be read.
                Ok(()) => exchange.await,
                Err(error) => Err(broken(&error)),
            },
        }
    }
}

/// The gateways that did not take over a change, as the answer to it names them.
fn lapsed(headers: &HeaderMap) -> Vec<Id<Gateway>> {
    let named = headers.get_all(LAPSED).iter();
    let named = named.filter_map(|value| value.to_str().ok()?.parse().ok());
    named.take(LAPSED_MAX).collect()
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    match aims_json::from_slice::<Problem>(body, &Limits::MESSAGE) {
        Ok(problem) if status == StatusCode::UNAUTHORIZED => {
            ClientError::NotAuthenticated(problem.detail)
        }
        Ok(problem) => ClientError::Refused(problem),
        Err(_) => ClientError::Broken(format!("the server answered {status}")),
    }
}

fn not_authenticated(status: StatusCode, body: &[u8]) -> ClientError {
    match ErrorResponse::parse(body) {
        Ok(said) => {
            let (code, words) = (said.code().as_str(), said.description());
            ClientError::NotAuthenticated(format!("{code}: {words}"))
        }
        Err(_) => ClientError::Broken(format!("the token endpoint answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aims_types::ambient::{SystemClock, SystemEntropy};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// Answers each connection with the next of these.
    async fn serve(listener: UnixListener, answers: Vec<String>) {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn answer(headers: &str, body: &str) -> String {
        let len = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len}\r\n{headers}\r\n{body}"
        )
    }

    #[tokio::test]
    async fn gateways_that_did_not_take_a_change_over_are_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let api_socket = dir.path().join("api.sock");
        let listener = UnixListener::bind(&api_socket).unwrap();
        let key_file = dir.path().join("key.pem");
        let profile = Profile {
            person: "alice".parse().unwrap(),
            person_id: Id::from_u128(1),
            key_file: key_file.clone(),
            api_socket,
            node_socket: dir.path().join("node.sock"),
            issuer: "https://aims.test".to_owned(),
            trust_domain: "aims.test".to_owned(),
            log_key: String::new(),
            log_url: String::new(),
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let key = PersonKey::create(&key_file).unwrap();
        let ambient = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let mut client = Client::new(profile, key, ambient.0, ambient.1)
            .telling_of_lapsed(move |lapsed| heard.lock().unwrap().extend_from_slice(lapsed));
        let (one, two) = (Id::<Gateway>::from_u128(7), Id::<Gateway>::from_u128(8));
        let token = r#"{"access_token":"t","token_type":"DPoP","expires_in":60,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}"#;
        let lapsed = format!("aims-lapsed: {one}\r\naims-lapsed: [2J\r\naims-lapsed: {two}\r\n");
        let answers = vec![answer("", token), answer("", "{}"), answer(&lapsed, "{}")];
        let asked = async {
            let _: serde_json::Value = client.get("/v1/policy").await.unwrap();
            let before = told.lock().unwrap().len();
            let _: serde_json::Value = client.post("/v1/kills", &()).await.unwrap();
            before
        };
        let (before, ()) = tokio::join!(asked, serve(listener, answers));
        assert_eq!(before, 0);
        assert_eq!(*told.lock().unwrap(), [one, two]);
    }
}
