//! The gateway as a whole, attacked.

mod approvals;
mod attacks;
mod calls;
mod credentials;
mod cutoffs;
mod delegations;
mod egress;
mod elsewhere;
mod enrolled;
mod late;
mod leases;
mod lost;
mod receipts;
mod recovery;
mod slow;
mod tools;
mod trees;
mod upstreams;

/// Authority over every tool but `secret`, with a constraint on one argument.
fn wide(limits: &str) -> String {
    format!(
        r#"{{"authorization_details":[{{"type":"mcp_tool","server":"bench",
        "actions":["asks","change","die","echo","error","flood","garbage","hang","long","mismatch",
        "progress","twice"],
        "arguments":{{"path":{{"path_prefix":"/srv","optional":true}},"n":"any"}}}}],
        "limits":{limits}}}"#
    )
}
