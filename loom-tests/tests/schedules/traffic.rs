//! Three who write and three who read: everything arrives once, whole, and in the order of each writer, and nobody sleeps for ever.

use shuttle::rand::{Rng, thread_rng};

use crate::machine::death::killed_at_step;
use crate::machine::simulator::{Locked, Shared, thread};
use crate::participant::Participant;
use crate::ring::{Miss, Seen};
use crate::run::under_many_schedules;
use crate::slot::{Content, Span};
use crate::sync::{AtomicU32, Ordering};
use crate::world::{Shape, World};

const WRITERS: u32 = 3;
const PARTICIPANTS: u32 = 6;
/// Things that each writer writes.
const EACH: u8 = 4;
/// As always, more than participants: who wants one gets one.
const EXTENTS: u32 = PARTICIPANTS + 1;
/// Steps after which a victim dies at the latest, if it lives so long.
const MOST_STEPS: u32 = 60;

/// What was read, with where it stood: a part of what writer `bytes[0] / 16` wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    position: u64,
    start: u32,
    bytes: Vec<u8>,
}

/// Everything that was read, by anybody.
type Basket = Shared<Locked<Vec<Part>>>;

/// What a writer writes: packets, packets above a slot, or stream bytes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Packets,
    Large,
    Stream,
}

const KINDS: [Kind; 3] = [Kind::Packets, Kind::Large, Kind::Stream];

/// Number `number` of writer `writer`: which, in each of its bytes.
fn thing(writer: u32, number: u8, kind: Kind) -> Vec<u8> {
    let byte = 16 * (writer as u8 + 1) + number;
    match kind {
        Kind::Packets => vec![byte; 1 + usize::from(number)],
        Kind::Large => vec![byte; 9 + usize::from(number % 3)],
        Kind::Stream => vec![byte],
    }
}

fn try_write(writer: &mut Participant, bytes: &[u8], kind: Kind) -> Result<(), Miss> {
    match kind {
        Kind::Packets => writer.send(bytes),
        Kind::Large => writer.send_large(bytes).unwrap_or(Err(Miss::Full)),
        Kind::Stream => writer.write_stream(bytes),
    }
}

/// Reads what is at tail: all of it, or its first byte if that is asked for and it is part of a stream.
fn try_read(world: &World, reader: &mut Participant, by_bytes: bool) -> Result<Part, Miss> {
    let seen = reader.front()?;
    let part = |start, bytes| Part { position: seen.position(), start, bytes };
    match seen.content() {
        Content::Stream(span) if by_bytes && span.len() > 1 => {
            let byte = consume(world, reader, &seen, span)?;
            Ok(part(span.start, byte))
        }
        Content::Stream(span) => reader.take(&seen).map(|bytes| part(span.start, bytes)),
        _ => reader.take(&seen).map(|bytes| part(0, bytes)),
    }
}

fn consume(world: &World, reader: &Participant, seen: &Seen, span: Span) -> Result<Vec<u8>, Miss> {
    let (byte, peek) = reader.peek(seen, Span { end: span.start + 1, ..span });
    let rest = Content::Stream(Span { start: span.start + 1, ..span });
    world.ring().consume(seen, rest, peek).map(|()| byte)
}

fn world() -> Shared<World> {
    Shape { extents: EXTENTS, ..Shape::new(2, PARTICIPANTS) }.build()
}

/// Checks that the parts are what each writer wrote, `counts` things of each, in its order; but for so many that may be missing.
fn all_arrived(mut parts: Vec<Part>, counts: [u8; 3], may_be_missing: usize) {
    parts.sort();
    let mut missing = 0;
    for (writer, (kind, count)) in (0..).zip(KINDS.into_iter().zip(counts)) {
        let is_its = |byte: &u8| u32::from(byte / 16) == writer + 1;
        let mut arrived: Vec<Vec<u8>> =
            parts.iter().filter(|part| part.bytes.iter().all(is_its)).map(|part| part.bytes.clone()).collect();
        if matches!(kind, Kind::Stream) {
            arrived = arrived.concat().into_iter().map(|byte| vec![byte]).collect();
        }
        let mut expected = (0..count).map(|number| thing(writer, number, kind));
        for one in &arrived {
            let found = expected.by_ref().position(|wanted| wanted == *one);
            missing += found.unwrap_or_else(|| panic!("{one:?} twice, torn, invented or in disorder: {arrived:?}"));
        }
        missing += expected.count();
    }
    assert!(missing <= may_be_missing, "{missing} are missing, of {counts:?}: {parts:?}");
}

#[test]
fn three_readers_get_everything_of_three_writers_once_and_in_order() {
    under_many_schedules(|| {
        let (world, basket, gone) = (world(), Basket::default(), Shared::new(AtomicU32::new(0)));
        let writers = (0..WRITERS).map(|entry| {
            let (mut writer, gone) = (world.writer(entry), Shared::clone(&gone));
            thread::spawn(move || write_everything(&mut writer, entry, &gone))
        });
        let readers = (WRITERS..PARTICIPANTS).map(|entry| {
            let (mut reader, world) = (world.reader(entry), Shared::clone(&world));
            let (basket, gone) = (Shared::clone(&basket), Shared::clone(&gone));
            thread::spawn(move || read_to_the_end(&world, &mut reader, entry.is_multiple_of(2), &basket, &gone))
        });
        let all: Vec<_> = writers.chain(readers).collect();
        all.into_iter().for_each(|one| one.join().expect("it ends"));
        all_arrived(basket.with(core::mem::take), [EACH; 3], 0);
        world.audit();
    });
}

fn write_everything(writer: &mut Participant, entry: u32, gone: &AtomicU32) {
    let kind = KINDS[entry as usize];
    for number in 0..EACH {
        loop {
            match try_write(writer, &thing(entry, number, kind), kind) {
                Ok(()) => break,
                Err(Miss::Full) => writer.sleep_until_room(),
                Err(Miss::Lost) => {}
                Err(miss) => panic!("{miss:?}"),
            }
        }
        writer.wake_one_reader();
    }
    gone.fetch_add(1, Ordering::AcqRel);
    writer.wake_all_readers();
}

fn read_to_the_end(world: &World, reader: &mut Participant, by_bytes: bool, basket: &Basket, gone: &AtomicU32) {
    let is_over = || gone.load(Ordering::Acquire) == WRITERS;
    loop {
        // Asked first: what is written before the end is read before it.
        let was_over = is_over();
        match try_read(world, reader, by_bytes) {
            Ok(part) => {
                basket.with(|basket| basket.push(part));
                reader.wake_one_writer();
            }
            Err(Miss::Lost) => {}
            Err(Miss::Empty) if was_over => return,
            Err(Miss::Empty) => reader.sleep_until_data_or(is_over),
            Err(miss) => panic!("{miss:?}"),
        }
    }
}

/// Somebody who is killed after some steps, or lives, and says so.
fn mortal(doom: u32, dead: Shared<AtomicU32>, entry: u32, life: impl FnOnce()) {
    if killed_at_step(doom, life).is_none() {
        dead.fetch_or(1 << entry, Ordering::AcqRel);
    }
}

#[test]
fn deaths_of_a_writer_and_a_reader_cost_at_most_what_they_were_doing() {
    under_many_schedules(|| {
        let (world, basket, dead) = (world(), Basket::default(), Shared::new(AtomicU32::new(0)));
        let written: [Shared<Locked<u8>>; 3] = Default::default();
        let mut random = thread_rng();
        let victims = [random.gen_range(0..WRITERS), random.gen_range(WRITERS..PARTICIPANTS)];
        let mut doom = |entry| if victims.contains(&entry) { random.gen_range(0..MOST_STEPS) } else { u32::MAX };
        let tasks: Vec<_> = (0..PARTICIPANTS)
            .map(|entry| {
                let (doom, dead) = (doom(entry), Shared::clone(&dead));
                let (world, basket) = (Shared::clone(&world), Shared::clone(&basket));
                let written = written.get(entry as usize).map(Shared::clone);
                thread::spawn(move || match written {
                    Some(written) => mortal(doom, dead, entry, || write_some(&world, entry, &written)),
                    None => mortal(doom, dead, entry, || read_some(&world, entry, &basket)),
                })
            })
            .collect();
        // One who comes cleans up while the others are at work; whose page is between two hands now, is known later.
        for victim in victims {
            if dead.load(Ordering::Acquire) & 1 << victim != 0 {
                world.reap(victim);
            }
        }
        tasks.into_iter().for_each(|task| task.join().expect("it ends"));
        let dead = dead.load(Ordering::Acquire);
        let mut left: Vec<u32> = victims.into_iter().filter(|victim| dead & 1 << victim != 0).collect();
        for _ in 0..victims.len() {
            left.retain(|&victim| world.reap(victim).is_none());
        }
        assert!(left.is_empty(), "all is quiet, and nobody knows what {left:?} owned");
        world.audit();
        read_some(&world, WRITERS, &basket);
        let counts = written.map(|count| count.with(|count| *count));
        let is_dead = |victim: u32| u8::from(dead & 1 << victim != 0);
        // The writer may have published one thing more than it knows of, and the reader have taken one slot with it.
        let mut most = counts;
        most[victims[0] as usize] += is_dead(victims[0]);
        let lost = most.iter().zip(counts).map(|(most, count)| usize::from(most - count)).sum::<usize>();
        let with_reader = usize::from(is_dead(victims[1])) * usize::from(EACH);
        all_arrived(basket.with(core::mem::take), most, lost + with_reader);
        assert!((0..EXTENTS).all(|_| world.extents().claim(u32::MAX - 1).is_some()), "an extent is lost");
    });
}

fn write_some(world: &Shared<World>, entry: u32, written: &Locked<u8>) {
    let (mut writer, kind) = (world.writer(entry), KINDS[entry as usize]);
    for number in 0..EACH {
        let mut tries = (0..20).map(|_| {
            thread::yield_now();
            try_write(&mut writer, &thing(entry, number, kind), kind)
        });
        if tries.all(|outcome| outcome.is_err()) {
            return;
        }
        written.with(|written| *written += 1);
    }
}

fn read_some(world: &Shared<World>, entry: u32, basket: &Basket) {
    let mut reader = world.reader(entry);
    let mut vain = 0;
    while vain < 20 {
        match try_read(world, &mut reader, entry.is_multiple_of(2)) {
            Ok(part) => basket.with(|basket| basket.push(part)),
            Err(_) => {
                vain += 1;
                thread::yield_now();
            }
        }
    }
}
