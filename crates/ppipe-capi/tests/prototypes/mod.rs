//! The functions of the header.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

pub(crate) fn of_the_project(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the project")
}

/// The prototypes of the header, each without comments and line breaks.
pub(crate) fn prototypes() -> Vec<String> {
    let header = of_the_project("include/ppipe.h");
    let code: String = header.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, code)| code)).collect();
    let lines = code.lines().filter(|line| !line.starts_with('#') && !line.starts_with("extern"));
    let code = lines.collect::<Vec<_>>().join(" ");
    let statements = code.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| statement.ends_with(')')).collect()
}

/// The name of a prototype's function.
pub(crate) fn name_of(prototype: &str) -> &str {
    let (before, _) = prototype.split_once('(').expect("it is a prototype");
    before.rsplit([' ', '*']).next().expect("a name")
}

/// The names of all functions.
pub(crate) fn functions() -> BTreeSet<String> {
    let functions: BTreeSet<_> = prototypes().iter().map(|prototype| name_of(prototype).to_owned()).collect();
    assert!(functions.len() >= 41 && functions.iter().all(|name| name.starts_with("ppipe_")), "{functions:?}");
    functions
}
