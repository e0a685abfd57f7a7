//! What `proto/workload.proto` says, in Rust.

#![expect(
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    reason = "made by the build script"
)]

tonic::include_proto!("_");
