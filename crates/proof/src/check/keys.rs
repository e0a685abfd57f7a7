//! Keys: enrolled once, under their thumbprint.

use std::collections::{BTreeMap, HashMap};

use aims_crypto::{PublicKey, base64url};
use aims_jose::{Jwk, KeySource, Thumbprint};
use aims_json::Limits;
use aims_model::KeyPurpose;
use aims_types::{Agent, Gateway, Id, Node, Person};
use aims_x509::CaCertificate;

use super::claims::Body;
use super::{KeyProblem, Problem};

/// Whose the server's own keys are.
pub(super) const SERVER: &str = "server";

/// Every key that was ever enrolled.
#[derive(Default)]
pub(super) struct Keys(HashMap<String, Enrolled>);

struct Enrolled {
    key: PublicKey,
    purpose: String,
    owner: String,
    retired: bool,
}

impl Keys {
    pub(super) fn enrol(&mut self, domain: &str, body: Body<'_>) -> Result<(), Problem> {
        let kid = body.text("kid")?;
        let wrong = |problem| {
            let kid = kid.to_owned();
            Problem::Key { kid, problem }
        };
        let key = read(body.text("jwk")?).ok_or_else(|| wrong(KeyProblem::Unreadable))?;
        if Thumbprint::of(&key).to_string() != kid {
            return Err(wrong(KeyProblem::NotItsThumbprint));
        }
        if self.0.contains_key(kid) {
            return Err(wrong(KeyProblem::Twice));
        }
        let (purpose, owner) = (body.text("purpose")?, body.text("owner")?);
        if !may_own(owner, purpose) {
            return Err(wrong(KeyProblem::Owner));
        }
        if purpose == KeyPurpose::Ca.as_str() {
            let certificate = certificate(body.text("certificate")?);
            let of_key = certificate.filter(|certificate| {
                *certificate.public() == key && certificate.trust_domain().as_str() == domain
            });
            of_key.ok_or_else(|| wrong(KeyProblem::Certificate))?;
        }
        let enrolled = Enrolled {
            key,
            purpose: purpose.to_owned(),
            owner: owner.to_owned(),
            retired: false,
        };
        self.0.insert(kid.to_owned(), enrolled);
        Ok(())
    }

    pub(super) fn retire(&mut self, body: Body<'_>) -> Result<(), Problem> {
        let kid = body.text("kid")?;
        match self.0.get_mut(kid).filter(|key| !key.retired) {
            Some(key) => {
                key.retired = true;
                Ok(())
            }
            None => Err(Problem::Key {
                kid: kid.to_owned(),
                problem: KeyProblem::NotEnrolled,
            }),
        }
    }

    /// The key that `kid` names now, for this purpose and owner.
    pub(super) fn find(&self, kid: &str, purpose: KeyPurpose, owner: &str) -> Option<&PublicKey> {
        let key = self.0.get(kid).filter(|key| !key.retired)?;
        (key.purpose == purpose.as_str() && key.owner == owner).then_some(&key.key)
    }

    pub(super) fn is_log_key(&self, key: &PublicKey) -> bool {
        let kid = Thumbprint::of(key).to_string();
        self.find(&kid, KeyPurpose::Log, SERVER).is_some()
    }

    /// Thumbprint and purpose of every key that is not retired.
    pub(super) fn in_force(self) -> BTreeMap<String, String> {
        let keys = self.0.into_iter().filter(|(_, key)| !key.retired);
        keys.map(|(kid, key)| (kid, key.purpose)).collect()
    }
}

/// The keys that vouch for instances now.
impl KeySource for Keys {
    fn key(&self, kid: &str) -> Option<PublicKey> {
        self.find(kid, KeyPurpose::Token, SERVER).copied()
    }
}

/// Whether keys of the purpose belong to such an owner.
fn may_own(owner: &str, purpose: &str) -> bool {
    match purpose {
        "ca" | "jwt_svid" | "token" | "grant" | "log" => owner == SERVER,
        "node" => owner.parse::<Id<Node>>().is_ok(),
        "gateway" => owner.parse::<Id<Gateway>>().is_ok(),
        "person" => owner.parse::<Id<Person>>().is_ok(),
        "agent" => owner.parse::<Id<Agent>>().is_ok(),
        _ => false,
    }
}

/// A certificate of an authority from the base64 of its DER form, in either alphabet.
fn certificate(text: &str) -> Option<CaCertificate> {
    let text = text
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    CaCertificate::from_der(&base64url::decode(&text).ok()?).ok()
}

fn read(jwk: &str) -> Option<PublicKey> {
    let value = aims_json::parse(jwk.as_bytes(), &Limits::TOKEN).ok()?;
    Some(*Jwk::parse(&value).ok()?.key())
}
