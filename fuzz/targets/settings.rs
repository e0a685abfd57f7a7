//! Files that people write: configurations of server, node and gateway, profiles, manifests. What
//! is read and written is read as the same; an override by what is there changes nothing. The first
//! byte chooses the file.
#![no_main]
#![allow(dead_code, unused_imports)]

// The command line has no library: its readers are compiled here, and find what they need of
// `aims_server`, whose configuration is all that they use of it.
extern crate self as aims_server;

#[path = "../../crates/cli/src"]
mod cli {
    pub mod manifest;
    pub mod apart {
        pub mod config;
    }
}
#[path = "../../crates/server/src/config.rs"]
mod config;

pub use crate::config::*;

use std::path::Path;

use aims_authority::Authority;
use aims_client::Profile;
use aims_types::Timestamp;
use cli::apart::config::PointConfig;
use cli::manifest::{
    AgentManifest, ServiceManifest, TaskManifest, ToolsManifest, UpstreamManifest,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

const FILES: [fn(&str); 8] = [
    server, point, profile, task, upstream, agent, tools, service,
];

fuzz_target!(|input: &[u8]| {
    if let Some((which, bytes)) = input.split_first()
        && let Ok(text) = str::from_utf8(bytes)
    {
        FILES[usize::from(*which) % FILES.len()](text);
    }
});

fn read<T: Serialize + DeserializeOwned>(text: &str, vars: Vec<(String, String)>) -> Option<T> {
    config::read(Path::new("aims.toml"), text, vars).ok()
}

/// Read again as it is written, and with each of its keys overridden by what it is.
fn same<T: Serialize + DeserializeOwned>(config: &T) {
    let text = toml::to_string(config).unwrap();
    let again: T = read(&text, Vec::new()).expect("what is written is read");
    assert_eq!(toml::to_string(&again).unwrap(), text);
    let mut vars = Vec::new();
    overrides("AIMS", &toml::Table::try_from(config).unwrap(), &mut vars);
    let overridden: T = read(&text, vars).expect("what is there may be said again");
    assert_eq!(toml::to_string(&overridden).unwrap(), text);
}

fn overrides(before: &str, table: &toml::Table, vars: &mut Vec<(String, String)>) {
    let joint = if before == "AIMS" { "_" } else { "__" };
    for (key, value) in table {
        let name = format!("{before}{joint}{}", key.to_uppercase());
        match value {
            toml::Value::Table(inner) => overrides(&name, inner, vars),
            value => vars.push((name, value.to_string())),
        }
    }
}

fn server(text: &str) {
    let config = read::<Config>(text, Vec::new()).and_then(|read| read.checked().ok());
    if let Some(config) = config {
        same(&config);
        assert!(!config.master_key_file.starts_with(&config.data_dir));
        for base in [config.issuer(), config.resource()] {
            let uri = aims_oauth::HttpUri::parse(&base);
            assert!(uri.is_ok_and(|uri| uri.as_str().trim_end_matches('/') == base));
        }
    }
}

fn point(text: &str) {
    let path = Path::new("point.toml");
    let config = read::<PointConfig>(text, Vec::new());
    if let Some(config) = config.and_then(|read| read.checked(path).ok()) {
        same(&config);
        assert!(config.node().is_ok() != config.gateway().is_ok());
        assert_eq!(
            config.node_socket().is_ok(),
            config.workload_socket().is_ok()
        );
    }
}

fn profile(text: &str) {
    if let Ok(profile) = toml::from_str::<Profile>(text) {
        let again = toml::to_string(&profile).unwrap();
        assert_eq!(toml::from_str::<Profile>(&again).unwrap(), profile);
    }
}

/// A task's manifest is an authority that ends with the task, and that authority is read anywhere.
fn task(text: &str) {
    let Ok(manifest) = toml::from_str::<TaskManifest>(text) else {
        return;
    };
    let now = Timestamp::from_unix_secs(1_800_000_000);
    let Ok(deadline) = manifest.deadline(now) else {
        return;
    };
    if let Ok(authority) = manifest.authority(deadline) {
        assert!(authority.limits().not_after().is_some_and(|at| at >= now));
        let again = Authority::from_value(&authority.to_value()).unwrap();
        assert_eq!(again, authority);
    }
}

/// But for certificates, which are files of their own.
fn upstream(text: &str) {
    let names_files = |table: toml::Table| table.contains_key("ca");
    if toml::from_str(text).is_ok_and(names_files) {
        return;
    }
    if let Ok(manifest) = toml::from_str::<UpstreamManifest>(text)
        && let Ok(spec) = manifest.spec(Path::new("upstream.toml"))
    {
        let value = aims_json::to_value(&spec).unwrap().to_string();
        let again = aims_json::from_slice(value.as_bytes(), &aims_json::Limits::DOCUMENT);
        assert!(again.is_ok_and(|again: aims_model::UpstreamSpec| again == spec));
    }
}

/// What it names is measured elsewhere.
fn agent(text: &str) {
    let _ = toml::from_str::<AgentManifest>(text);
}

fn tools(text: &str) {
    let _ = toml::from_str::<ToolsManifest>(text);
}

fn service(text: &str) {
    let _ = toml::from_str::<ServiceManifest>(text);
}
