//! Upstreams: registration, their credentials, and who gets them.

mod add;
mod change;
mod lease;
mod list;
mod seal;

use aims_json::Object;
use aims_model::Upstream;

pub use add::{AddUpstream, AddUpstreamError};
pub use change::ChangeUpstreamError;
pub(crate) use lease::lease;
pub use list::ListUpstreamsError;

/// What records say of an upstream: never its credential, and nothing that is made of it.
fn body(upstream: &Upstream) -> Object {
    Object::new()
        .with("upstream", upstream.id.to_string())
        .with("name", upstream.name.as_str())
        .with("origin", upstream.spec.origin().to_string())
        .with("version", u64::from(upstream.version))
        .with("digest", upstream.digest().to_string())
}
