//! What programs come to seldom: every size that a pipe can be asked to have, and more buffers and bytes than a call takes.

#[path = "../../ppipe/tests/name/mod.rs"]
mod name;

use std::fmt::Debug;
use std::io::{IoSlice, IoSliceMut};

use differ::kernel::Kernel;
use differ::ours::Ours;
use differ::privilege;
use differ::step::{Access, SLOT};
use differ::system::{Answer, System};
use rustix::io::Errno;

/// What `resize` says to each of `sizes`, by either side, and which size the other side sees then.
fn resized<S: System>(system: &S, sizes: &[u32]) -> Vec<(u32, Answer, Answer)> {
    let reader = system.open(0, Access::Reads).expect("a reader");
    let writer = system.open(0, Access::Writes).expect("a writer");
    let mut answers = Vec::new();
    for start in [SLOT as u32, 16 * SLOT as u32, 1 << 20] {
        for (&bytes, (by, other)) in sizes.iter().zip([(&reader, &writer), (&writer, &reader)].into_iter().cycle()) {
            system.resize(by, start).expect("an empty pipe can have any of these sizes");
            answers.push((bytes, system.resize(by, bytes), system.size(other)));
        }
        // Three slots are occupied, then two, then one.
        system.resize(&writer, start.max(4 * SLOT as u32)).expect("a size");
        system.write(&writer, &[IoSlice::new(&[1; 3 * SLOT])]).expect("there is room");
        for _ in 0..3 {
            for &bytes in sizes.iter().filter(|&&bytes| bytes as usize <= 8 * SLOT) {
                answers.push((bytes, system.resize(&writer, bytes), system.size(&reader)));
            }
            system.read(&reader, &mut [IoSliceMut::new(&mut [0; SLOT])]).expect("a slot");
        }
    }
    answers
}

#[test]
fn whatever_size_is_asked_for_the_answer_is_that_of_the_kernel() {
    name::sweep();
    let is_ordinary = privilege::is_ordinary();
    let mut random = fastrand::Rng::with_seed(0);
    let borders = (0..u32::BITS).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]);
    let negative = (1..10).map(|number: i32| -number as u32).chain([i32::MIN as u32]);
    let others = (0..1000).map(|_| random.u32(..) >> random.u32(..u32::BITS));
    let mut sizes: Vec<u32> = borders.chain(negative).chain(others).collect();
    sizes.retain(|&bytes| is_ordinary || bytes as usize <= privilege::most_bytes());
    let (kernel, ours) = (resized(&Kernel::new(), &sizes), resized(&Ours::new(0), &sizes));
    for (kernel, ours) in kernel.iter().zip(&ours) {
        assert_eq!(ours, kernel);
    }
    assert_eq!(ours.len(), kernel.len());
    let has = |error| ours.iter().any(|(_, answer, _)| *answer == Err(error));
    assert!(has(Errno::BUSY));
    assert!(!is_ordinary || has(Errno::PERM) && has(Errno::INVAL), "every way to refuse was there");
}

/// Writes bytes one by one, and reads them so. What each said, and what is left.
fn one_by_one<S: System>(system: &S, count: usize) -> (Answer, Answer, Answer)
where
    S::Handle: Debug,
{
    let reader = system.open(0, Access::Reads).expect("a reader");
    let writer = system.open(0, Access::Writes).expect("a writer");
    let written = system.write(&writer, &vec![IoSlice::new(b"1"); count]);
    system.write(&writer, &[IoSlice::new(&[2; 2000])]).expect("there is room");
    let mut bytes = vec![0; count];
    let mut buffers: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
    let read = system.read(&reader, &mut buffers);
    (written, read, system.unread(&reader))
}

#[test]
fn of_more_than_1024_buffers_the_kernel_uses_none_and_we_the_first_1024() {
    name::sweep();
    let (kernel, ours) = (Kernel::new(), Ours::new(0));
    for count in [1023, 1024] {
        assert_eq!(one_by_one(&ours, count), one_by_one(&kernel, count));
        assert_eq!(one_by_one(&ours, count), (Ok(count), Ok(count), Ok(2000)));
    }
    for count in [1025, 2000] {
        assert_eq!(one_by_one(&kernel, count), (Err(Errno::INVAL), Err(Errno::INVAL), Ok(2000)));
        assert_eq!(one_by_one(&ours, count), (Ok(1024), Ok(1024), Ok(2000)));
    }
}

/// Writes one byte, and then so many buffers of so many bytes at once. What that said, what is in the pipe, and what one read gives.
fn much_at_once<S: System>(system: &S, count: usize, len: usize, odd: usize) -> (Answer, Answer, Answer) {
    let reader = system.open(0, Access::Reads).expect("a reader");
    let writer = system.open(0, Access::Writes).expect("a writer");
    system.write(&writer, &[IoSlice::new(b"1")]).expect("there is room");
    let bytes = vec![2; len];
    let mut buffers = vec![IoSlice::new(&bytes); count];
    buffers.push(IoSlice::new(&bytes[..odd]));
    let written = system.write(&writer, &buffers);
    let unread = system.unread(&reader);
    (written, unread, system.read(&reader, &mut [IoSliceMut::new(&mut [0; 20 * SLOT])]))
}

#[test]
fn of_more_bytes_than_a_call_writes_the_odd_part_is_that_of_what_it_would_write() {
    name::sweep();
    // The first is less than 0x7fff_f000 bytes, and its odd part is merged with what is there; the others have none, or another one.
    let cases =
        [(1000, 2 << 20, 7), (1023, 2 << 20, (2 << 20) - SLOT), (1023, 2 << 20, 2 << 20), (1023, (2 << 20) + 9, 7)];
    for (count, len, odd) in cases {
        let (kernel, ours) = (Kernel::new(), Ours::new(0));
        let (kernel, ours) = (much_at_once(&kernel, count, len, odd), much_at_once(&ours, count, len, odd));
        assert_eq!(ours, kernel, "{count} of {len} and {odd}");
    }
}
