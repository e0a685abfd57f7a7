//! Answers of the introspection endpoint (RFC 7662 §2.2).

use aims_json::{Object, Value};

use crate::access_token::InstanceToken;

/// What is said of a token that does not count: nothing else, whatever the reason
/// (RFC 7662 §2.2).
pub fn inactive() -> Value {
    Object::new().with("active", false).into()
}

/// What is said of a token that counts now: whoever acts, also, and everyone before it in `act`
/// (RFC 8693 §4.1), the key it is bound to (RFC 9449 §6.2) and the authority (RFC 9396 §9.2).
pub fn active(token: &InstanceToken) -> Value {
    let common = &token.common;
    let mut object = Object::new()
        .with("active", true)
        .with("token_type", "DPoP")
        .with("iss", common.issuer.as_str())
        .with("sub", token.subject.as_str())
        .with("client_id", common.client_id.as_str())
        .with("aud", common.audience.as_str())
        .with("iat", common.issued_at.unix_secs())
        .with("exp", common.expires_at.unix_secs())
        .with("jti", common.token.to_string())
        .with("cnf", Object::new().with("jkt", common.jkt.to_string()))
        .with("authorization_details", token.authorization_details.clone())
        .with("aims_task", token.task.to_string())
        .with("aims_instance", token.instance.to_string())
        .with("aims_assurance", token.assurance.as_str());
    if let Some(act) = &token.act {
        object = object.with("act", act.to_value());
    }
    object.into()
}
