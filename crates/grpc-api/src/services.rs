//! What nodes ask on behalf of services, over the network.

use std::time::Duration;

use aims_links::{
    EndedInstance, JwtSvid, LinkError, Refusal, ServiceAttestation, ServiceCall, ServiceGrant,
    Services, Svid, TrustBundle,
};
use aims_types::{Secret, Timestamp};
use async_trait::async_trait;

use crate::client::{Links, read};
use crate::message::{MessageError, Read, text, to_json};
use crate::proto;

#[async_trait]
impl Services for Links {
    async fn service_attest(
        &self,
        attestation: ServiceAttestation,
    ) -> Result<Result<Vec<ServiceGrant>, Refusal>, LinkError> {
        let seen_json = to_json(&attestation.seen);
        let mut client = self.client();
        read(client.attest_service(proto::ProcessSeen { seen_json })).await
    }

    async fn service_svid(
        &self,
        call: ServiceCall,
        csr: Vec<u8>,
    ) -> Result<Result<Svid, Refusal>, LinkError> {
        let ask = proto::ServiceSvidAsk {
            instance: call.instance.to_string(),
            seen_json: to_json(&call.seen),
            csr,
        };
        read(self.client().service_svid(ask)).await
    }

    async fn service_jwt(
        &self,
        call: ServiceCall,
        audience: Vec<String>,
    ) -> Result<Result<JwtSvid, Refusal>, LinkError> {
        let ask = proto::ServiceJwtAsk {
            instance: call.instance.to_string(),
            seen_json: to_json(&call.seen),
            audience,
        };
        read(self.client().service_jwt(ask)).await
    }

    async fn service_ended(&self, ended: EndedInstance) -> Result<(), LinkError> {
        let ended = proto::EndedInstance {
            instance: ended.instance.to_string(),
            how: ended.how,
        };
        read(self.client().end_service(ended))
            .await
            .map(|_: proto::Done| ())
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, LinkError> {
        read(self.client().trust_bundle(proto::Done {})).await
    }
}

impl From<Vec<ServiceGrant>> for proto::ServiceGrants {
    fn from(grants: Vec<ServiceGrant>) -> Self {
        let grant = |grant: ServiceGrant| proto::ServiceGrant {
            instance: grant.instance.to_string(),
            spiffe_id: grant.spiffe_id.to_string(),
            hint: grant.hint,
        };
        let grants = grants.into_iter().map(grant).collect();
        Self { grants }
    }
}

impl TryFrom<proto::ServiceGrants> for Vec<ServiceGrant> {
    type Error = MessageError;

    fn try_from(grants: proto::ServiceGrants) -> Read<Self> {
        let grant = |grant: proto::ServiceGrant| {
            Ok(ServiceGrant {
                instance: text("instance", &grant.instance)?,
                spiffe_id: text("spiffe_id", &grant.spiffe_id)?,
                hint: grant.hint,
            })
        };
        grants.grants.into_iter().map(grant).collect()
    }
}

impl From<JwtSvid> for proto::Jwt {
    fn from(svid: JwtSvid) -> Self {
        Self {
            token: svid.token.expose().clone(),
            expires_at: svid.expires_at.unix_millis(),
        }
    }
}

impl From<proto::Jwt> for JwtSvid {
    fn from(jwt: proto::Jwt) -> Self {
        Self {
            token: Secret::new(jwt.token),
            expires_at: Timestamp::from_unix_millis(jwt.expires_at),
        }
    }
}

impl From<TrustBundle> for proto::Bundle {
    fn from(bundle: TrustBundle) -> Self {
        Self {
            trust_domain: bundle.trust_domain.to_string(),
            authorities: bundle.authorities,
            jwt_keys: bundle.jwt_keys,
            sequence: bundle.sequence,
            refresh: u64::try_from(bundle.refresh.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<proto::Bundle> for TrustBundle {
    type Error = MessageError;

    fn try_from(bundle: proto::Bundle) -> Read<Self> {
        Ok(Self {
            trust_domain: text("trust_domain", &bundle.trust_domain)?,
            authorities: bundle.authorities,
            jwt_keys: bundle.jwt_keys,
            sequence: bundle.sequence,
            refresh: Duration::from_millis(bundle.refresh),
        })
    }
}
