//! An authority for the tests of this crate.

use aims_crypto::{Alg, Signer, SigningKey};
use aims_types::{SpiffeId, Timestamp};
use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    SanType,
};

use crate::issue::{authority_name, certificate_params};
use crate::signer::{Es256, Subject};
use crate::{Bundle, CaCertificate, Serial, Svid, SvidTemplate, Validity};

/// The instant at which tests happen.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_800_000_000);
const DAY: u64 = 86_400;

pub(crate) struct Authority {
    pub(crate) key: SigningKey,
    pub(crate) ca: CaCertificate,
}

pub(crate) fn key() -> SigningKey {
    SigningKey::generate(Alg::Es256).unwrap()
}

/// From `before` days before [`NOW`] to `after` days after it.
pub(crate) fn days(before: u64, after: u64) -> Validity {
    let now = NOW.unix_secs();
    Validity::from_secs(now - before * DAY, now + after * DAY).unwrap()
}

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        Self::valid(trust_domain, days(30, 365))
    }

    pub(crate) fn valid(trust_domain: &str, validity: Validity) -> Self {
        let key = key();
        let serial = Serial::from_random([7; 16]);
        let domain = trust_domain.parse().unwrap();
        let ca = CaCertificate::issue(&key, &domain, validity, &serial).unwrap();
        Self { key, ca }
    }

    pub(crate) fn id(&self, path: &str) -> SpiffeId {
        self.ca.trust_domain().id(path).unwrap()
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::new(vec![self.ca.clone()]).unwrap()
    }

    pub(crate) fn svid(&self, path: &str, validity: Validity) -> Svid {
        let key = key();
        let template = SvidTemplate {
            public: key.public(),
            spiffe_id: &self.id(path),
            hosts: &[],
            validity,
            serial: &Serial::from_random([9; 16]),
        };
        Svid::issue(&self.ca, &self.key, &template).unwrap()
    }
}

/// What a forged leaf looks like before it is spoiled: everything as it should be.
fn good_leaf(id: &str) -> CertificateParams {
    let mut params = certificate_params(
        &id.parse().unwrap(),
        days(1, 1),
        &Serial::from_random([3; 16]),
    )
    .unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

impl Authority {
    /// A leaf that the authority signed without looking, spoiled by `spoil`.
    pub(crate) fn forge(&self, id: &str, spoil: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = good_leaf(id);
        spoil(&mut params);
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = authority_name(self.ca.spiffe_id());
        let issuer = Issuer::from_params(&issuer, Es256::new(&self.key).unwrap());
        let subject = key();
        let subject = Subject::new(subject.public()).unwrap();
        params.signed_by(&subject, &issuer).unwrap().der().to_vec()
    }
}

/// An extension with the octets of its value.
pub(crate) fn extension(oid: &[u64], content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// `der` with one bit inverted, for each of its bits.
pub(crate) fn bit_flips(der: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..der.len() * 8).map(|bit| {
        let mut flipped = der.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}
