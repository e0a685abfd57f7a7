//! Makes Rust of `proto/links.proto`, without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/links.proto");
    let files = protox::compile(["links.proto"], ["proto"])?;
    // Parts of one encoded state share its bytes.
    tonic_prost_build::configure()
        .bytes(".aims.links.v1.StatePart.data")
        .compile_fds(files)?;
    Ok(())
}
