//! What is not a segment is an error that says what was found and what was expected, whatever it is; and never a signal.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, open};
use shm_ring::layout::{Header, MAGIC, VERSION};
use shm_ring::segment::{AttachError, Size};
use shm_ring::{Geometry, Segment};

const SMALL: Geometry = Geometry {
    slot_size: 64,
    ring_size: 4,
    max_ring_size: 8,
    writers: 2,
    readers: 3,
    is_signed: false,
    first_position: 0,
};

/// The bytes of a whole segment.
fn whole() -> Vec<u8> {
    let segment = Segment::anonymous(SMALL).expect("a segment");
    let mut file = File::from(segment.file().try_clone_to_owned().expect("a descriptor"));
    let mut bytes = Vec::new();
    file.rewind().expect("the start");
    file.read_to_end(&mut bytes).expect("its bytes");
    bytes
}

/// A memfd of these bytes with these seals.
fn memory(bytes: &[u8], seals: SealFlags) -> File {
    let mut file =
        File::from(memfd_create("segment", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(bytes).expect("room");
    fcntl_add_seals(&file, seals).expect("seals");
    file
}

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

fn opened(path: &str, flags: OFlags) -> File {
    open(path, flags | OFlags::CLOEXEC, Mode::empty()).expect("it is there").into()
}

/// What attaching it says, which is printed.
fn refused(what: &str, file: File, size: Size) -> AttachError {
    let error = Segment::attach(file, size).err().unwrap_or_else(|| panic!("{what} is taken for a segment"));
    println!("{what}: {error}");
    error
}

#[test]
fn what_is_no_memory_is_named() {
    let (_reader, writer) = std::io::pipe().expect("descriptors");
    let (_one, socket) = std::os::unix::net::UnixStream::pair().expect("descriptors");
    let link = std::env::temp_dir().join(format!("ppipe-bad-segment-{}", std::process::id()));
    std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
    let link_itself = opened(link.to_str().expect("a path"), OFlags::PATH | OFlags::NOFOLLOW);
    std::fs::remove_file(&link).expect("it is ours");
    let table = [
        ("a folder", opened("/", OFlags::DIRECTORY), "a directory"),
        ("a pipe", OwnedFd::from(writer).into(), "a FIFO"),
        ("a socket", OwnedFd::from(socket).into(), "a socket"),
        ("a link", link_itself, "a symbolic link"),
        ("/dev/zero", opened("/dev/zero", OFlags::RDWR), "a device"),
    ];
    for (what, file, found) in table {
        for size in [Size::Trusted, Size::Sealed] {
            let says = refused(what, file.try_clone().expect("a descriptor"), size).to_string();
            assert_eq!(says, format!("not a memory file: {found}, expected a regular file"));
        }
    }
}

#[test]
fn what_can_shrink_where_it_must_not_or_cannot_be_written_is_named() {
    let bytes = whole();
    let sealed = "expected a memfd with F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_SEAL";
    for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL, SEALS] {
        let says = refused(&format!("without {missing:?}"), memory(&bytes, SEALS - missing), Size::Sealed).to_string();
        assert!(says.contains("a file without seals") && says.ends_with(sealed), "{says}");
    }
    let disk = opened(std::env::current_exe().expect("our program").to_str().expect("a path"), OFlags::RDONLY);
    assert!(refused("a program", disk, Size::Sealed).to_string().ends_with(sealed));
    let unwritable = memory(&bytes, SEALS | SealFlags::WRITE);
    assert!(matches!(refused("sealed against writing", unwritable, Size::Sealed), AttachError::System(_)));
    let path = OFlags::PATH;
    let only_a_path = opened(std::env::current_exe().expect("our program").to_str().expect("a path"), path);
    refused("only a path", only_a_path, Size::Trusted);
    Segment::attach(memory(&bytes, SEALS), Size::Sealed).expect("and this is one");
}

#[test]
fn what_is_too_short_is_told_how_short() {
    let (bytes, header) = (whole(), size_of::<Header>());
    for len in [0, 1, 63, header - 1] {
        let says = refused(&format!("{len} bytes"), memory(&bytes[..len], SEALS), Size::Sealed).to_string();
        assert_eq!(says, format!("damaged segment: size of the file is {len}, expected {header}"));
    }
    for len in [header, bytes.len() - 1] {
        let says = refused(&format!("{len} bytes"), memory(&bytes[..len], SEALS), Size::Sealed).to_string();
        assert_eq!(says, format!("damaged segment: size of the file is {len}, expected {}", bytes.len()));
    }
    let longer = [&bytes[..], &[0]].concat();
    let says = refused("a byte more", memory(&longer, SEALS), Size::Sealed).to_string();
    assert_eq!(says, format!("damaged segment: size of the file is {}, expected {}", longer.len(), bytes.len()));
}

#[test]
fn each_number_that_cannot_be_is_named_with_what_it_is_and_what_it_could_be() {
    const U32: usize = 4;
    let bytes = whole();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + U32].try_into().expect("four bytes"));
    // What, where, the number there, and what is said of it.
    let table: &[(&str, usize, u32, &str)] = &[
        ("an older version", 8, 0, "segment of layout version 0, expected 1"),
        ("a newer version", 8, VERSION + 1, "segment of layout version 2, expected 1"),
        ("a version in the other byte order", 8, VERSION.swap_bytes(), "layout version 16777216, expected 1"),
        ("a header as of a 32-bit program that packs it", 12, 640, "size of the header is 640, expected 1280"),
        ("no slots", 20, 0, "the number of slots is 0, possible is a power of two"),
        ("three slots", 20, 3, "the number of slots is 3, possible is a power of two"),
        ("too many slots", 20, 1 << 17, "the number of slots is 131072"),
        ("slots of nothing", 16, 0, "the size of a slot is 0, possible is a power of two"),
        ("slots of 65 bytes", 16, 65, "the size of a slot is 65"),
        ("slots of 2 GiB", 16, 1 << 31, "the size of a slot is 2147483648"),
        ("fewer slots at most than at first", 40, 2, "the largest number of slots is 2"),
        ("no writers", 24, 0, "the number of writers is 0"),
        ("too many writers", 24, u32::MAX, "the number of writers is 4294967295"),
        ("no readers", 28, 0, "the number of readers is 0"),
        ("other extents", 32, 1000, "number of extents is 1000"),
        ("a larger packet", 36, u32::MAX, "largest packet is 4294967295"),
        ("unknown flags", 44, 1 << 5, "what the flags say that is unknown is 32, expected 0"),
        ("a signed one that is none", 44, 1, "checksum"),
        ("another size", 48, 7, "size of the segment is 7"),
        ("another checksum", 56, 7, "checksum is"),
        ("one writer more", 24, 3, "is "),
    ];
    for &(what, at, value, words) in table {
        assert_ne!(number(at), value, "{what}: nothing would be changed");
        let mut bytes = bytes.clone();
        bytes[at..at + U32].copy_from_slice(&value.to_le_bytes());
        let says = refused(what, memory(&bytes, SEALS), Size::Sealed).to_string();
        assert!(says.contains(words), "{what}: {says:?} does not say {words:?}");
    }
    for (what, start) in [("text", 0x7878_7878_7878_7878), ("the other byte order", MAGIC.swap_bytes()), ("zeros", 0)] {
        let mut bytes = bytes.clone();
        bytes[..8].copy_from_slice(&start.to_le_bytes());
        let says = refused(what, memory(&bytes, SEALS), Size::Sealed).to_string();
        assert_eq!(says, format!("not a ppipe segment: starts with {start:#018x}, expected {MAGIC:#018x}"));
    }
}

#[test]
fn no_bit_of_what_a_segment_says_of_itself_can_be_another_one() {
    let bytes = whole();
    for bit in 0..64 * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Segment::attach(memory(&bytes, SEALS), Size::Sealed).is_err(), "bit {bit}");
    }
}
