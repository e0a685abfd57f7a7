//! The manifest of an upstream.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aims_model::UpstreamSpec;
use aims_model::upstream::{RawBounds, RawCredentialUse, RawEndpoint, RawUpstreamSpec};
use anyhow::{Context, Result};
use serde::Deserialize;

/// An upstream's manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamManifest {
    pub(crate) purpose: String,
    url: String,
    /// A file with certificates.
    ca: Option<PathBuf>,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    credential: RawCredentialUse,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    endpoints: Vec<RawEndpoint>,
    #[serde(default)]
    limits: RawBounds,
}

impl UpstreamManifest {
    /// What the manifest in `file` describes; its certificates are named from where it is.
    pub(crate) fn spec(self, file: &Path) -> Result<UpstreamSpec> {
        let ca = self.ca.map(|ca| {
            let path = file.parent().unwrap_or(Path::new("")).join(ca);
            fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))
        });
        let raw = RawUpstreamSpec {
            url: self.url,
            ca: ca.transpose()?,
            private: self.private,
            credential: self.credential,
            headers: self.headers,
            endpoints: self.endpoints,
            limits: self.limits,
        };
        raw.try_into()
            .with_context(|| format!("the manifest `{}`", file.display()))
    }
}
