//! The authorities of a trust domain.

use aims_types::{Digest, TrustDomain};

use crate::CaCertificate;

/// Most authorities of one trust domain at a time: the present, the next, some that fade out.
pub const BUNDLE_LEN_MAX: usize = 8;

/// The signing certificates of one trust domain (SPIFFE X.509-SVID §5.1): at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    authorities: Vec<CaCertificate>,
}

/// Why certificates are no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A bundle without authorities would trust nobody, and one without end anybody.
    #[error("a bundle has 1 to {BUNDLE_LEN_MAX} signing certificates")]
    Length,
    /// Authorities of one trust domain must not vouch for another.
    #[error("the signing certificates of a bundle are of one trust domain")]
    TrustDomains,
}

impl Bundle {
    /// The bundle of these authorities.
    pub fn new(authorities: Vec<CaCertificate>) -> Result<Self, BundleError> {
        let Some(first) = authorities
            .first()
            .filter(|_| authorities.len() <= BUNDLE_LEN_MAX)
        else {
            return Err(BundleError::Length);
        };
        let trust_domain = first.trust_domain().clone();
        if authorities
            .iter()
            .any(|ca| *ca.trust_domain() != trust_domain)
        {
            return Err(BundleError::TrustDomains);
        }
        Ok(Self {
            trust_domain,
            authorities,
        })
    }

    /// The trust domain whose members the authorities may name.
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities.
    pub fn authorities(&self) -> &[CaCertificate] {
        &self.authorities
    }

    /// The authority whose certificate has this digest.
    pub fn authority(&self, digest: &Digest) -> Option<&CaCertificate> {
        self.authorities.iter().find(|ca| ca.digest() == *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Authority;

    #[test]
    fn a_bundle_is_of_one_trust_domain_and_bounded() {
        let ca = |domain| Authority::new(domain).ca;
        let one = ca("aims.local");
        assert_eq!(Bundle::new(Vec::new()).err(), Some(BundleError::Length));
        let many = vec![one.clone(); BUNDLE_LEN_MAX + 1];
        assert_eq!(Bundle::new(many).err(), Some(BundleError::Length));
        let mixed = vec![one.clone(), ca("other.local")];
        assert_eq!(Bundle::new(mixed).err(), Some(BundleError::TrustDomains));

        let bundle = Bundle::new(vec![ca("aims.local"), one.clone()]).unwrap();
        assert_eq!(bundle.authority(&one.digest()), Some(&one));
        assert_eq!(bundle.authority(&ca("aims.local").digest()), None);
    }
}
