//! `ppipe.h` is what the sources say. `PPIPE_BLESS=1` writes it.

use std::fs;
use std::path::Path;

#[test]
fn the_committed_header_is_what_the_sources_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_root_or_default(root);
    let builder = cbindgen::Builder::new().with_config(config).with_src(root.join("src/lib.rs"));
    let mut generated = Vec::new();
    builder.generate().expect("a header").write(&mut generated);
    let generated = String::from_utf8(generated).expect("text");
    let committed = root.join("include/ppipe.h");
    if std::env::var_os("PPIPE_BLESS").is_some() {
        fs::create_dir_all(root.join("include"))
            .and_then(|()| fs::write(&committed, &generated))
            .expect("a place to write it");
    }
    let text = fs::read_to_string(&committed).unwrap_or_default();
    assert!(text == generated, "include/ppipe.h is not up to date: run the test with PPIPE_BLESS=1");
}
