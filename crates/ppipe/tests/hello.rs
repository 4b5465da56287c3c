//! The README's two programs, as two processes, whichever starts first.

mod again;
mod name;

use std::fs::File;
use std::io::{self, Read, Write};

use again::{Ward, command, role};
use name::Name;
use ppipe::{Reader, Writer};

const NAME: &str = "PPIPE_TEST_NAME";
/// What the test harness says on its own comes before this line.
const FROM_HERE: &str = "from here on it is the program";

fn write(name: &str) -> io::Result<()> {
    let mut writer = Writer::open(name)?;
    writer.write_all(b"hello\n")
}

fn read(name: &str) -> io::Result<()> {
    let mut reader = Reader::open(name)?;
    io::copy(&mut reader, &mut io::stdout())?;
    Ok(())
}

#[test]
fn child_process() {
    let Some(role) = role() else { return };
    let name = std::env::var(NAME).expect("a name");
    println!("{FROM_HERE}");
    let done = if role == "writer" { write(&name) } else { read(&name) };
    done.unwrap_or_else(|error| panic!("{role}: {error}"));
    // The harness has nothing more to say.
    std::process::exit(0);
}

fn hello(first: &str, second: &str) {
    let name = Name::new(&format!("hello-{first}-first"));
    let (output, place) = rustix::pipe::pipe().expect("a pipe");
    let start = |role: &str| {
        let mut program = command(role);
        program.env(NAME, &name.0);
        if role == "reader" {
            program.stdout(place.try_clone().expect("a descriptor"));
        }
        Ward::start(program)
    };
    let mut first = start(first);
    while ppipe::audit(&name.0).is_err() {
        assert_eq!(first.ended(), None, "it waits for the other");
    }
    let mut second = start(second);
    assert!(second.has_succeeded() && first.has_succeeded());
    drop(place);
    let mut text = String::new();
    File::from(output).read_to_string(&mut text).expect("what the reader says");
    let (_, said) = text.split_once(&format!("{FROM_HERE}\n")).expect("the reader says so");
    assert_eq!(said, "hello\n");
    assert_eq!(name.remains(), [""; 0]);
}

#[test]
fn hello_arrives_when_the_reader_starts_first() {
    hello("reader", "writer");
}

#[test]
fn hello_arrives_when_the_writer_starts_first() {
    hello("writer", "reader");
}
