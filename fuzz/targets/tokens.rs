//! What lies behind a good signature: claims of whoever has a key.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use aims_crypto::{Alg, PublicKey, Signer, SigningKey};
use aims_jose::{KeySource, SigningHeader, sign, typ};
use aims_oauth::dpop::{Expect, PROOF_WINDOW, Proof};
use aims_oauth::{
    HttpUri, TokenExpect, UnverifiedClientAssertion, UnverifiedPersonGrant, VerifiedAccessToken,
    WorkloadIdentity, WorkloadIdentityExpect,
};
use aims_types::Timestamp;
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
    let assertion = signed(typ::CLIENT_AUTHENTICATION, claims, false);
    if let Ok(assertion) = UnverifiedClientAssertion::parse(&assertion) {
        assert!(!assertion.claimed_client_id().is_empty());
    }
    let _ = UnverifiedPersonGrant::parse(&signed(typ::AUTHORIZATION_GRANT, claims, false));
});
