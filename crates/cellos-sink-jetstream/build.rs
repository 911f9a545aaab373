//! Enables `flush` of `EventSink`, which exists from cellos-core 0.8 on; the manifest of version 0.6 uses 0.8.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(event_sink_flush)");
    if std::env::var("CARGO_PKG_VERSION").is_ok_and(|version| version.starts_with("0.6.")) {
        println!("cargo::rustc-cfg=event_sink_flush");
    }
}
