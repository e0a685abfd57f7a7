use proptest::prelude::*;

use super::*;
use crate::testing::{bit_flips, key, uri};

fn id() -> SpiffeId {
    "spiffe://aims.local/node/one".parse().unwrap()
}

#[test]
fn a_request_proves_possession_of_its_key() {
    let key = key();
    for spiffe_id in [None, Some(id())] {
        let request = SvidRequest::create(&key, spiffe_id.as_ref()).unwrap();
        let verified = SvidRequest::parse(request.der()).unwrap();
        assert_eq!(verified.public(), key.public());
        assert_eq!(verified.spiffe_id(), spiffe_id.as_ref());
        assert_eq!(verified.expect_id(&id()), Ok(()));
    }
    let request = SvidRequest::create(&key, Some(&id())).unwrap();
    let verified = SvidRequest::parse(&request.into_der()).unwrap();
    let other = "spiffe://aims.local/node/two".parse().unwrap();
    assert!(verified.expect_id(&other).is_err());
}

/// Signs with one key and names another.
struct Impostor {
    signer: aims_crypto::SigningKey,
    named: aims_crypto::SigningKey,
}

impl Signer for Impostor {
    fn public(&self) -> &PublicKey {
        self.named.public()
    }

    fn sign(&self, message: &[u8]) -> Result<aims_crypto::Signature, aims_crypto::SignError> {
        self.signer.sign(message)
    }
}

#[test]
fn a_request_for_the_key_of_another_is_refused() {
    let impostor = Impostor {
        signer: key(),
        named: key(),
    };
    let request = SvidRequest::create(&impostor, Some(&id())).unwrap();
    let parsed = SvidRequest::parse(request.der());
    assert_eq!(parsed, Err(ParseRequestError::NoPossession));
}

#[test]
fn requests_for_more_than_one_name_or_no_spiffe_id_are_refused() {
    let signer = key();
    let request = |names: Vec<rcgen::SanType>| {
        let mut params = params_for(None).unwrap();
        params.subject_alt_names = names;
        let request = params.serialize_request(&Es256::new(&signer).unwrap());
        SvidRequest::parse(request.unwrap().der()).err()
    };
    let two = vec![uri(id().as_str()), uri("spiffe://aims.local/node/two")];
    assert_eq!(request(two), Some(ParseRequestError::UriNames));
    let scheme = ParseRequestError::SpiffeId(SpiffeIdError::Scheme);
    assert_eq!(request(vec![uri("https://aims.local/a")]), Some(scheme));
}

#[test]
fn requests_of_other_kinds_of_keys_are_refused() {
    let seed = aims_types::Secret::new([1; 32]);
    let edwards = aims_crypto::SigningKey::ed25519_from_seed(&seed).unwrap();
    let created = SvidRequest::create(&edwards, None);
    assert_eq!(created.err(), Some(CreateRequestError::Algorithm));
    for alg in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = rcgen::KeyPair::generate_for(alg).unwrap();
        let request = params_for(None).unwrap().serialize_request(&key).unwrap();
        let parsed = SvidRequest::parse(request.der());
        assert_eq!(parsed, Err(ParseRequestError::Key));
    }
}

#[test]
fn octets_that_are_no_request_are_refused() {
    let request = SvidRequest::create(&key(), Some(&id())).unwrap();
    let der = request.der();
    for len in 0..der.len() {
        assert!(SvidRequest::parse(&der[..len]).is_err(), "{len}");
    }
    let longer = [der, &[0]].concat();
    assert_eq!(SvidRequest::parse(&longer), Err(ParseRequestError::Der));
    let huge = vec![0x30; REQUEST_LEN_MAX + 1];
    assert_eq!(SvidRequest::parse(&huge), Err(ParseRequestError::Length));
}

#[test]
fn no_single_bit_of_a_request_can_be_changed() {
    let request = SvidRequest::create(&key(), Some(&id())).unwrap();
    for (bit, flipped) in bit_flips(request.der()).enumerate() {
        assert!(SvidRequest::parse(&flipped).is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn octets_of_any_kind_are_refused_without_panic(garbage: Vec<u8>) {
        prop_assert!(SvidRequest::parse(&garbage).is_err());
    }
}
