//! The real dependency graph against `layers.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use serde::Deserialize;

use crate::conclude;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    layers: BTreeMap<String, Vec<String>>,
    sideways: BTreeMap<String, Vec<String>>,
    pure: Pure,
    ambient: Ambient,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pure {
    layers: Vec<String>,
    also: Vec<String>,
    banned: Vec<String>,
}

/// The only place that reads the system's clock and entropy.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ambient {
    #[serde(rename = "crate")]
    pub(crate) name: String,
    pub(crate) module: String,
}

/// The workspace as cargo and the table see it.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) ambient: Ambient,
    metadata: Metadata,
    table: Table,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let metadata = MetadataCommand::new().exec().context("cargo metadata")?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let path = root.join("xtask/layers.toml");
        let text = std::fs::read_to_string(&path).context("xtask/layers.toml")?;
        let table: Table = toml::from_str(&text).context("xtask/layers.toml")?;
        let ambient = table.ambient.clone();
        Ok(Self {
            root,
            ambient,
            metadata,
            table,
        })
    }

    /// The crates of the workspace without their `aims-` prefix, with their manifests.
    pub(crate) fn crates(&self) -> BTreeMap<String, &cargo_metadata::Package> {
        let packages = self.metadata.workspace_packages();
        let ours = packages
            .into_iter()
            .filter(|package| package.name.as_str() != "xtask");
        ours.map(|package| (short(package.name.as_str()), package))
            .collect()
    }

    fn layer(&self, name: &str) -> Option<u32> {
        let found = self
            .table
            .layers
            .iter()
            .find(|(_, names)| names.iter().any(|n| n == name));
        found.and_then(|(layer, _)| layer.parse().ok())
    }

    fn is_pure(&self, name: &str) -> bool {
        let layer = self.layer(name).map(|layer| layer.to_string());
        layer.is_some_and(|layer| self.table.pure.layers.contains(&layer))
            || self.table.pure.also.iter().any(|also| also == name)
    }

    /// Names of everything that a crate is built from, dev-dependencies apart.
    fn tree(&self, id: &PackageId) -> BTreeSet<String> {
        let Some(resolve) = &self.metadata.resolve else {
            return BTreeSet::new();
        };
        let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let (mut seen, mut open) = (BTreeSet::new(), vec![id]);
        while let Some(id) = open.pop() {
            let Some(node) = nodes.get(id).filter(|_| seen.insert(id)) else {
                continue;
            };
            let normal = node.deps.iter().filter(|dep| {
                dep.dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
            });
            open.extend(normal.map(|dep| &dep.pkg));
        }
        let name = |id: &&PackageId| self.metadata[*id].name.to_string();
        seen.iter().map(name).collect()
    }
}

/// Every crate has a layer, every arrow points down or is named, and pure crates are pure.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut findings = Vec::new();
    for (name, package) in workspace.crates() {
        let Some(layer) = workspace.layer(&name) else {
            findings.push(format!("`{name}` has no layer in xtask/layers.toml"));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind == DependencyKind::Normal)
        {
            let to = short(&dependency.name);
            let Some(below) = workspace.layer(&to).filter(|_| dependency.path.is_some()) else {
                continue;
            };
            let named = workspace
                .table
                .sideways
                .get(&name)
                .is_some_and(|to_| to_.contains(&to));
            if below > layer || (below == layer && !named) {
                findings.push(format!(
                    "`{name}` (layer {layer}) may not use `{to}` ({below})"
                ));
            }
        }
        if workspace.is_pure(&name) {
            let tree = workspace.tree(&package.id);
            for banned in workspace
                .table
                .pure
                .banned
                .iter()
                .filter(|b| tree.contains(*b))
            {
                findings.push(format!("`{name}` is pure, but `{banned}` is in its tree"));
            }
        }
        let members = std::fs::read_to_string(&package.manifest_path)?;
        if !members.contains("[lints]\nworkspace = true") {
            findings.push(format!("`{name}` does not inherit the workspace's lints"));
        }
    }
    conclude("layers", &findings)
}

fn short(name: &str) -> String {
    name.strip_prefix("aims-").unwrap_or(name).to_owned()
}
