use std::time::Duration;

use proptest::prelude::*;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};

use super::*;
use crate::CertificateError;
use crate::testing::{Authority, NOW, bit_flips, days, extension, uri};

const ID: &str = "spiffe://aims.local/node/one";
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];

fn authority() -> Authority {
    Authority::new("aims.local")
}

#[test]
fn a_leaf_of_the_authority_is_its_holder() {
    let authority = authority();
    let svid = authority.svid("node/one", days(1, 1));
    for chain in [&[svid.der()][..], &[svid.der(), authority.ca.der()]] {
        let peer = verify_svid(chain, &authority.bundle(), NOW).unwrap();
        assert_eq!(peer.spiffe_id().as_str(), ID);
        assert_eq!(peer.public(), svid.public());
        assert_eq!(peer.kid(), Thumbprint::of(svid.public()));
        assert_eq!(peer.not_after(), svid.validity().not_after());
    }
}

#[test]
fn each_authority_of_the_bundle_vouches_and_no_other() {
    let (old, new, other) = (authority(), authority(), authority());
    let bundle = Bundle::new(vec![old.ca.clone(), new.ca.clone()]).unwrap();
    for signer in [&old, &new] {
        let svid = signer.svid("server", days(1, 1));
        assert!(verify_svid(&[svid.der()], &bundle, NOW).is_ok());
    }
    let svid = other.svid("server", days(1, 1));
    let refused = verify_svid(&[svid.der()], &bundle, NOW);
    assert_eq!(refused, Err(VerifySvidError::Issuer));
}

#[test]
fn chains_that_are_not_a_leaf_and_authorities_are_refused() {
    let (authority, other) = (authority(), authority());
    let svid = authority.svid("server", days(1, 1));
    let (leaf, ca) = (svid.der(), authority.ca.der());
    let second = authority.svid("node/two", days(1, 1));
    let bundle = authority.bundle();
    let refused = |chain: &[&[u8]]| verify_svid(chain, &bundle, NOW).err();

    assert_eq!(refused(&[]), Some(VerifySvidError::Length));
    assert_eq!(
        refused(&[leaf, ca, ca, ca, ca]),
        Some(VerifySvidError::Length)
    );
    let foreign = Some(VerifySvidError::ForeignCertificate);
    assert_eq!(refused(&[leaf, second.der()]), foreign);
    assert_eq!(refused(&[leaf, other.ca.der()]), foreign);
    assert_eq!(refused(&[leaf, ca, b"garbage"]), foreign);
    let authority = Some(ParseSvidError::Authority.into());
    assert_eq!(refused(&[ca]), authority);
    assert_eq!(refused(&[ca, leaf]), authority);
}

#[test]
fn trap_9_a_leaf_of_another_trust_domain_is_refused() {
    let (authority, other) = (authority(), Authority::new("other.local"));
    let svid = other.svid("server", days(1, 1));
    let refused = verify_svid(&[svid.der()], &authority.bundle(), NOW);
    assert_eq!(refused, Err(VerifySvidError::TrustDomain));
    // An authority that names members of another trust domain does not make them members of it.
    let forged = authority.forge("spiffe://other.local/server", |_| ());
    let refused = verify_svid(&[&forged], &authority.bundle(), NOW);
    assert_eq!(refused, Err(VerifySvidError::TrustDomain));
    let refused = verify_svid(&[&forged], &other.bundle(), NOW);
    assert_eq!(refused, Err(VerifySvidError::Issuer));
}

#[test]
fn a_leaf_is_valid_from_its_first_through_its_last_second() {
    let authority = authority();
    let svid = authority.svid("server", days(1, 1));
    let (first, last) = (svid.validity().not_before(), svid.validity().not_after());
    let verify = |now| verify_svid(&[svid.der()], &authority.bundle(), now).map(drop);
    let second = Duration::from_secs(1);
    assert_eq!(
        verify(first.minus(second)),
        Err(VerifySvidError::NotYetValid)
    );
    assert_eq!(verify(first), Ok(()));
    assert_eq!(verify(last.plus(Duration::from_millis(999))), Ok(()));
    assert_eq!(verify(last.plus(second)), Err(VerifySvidError::Expired));
}

#[test]
fn an_authority_that_is_not_valid_vouches_for_nobody() {
    let authority = Authority::valid("aims.local", days(2, 2));
    let forged = authority.forge(ID, |params| {
        params.not_before = x509_parser::time::ASN1Time::from_timestamp(0)
            .unwrap()
            .to_datetime();
        let late = i64::try_from(days(0, 100).not_after().unix_secs()).unwrap();
        params.not_after = x509_parser::time::ASN1Time::from_timestamp(late)
            .unwrap()
            .to_datetime();
    });
    let verify = |now| verify_svid(&[&forged], &authority.bundle(), now).map(drop);
    assert_eq!(verify(NOW), Ok(()));
    let three_days = Duration::from_hours(72);
    for instant in [NOW.plus(three_days), NOW.minus(three_days)] {
        assert_eq!(verify(instant), Err(VerifySvidError::AuthorityNotValid));
    }
}

type Spoil = fn(&mut rcgen::CertificateParams);

/// What an authority signed by mistake is refused all the same (SPIFFE X.509-SVID §5.2).
fn refuses<const N: usize>(table: [(&str, Spoil, ParseSvidError); N]) {
    let authority = authority();
    let verify = |der: Vec<u8>| verify_svid(&[der], &authority.bundle(), NOW).map(drop);
    assert_eq!(verify(authority.forge(ID, |_| ())), Ok(()));
    for (what, spoil, error) in table {
        let forged = authority.forge(ID, spoil);
        assert_eq!(verify(forged), Err(error.into()), "{what}");
    }
}

#[test]
fn trap_7_leaves_of_no_one_identity_are_refused_although_they_are_signed() {
    use CertificateError::{NameNotCritical, SpiffeId, UriNames};
    let certificate = |error: CertificateError| ParseSvidError::Certificate(error);
    refuses([
        (
            "two URI names",
            |p| {
                p.subject_alt_names
                    .push(uri("spiffe://aims.local/node/two"));
            },
            certificate(UriNames(2)),
        ),
        (
            "a URI name of another kind beside it",
            |p| p.subject_alt_names.extend([uri("https://aims.local")]),
            certificate(UriNames(2)),
        ),
        (
            "no name",
            |p| p.subject_alt_names.clear(),
            certificate(UriNames(0)),
        ),
        (
            "a name that is no SPIFFE ID",
            |p| p.subject_alt_names = vec![uri("https://aims.local/node/one")],
            certificate(SpiffeId(aims_types::SpiffeIdError::Scheme)),
        ),
        (
            "the trust domain itself",
            |p| p.subject_alt_names = vec![uri("spiffe://aims.local")],
            ParseSvidError::NoPath,
        ),
        (
            "no subject, and a name that is not critical",
            |p| {
                let name = [&[0x30, 0x1e, 0x86, 0x1c][..], ID.as_bytes()].concat();
                p.subject_alt_names.clear();
                p.custom_extensions = vec![extension(SUBJECT_ALT_NAME, &name, false)];
            },
            certificate(NameNotCritical),
        ),
    ]);
}

#[test]
fn trap_8_leaves_for_other_uses_are_refused_although_they_are_signed() {
    use CertificateError::{Extension, KeyUsage};
    let certificate = |error: CertificateError| ParseSvidError::Certificate(error);
    refuses([
        (
            "an authority",
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
            ParseSvidError::Authority,
        ),
        (
            "signs certificates",
            |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign),
            ParseSvidError::SigningUsage,
        ),
        (
            "signs revocation lists",
            |p| p.key_usages.push(KeyUsagePurpose::CrlSign),
            ParseSvidError::SigningUsage,
        ),
        (
            "no digital signature",
            |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement],
            ParseSvidError::NoDigitalSignature,
        ),
        (
            "no key usage",
            |p| p.key_usages.clear(),
            certificate(KeyUsage),
        ),
        (
            "key usage that is not critical",
            |p| {
                p.key_usages.clear();
                p.custom_extensions = vec![extension(KEY_USAGE, &[3, 2, 7, 0x80], false)];
            },
            certificate(KeyUsage),
        ),
        (
            "one role of TLS",
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            ParseSvidError::ExtendedKeyUsage,
        ),
        (
            "a critical extension that nobody knows",
            |p| p.custom_extensions = vec![extension(&[1, 2, 3, 4], &[5, 0], true)],
            certificate(Extension),
        ),
        (
            "an extension that is there twice",
            |p| p.custom_extensions = vec![extension(KEY_USAGE, &[3, 2, 7, 0x80], true)],
            certificate(Extension),
        ),
    ]);
}

#[test]
fn names_of_other_kinds_may_stand_beside_the_identity() {
    let authority = authority();
    let forged = authority.forge(ID, |p| {
        let host = "localhost".try_into().unwrap();
        p.subject_alt_names.push(rcgen::SanType::DnsName(host));
        p.extended_key_usages.clear();
    });
    let peer = verify_svid(&[&forged], &authority.bundle(), NOW).unwrap();
    assert_eq!(peer.spiffe_id().as_str(), ID);
}

#[test]
fn no_single_bit_of_a_leaf_can_be_changed() {
    let authority = authority();
    let svid = authority.svid("node/one", days(1, 1));
    for (bit, flipped) in bit_flips(svid.der()).enumerate() {
        let verified = verify_svid(&[&flipped], &authority.bundle(), NOW);
        assert!(verified.is_err(), "bit {bit}");
    }
}

#[test]
fn no_part_of_a_leaf_and_no_more_than_it_is_a_leaf() {
    let svid = authority().svid("node/one", days(1, 1));
    for len in 0..svid.der().len() {
        assert!(Svid::from_der(&svid.der()[..len]).is_err(), "{len}");
    }
    let longer = [svid.der(), &[0]].concat();
    let error = ParseSvidError::Certificate(CertificateError::Der);
    assert_eq!(Svid::from_der(&longer), Err(error));
    let huge = vec![0x30; crate::CERTIFICATE_LEN_MAX + 1];
    let error = ParseSvidError::Certificate(CertificateError::Length);
    assert_eq!(Svid::from_der(&huge), Err(error));
}

proptest! {
    #[test]
    fn octets_of_any_kind_are_refused_without_panic(
        garbage: Vec<u8>,
        splice in proptest::collection::vec(any::<u8>(), 1..40),
        at: proptest::sample::Index,
    ) {
        let authority = authority();
        let bundle = authority.bundle();
        prop_assert!(verify_svid(&[&garbage], &bundle, NOW).is_err());
        let mut spliced = authority.svid("node/one", days(1, 1)).der().to_vec();
        let from = at.index(spliced.len());
        let to = (from + splice.len()).min(spliced.len());
        let before = spliced.clone();
        spliced.splice(from..to, splice);
        prop_assume!(spliced != before);
        prop_assert!(verify_svid(&[&spliced], &bundle, NOW).is_err());
    }
}
