//! What a request through the door is for, in the one spelling that everybody reads alike.

use aims_authority::is_http_path;
use http::Uri;

/// Where an instance asks upstreams, through the gateway, which adds their credentials.
const UPSTREAMS: &str = "/http/";

/// The path, if it is spelled in the one way that everybody reads alike: no empty, `.` or `..`
/// segment, no percent-encoding, and no other host before it (RFC 9112 §3.2.2), whose request
/// would otherwise become one to the gateway.
pub(crate) fn own_path(uri: &Uri) -> Option<&str> {
    let path = uri.path();
    if path.starts_with(UPSTREAMS) {
        return (is_http_path(path) && uri.authority().is_none()).then_some(path);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let mut segments = path.strip_prefix('/')?.split('/');
    let spelled = path.bytes().all(plain)
        && (path == "/" || segments.all(|part| !matches!(part, "" | "." | "..")));
    (spelled && uri.authority().is_none()).then_some(path)
}

/// The query with its mark, byte for byte; only upstreams are asked with one.
pub(crate) fn own_query(uri: &Uri) -> Option<String> {
    match uri.query() {
        Some(query) if uri.path().starts_with(UPSTREAMS) => {
            let whole = query.bytes().all(|b| b.is_ascii_graphic());
            whole.then(|| format!("?{query}"))
        }
        _ => Some(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling_and_no_host() {
        for path in ["/", "/mcp/files", "/mcp/a-b_c.d~e"] {
            assert_eq!(own_path(&path.parse().unwrap()), Some(path));
        }
        for path in [
            "*",
            "//mcp/files",
            "/mcp//files",
            "/mcp/files/",
            "/mcp/./files",
            "/mcp/../files",
            "/mcp/%66iles",
            "/mcp/%2e%2e/files",
            "/mcp/files;x",
            "/mcp/files@x",
            "/mcp/files:8710",
            "http://127.0.0.1:8710/mcp/files",
            "http://other.example/mcp/files",
            "other.example:443",
        ] {
            assert_eq!(own_path(&path.parse().unwrap()), None, "{path}");
        }
        assert_eq!(
            own_path(&"/mcp/files?x=1".parse().unwrap()),
            Some("/mcp/files")
        );
        for path in ["/http/model", "/http/model/v1/models/a:generate"] {
            assert_eq!(own_path(&path.parse().unwrap()), Some(path));
        }
        for path in [
            "/http/model/",
            "/http//model",
            "/http/model/../x",
            "/http/model/%2e%2e/x",
            "/http/model/v1%2fx",
            "/http/model/v1;x",
            "http://127.0.0.1:8710/http/model/v1",
        ] {
            assert_eq!(own_path(&path.parse().unwrap()), None, "{path}");
        }
    }

    #[test]
    fn a_query_goes_on_as_it_is_and_only_to_upstreams() {
        for (uri, query) in [
            ("/http/model/v1?a=%2f&b", "?a=%2f&b"),
            ("/http/model/v1?", "?"),
            ("/http/model/v1", ""),
            ("/mcp/files?x=1", ""),
        ] {
            assert_eq!(own_query(&uri.parse().unwrap()).unwrap(), query, "{uri}");
        }
    }
}
