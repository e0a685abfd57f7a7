//! An ordinary service on the crate `spiffe` and nothing of AIMS: what the Workload API gives it,
//! as one line. `SPIFFE_ENDPOINT_SOCKET` says where; `examples/others/workload.py` plays it.

use std::error::Error;
use std::io::Write as _;

use spiffe::{JwtSvid, WorkloadApiClient};

const AUDIENCE: &str = "bank";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = WorkloadApiClient::connect_env().await?;
    let context = client.fetch_x509_context().await?;
    let svid = context.default_svid().ok_or("no SVID")?;
    let own = svid.spiffe_id();
    let bundles = client.fetch_x509_bundles().await?;
    let bundle = bundles.get(own.trust_domain()).ok_or("no bundle")?;
    let same = context.bundle_set().get(own.trust_domain()) == Some(bundle.clone());
    let fetched = client.fetch_jwt_svid([AUDIENCE], None).await?;
    let named = client.fetch_jwt_svid([AUDIENCE], Some(own)).await?;
    let told = client.validate_jwt_token(AUDIENCE, fetched.token()).await?;
    let keys = client.fetch_jwt_bundles().await?;
    let offline = JwtSvid::parse_and_validate(fetched.token(), &keys, &[AUDIENCE])?;
    let another = JwtSvid::parse_and_validate(fetched.token(), &keys, &["other"]).is_ok();
    let ids = [&fetched, &named, &told, &offline].map(|one| format!("\"{}\"", one.spiffe_id()));
    let line = format!(
        "{{\"event\":\"once\",\"spiffe_id\":\"{own}\",\"chain\":{},\"authorities\":{},\
         \"same_bundle\":{same},\"jwt_ids\":[{}],\"another_audience\":{another}}}",
        svid.cert_chain().len(),
        bundle.authorities().len(),
        ids.join(","),
    );
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
