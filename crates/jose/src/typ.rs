//! The `typ` of every kind of JWT that is issued or accepted (RFC 8725 §3.11).

/// Access token (RFC 9068 §2.1).
pub const ACCESS_TOKEN: &str = "at+jwt";
/// Assertion for an authorization grant (rfc7523bis).
pub const AUTHORIZATION_GRANT: &str = "authorization-grant+jwt";
/// Assertion for client authentication (rfc7523bis).
pub const CLIENT_AUTHENTICATION: &str = "client-authentication+jwt";
/// DPoP proof (RFC 9449 §4.2).
pub const DPOP: &str = "dpop+jwt";
/// JWT-SVID (SPIFFE JWT-SVID §2.3), and what libraries write where they say no more of a token's
/// kind (RFC 7519 §5.1).
pub const JWT: &str = "JWT";
/// Workload identity token (draft-ietf-wimse-workload-creds).
pub const WORKLOAD_IDENTITY: &str = "wit+jwt";

/// What a media type may be written with (RFC 7515 §4.1.9).
const MEDIA_TYPE_PREFIX: &str = "application/";

/// Whether two types are the same: without regard to case and to the prefix `application/`
/// (RFC 7515 §4.1.9).
pub fn same(a: &str, b: &str) -> bool {
    short(a).eq_ignore_ascii_case(short(b))
}

fn short(typ: &str) -> &str {
    match typ.split_at_checked(MEDIA_TYPE_PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(MEDIA_TYPE_PREFIX) => rest,
        _ => typ,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_media_type_prefix_do_not_matter() {
        for good in [
            "at+jwt",
            "AT+JWT",
            "application/at+jwt",
            "Application/At+Jwt",
        ] {
            assert!(same(good, ACCESS_TOKEN), "{good}");
        }
        for bad in [
            "",
            "jwt",
            "at+jwt ",
            "text/at+jwt",
            "application/application/at+jwt",
            "äat+jwt",
        ] {
            assert!(!same(bad, ACCESS_TOKEN), "{bad}");
        }
    }
}
