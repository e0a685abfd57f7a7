use rcgen::{CertificateParams, SanType};

use super::*;
use crate::Svid;
use crate::testing::{Authority, bit_flips, days, key, uri};

#[test]
fn an_authority_survives_der() {
    let ca = Authority::new("aims.local").ca;
    let again = CaCertificate::from_der(ca.der()).unwrap();
    assert_eq!(again, ca);
    assert_eq!(again.digest(), sha256(ca.der()));
    assert_eq!(again.trust_domain().as_str(), "aims.local");
    assert_eq!(again.public(), ca.public());
    assert_eq!(again.validity(), days(30, 365));
    assert_eq!(again.serial(), ca.serial());
}

#[test]
fn a_trust_domain_of_any_length_can_have_an_authority() {
    for domain in ["a", &"b".repeat(65), &"c".repeat(255)] {
        let authority = Authority::new(domain);
        assert_eq!(authority.ca.trust_domain().as_str(), domain);
        let svid = authority.svid("server", days(1, 1));
        assert_eq!(svid.spiffe_id().path(), "server");
    }
}

#[test]
fn only_es256_keys_are_authorities() {
    let seed = aims_types::Secret::new([1; 32]);
    let key = aims_crypto::SigningKey::ed25519_from_seed(&seed).unwrap();
    let domain = "aims.local".parse().unwrap();
    let serial = Serial::from_random([1; 16]);
    let issued = CaCertificate::issue(&key, &domain, days(1, 1), &serial);
    assert_eq!(issued.err(), Some(IssueError::Algorithm));
}

/// The DER of a self-signed certificate, spoiled by `spoil`.
fn forge(spoil: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let key = key();
    let spiffe_id = "spiffe://aims.local".parse().unwrap();
    let serial = Serial::from_random([1; 16]);
    let mut params = certificate_params(&spiffe_id, days(1, 1), &serial).unwrap();
    params.distinguished_name = authority_name(&spiffe_id);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    spoil(&mut params);
    let certificate = params.self_signed(&Es256::new(&key).unwrap()).unwrap();
    certificate.der().to_vec()
}

#[test]
fn certificates_that_are_no_authority_are_refused() {
    type Spoil = fn(&mut CertificateParams);
    let certificate = |error: CertificateError| ParseCaError::Certificate(error);
    let table: [(&str, Spoil, ParseCaError); 9] = [
        (
            "a workload",
            |p| p.subject_alt_names = vec![uri("spiffe://aims.local/server")],
            ParseCaError::HasPath,
        ),
        (
            "two trust domains",
            |p| p.subject_alt_names.push(uri("spiffe://other.local")),
            certificate(CertificateError::UriNames(2)),
        ),
        (
            "a host instead of a trust domain",
            |p| {
                let host = "aims.local".try_into().unwrap();
                p.subject_alt_names = vec![SanType::DnsName(host)];
            },
            certificate(CertificateError::UriNames(0)),
        ),
        (
            "not an authority",
            |p| p.is_ca = IsCa::ExplicitNoCa,
            ParseCaError::NotAuthority,
        ),
        (
            "an authority of authorities",
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            ParseCaError::NotAuthority,
        ),
        (
            "an authority of one authority",
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)),
            ParseCaError::NotAuthority,
        ),
        (
            "lists only",
            |p| p.key_usages = vec![KeyUsagePurpose::CrlSign],
            ParseCaError::KeyUsage,
        ),
        (
            "authenticates",
            |p| p.key_usages.push(KeyUsagePurpose::DigitalSignature),
            ParseCaError::KeyUsage,
        ),
        (
            "no key usage",
            |p| p.key_usages.clear(),
            certificate(CertificateError::KeyUsage),
        ),
    ];
    assert!(CaCertificate::from_der(&forge(|_| ())).is_ok());
    for (what, spoil, error) in table {
        let read = CaCertificate::from_der(&forge(spoil));
        assert_eq!(read.err(), Some(error), "{what}");
    }
    let svid: Svid = Authority::new("aims.local").svid("server", days(1, 1));
    let read = CaCertificate::from_der(svid.der());
    assert_eq!(read.err(), Some(ParseCaError::HasPath));
}

#[test]
fn an_authority_that_another_key_signed_is_refused() {
    let signer = Authority::new("aims.local");
    let forged = signer.forge("spiffe://aims.local", |p| {
        p.distinguished_name = authority_name(signer.ca.spiffe_id());
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        p.extended_key_usages.clear();
    });
    let read = CaCertificate::from_der(&forged);
    assert_eq!(read.err(), Some(ParseCaError::NotSelfSigned));
}

#[test]
fn no_single_bit_of_an_authority_can_be_changed() {
    let ca = Authority::new("aims.local").ca;
    for (bit, flipped) in bit_flips(ca.der()).enumerate() {
        assert!(CaCertificate::from_der(&flipped).is_err(), "bit {bit}");
    }
}
