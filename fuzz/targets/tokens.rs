//! What lies behind a good signature: claims of whoever has a key.
#![no_main]

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use aims_crypto::{Alg, PublicKey, Signer, SigningKey};
use aims_jose::{KeySource, SigningHeader, sign, typ};
use aims_oauth::dpop::{Expect, PROOF_WINDOW, Proof};
use aims_oauth::{
    ASSERTION_LIFE_MAX, AssertionExpect, HttpUri, Nonces, Presented, ReplayCache, TokenExpect,
    UnverifiedClientAssertion, UnverifiedPersonGrant, UnverifiedSvidAssertion, VerifiedAccessToken,
    WorkloadIdentity, WorkloadIdentityExpect, authenticate,
};
use aims_types::Timestamp;
use aims_types::ambient::SystemEntropy;
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Alg::Ed25519).unwrap());

struct Ours;

impl KeySource for Ours {
    fn key(&self, kid: &str) -> Option<PublicKey> {
        (kid == "k").then(|| *KEY.public())
    }
}

fn signed(kind: &'static str, claims: &[u8], embed: bool) -> String {
    let header = SigningHeader::new(kind);
    let header = if embed {
        header.embed_key()
    } else {
        header.kid("k")
    };
    sign(&header, claims, &*KEY).unwrap()
}

fuzz_target!(|claims: &[u8]| {
    if claims.len() > 4096 {
        return;
    }
    let now = Timestamp::from_unix_secs(1_795_000_000);
    let expect = TokenExpect {
        issuer: "https://aims.example",
        audience: "https://gateway.example",
        now,
    };
    let token = signed(typ::ACCESS_TOKEN, claims, false);
    if let Ok(verified) = VerifiedAccessToken::verify(&token, &Ours, &expect) {
        // What was understood is written and understood as the same.
        let token = verified.clone().into_inner().create(&*KEY, "k").unwrap();
        assert_eq!(
            VerifiedAccessToken::verify(&token, &Ours, &expect),
            Ok(verified)
        );
    }
    let trust_domain = &"aims.local".parse().unwrap();
    let expect = WorkloadIdentityExpect { trust_domain, now };
    let token = signed(typ::WORKLOAD_IDENTITY, claims, false);
    if let Ok(verified) = WorkloadIdentity::verify(&token, &Ours, &expect) {
        assert_eq!(verified.claims().subject.trust_domain(), *trust_domain);
    }
    let htu = &HttpUri::parse("https://gateway.example/mcp/git").unwrap();
    let expect = Expect {
        htm: "POST",
        htu,
        now,
        access_token: None,
        jkt: None,
        window: PROOF_WINDOW,
    };
    let proof = signed(typ::DPOP, claims, true);
    if let Ok(proof) = Proof::verify(&proof, &expect) {
        assert!(proof.replayable_until() >= now);
        let later = now.plus(Duration::from_secs(600));
        assert!(proof.iat() < later, "a proof from the future");
    }
    assertions(claims, now);
    headers(claims, now);
});

/// Who asks, by what they signed: heard for a short while, and then it is over.
fn assertions(claims: &[u8], now: Timestamp) {
    let expect = AssertionExpect {
        issuer: "https://aims.example",
        now,
    };
    let over = now.plus(2 * ASSERTION_LIFE_MAX + Duration::from_secs(600));
    let assertion = signed(typ::CLIENT_AUTHENTICATION, claims, false);
    if let Ok(parsed) = UnverifiedClientAssertion::parse(&assertion) {
        let claimed = parsed.claimed_client_id().to_owned();
        assert!(!claimed.is_empty());
        if let Ok(verified) = parsed.verify_of_library(KEY.public(), &expect) {
            assert_eq!(verified.client_id(), claimed);
            assert!((now..over).contains(&verified.replayable_until()));
        }
    }
    let grant = signed(typ::AUTHORIZATION_GRANT, claims, false);
    if let Ok(parsed) = UnverifiedPersonGrant::parse(&grant)
        && let Ok(verified) = parsed.verify(KEY.public(), &expect)
    {
        assert!(!verified.jti().is_empty());
    }
    let svid = signed(typ::JWT, claims, false);
    if let Ok(parsed) = UnverifiedSvidAssertion::parse(&svid) {
        let claimed = parsed.claimed_subject().clone();
        if let Ok(verified) = parsed.verify(&Ours, &expect) {
            assert_eq!(*verified.subject(), claimed);
            assert!(verified.replayable_until() >= now);
        }
    }
}

/// Headers as they come, of whoever has no key: the first line is a token, the second a proof.
fn headers(text: &[u8], now: Timestamp) {
    static NONCES: LazyLock<Nonces> = LazyLock::new(|| Nonces::new(&SystemEntropy).unwrap());
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    let (authorization, proof) = text.split_once('\n').unwrap_or((text, ""));
    assert!(NONCES.check(proof, now).is_err());
    let uri = &HttpUri::parse("https://gateway.example/mcp/git").unwrap();
    let presented = Presented {
        authorization: &[authorization],
        dpop: &[proof],
        method: "POST",
        uri,
    };
    let expect = TokenExpect {
        issuer: "https://aims.example",
        audience: "https://gateway.example",
        now,
    };
    let replays = Mutex::new(ReplayCache::new(4));
    assert!(authenticate(&presented, &Ours, &expect, &replays).is_err());
}
