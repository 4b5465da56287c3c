//! Gives the shared library the name that programs that are linked against it ask for.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libppipe.so.0");
    println!("cargo:rerun-if-changed=build.rs");
}
