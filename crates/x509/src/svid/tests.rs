use aims_types::{Secret, SpiffeId};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension};

use super::*;
use crate::testing::{Authority, days, key};

fn template<'a>(
    public: &'a PublicKey,
    spiffe_id: &'a SpiffeId,
    serial: &'a Serial,
) -> SvidTemplate<'a> {
    SvidTemplate {
        public,
        spiffe_id,
        hosts: &[],
        validity: days(1, 1),
        serial,
    }
}

#[test]
fn a_leaf_says_what_its_template_says() {
    let authority = Authority::new("aims.local");
    let (key, id) = (key(), authority.id("server"));
    let serial = Serial::from_random([5; 16]);
    let svid = Svid::issue(
        &authority.ca,
        &authority.key,
        &template(key.public(), &id, &serial),
    )
    .unwrap();
    let again = Svid::from_der(svid.der()).unwrap();
    assert_eq!(again, svid);
    assert_eq!(again.spiffe_id(), &id);
    assert_eq!(again.public(), key.public());
    assert_eq!(again.kid(), Thumbprint::of(key.public()));
    assert_eq!(again.validity(), days(1, 1));
    assert_eq!(again.serial(), &serial);
}

/// The shape of RFC 5280 and SPIFFE X.509-SVID §4, as another library reads it.
#[test]
fn a_leaf_has_the_shape_of_the_standards() {
    let authority = Authority::new("aims.local");
    let (key, id) = (key(), authority.id("server"));
    let serial = Serial::from_random([0xff; 16]);
    let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let template = SvidTemplate {
        hosts: &hosts,
        ..template(key.public(), &id, &serial)
    };
    let svid = Svid::issue(&authority.ca, &authority.key, &template).unwrap();
    let (_, leaf) = X509Certificate::from_der(svid.der()).unwrap();
    let (_, ca) = X509Certificate::from_der(authority.ca.der()).unwrap();

    assert_eq!(leaf.raw_serial()[0] & 0x80, 0);
    assert!(leaf.subject().iter().next().is_none());
    assert_eq!(leaf.issuer().to_string(), "O=aims.local");
    assert_eq!(leaf.issuer(), ca.subject());
    let basic = leaf.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && !basic.value.ca);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1);
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth);

    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    let expected = [
        GeneralName::URI("spiffe://aims.local/server"),
        GeneralName::DNSName("localhost"),
        GeneralName::IPAddress(&[127, 0, 0, 1]),
        GeneralName::IPAddress(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    assert_eq!(names.value.general_names, expected);

    let authority_key = leaf
        .iter_extensions()
        .find_map(|e| match e.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.clone(),
            _ => None,
        });
    let subject_key = ca
        .iter_extensions()
        .find_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.clone()),
            _ => None,
        });
    assert!(authority_key.is_some());
    assert_eq!(authority_key, subject_key);
}

#[test]
fn templates_that_the_authority_may_not_sign_are_refused() {
    let authority = Authority::new("aims.local");
    let key = key();
    let serial = Serial::from_random([1; 16]);
    let id = authority.id("server");
    let (bare, other): (SpiffeId, SpiffeId) = (
        "spiffe://aims.local".parse().unwrap(),
        "spiffe://other.local/server".parse().unwrap(),
    );
    let edwards = aims_crypto::SigningKey::ed25519_from_seed(&Secret::new([1; 32])).unwrap();
    let many = vec!["localhost".to_owned(); HOSTS_MAX + 1];
    let bad_hosts = ["", "*.aims.local", "a b", "é.example"].map(|host| [host.to_owned()]);
    let good = template(key.public(), &id, &serial);
    let issue = |template| Svid::issue(&authority.ca, &authority.key, &template).err();

    for (template, error) in [
        (
            SvidTemplate {
                public: edwards.public(),
                ..good
            },
            IssueError::Algorithm,
        ),
        (
            SvidTemplate {
                spiffe_id: &bare,
                ..good
            },
            IssueError::NoPath,
        ),
        (
            SvidTemplate {
                spiffe_id: &other,
                ..good
            },
            IssueError::TrustDomain(other.clone()),
        ),
        (
            SvidTemplate {
                validity: days(1, 366),
                ..good
            },
            IssueError::OutsideAuthority,
        ),
        (
            SvidTemplate {
                validity: days(31, 1),
                ..good
            },
            IssueError::OutsideAuthority,
        ),
        (
            SvidTemplate {
                hosts: &many,
                ..good
            },
            IssueError::TooManyHosts,
        ),
    ] {
        assert_eq!(issue(template), Some(error));
    }
    for hosts in &bad_hosts {
        let error = IssueError::Host(hosts[0].clone());
        assert_eq!(issue(SvidTemplate { hosts, ..good }), Some(error));
    }
    let wrong = Svid::issue(&authority.ca, &key, &good).err();
    assert_eq!(wrong, Some(IssueError::WrongSigner));
}
