//! The coordinator: starts writers and readers, makes trouble, then lets everything drain and asks the judge.
//!
//! Nothing here is decided by time but the watchdog: trouble comes after a random number of messages and a random short
//! while, and if no message arrives for long, the storm has failed and says who holds what.

use std::collections::HashSet;
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ppipe::{Audit, Builder, Reader, Writer};
use shm_ring::Side;

use crate::child::{most_received, most_sent};
use crate::herd::Herd;
use crate::journal::{Complaints, Journal};
use crate::judge::{Account, Fate, Judge, Sum};
use crate::message::{MOST, Sizes};
use crate::orders::{END, Orders, Role, Traffic, VARIABLE, Way};
use crate::storm::{Failure, Storm, Tally, Trouble, Victims};
use crate::sweep::{remains_of, sweep};

/// So many are stopped to find one in the midst of an exchange.
const MOST_TRIES: u32 = 100;
/// While somebody stands stopped, the others pass so many messages.
const PASSED_WHILE_STOPPED: u64 = 1000;
/// Or, if children are silent, so many samples: each stands for a thousand messages of one reader, and there are fewer
/// readers.
const SAMPLES_WHILE_STOPPED: u64 = 8;
/// So many children in a row sleep in the usual way, then as many at bells.
const SLEEPERS_CHANGE: u16 = 4;

/// Whoever stands stopped for longer does not go on before the others have passed a message.
const LONG_PAUSE: Duration = Duration::from_millis(10);

/// One that stands stopped.
struct Paused {
    member: usize,
    until: Instant,
    /// How many messages had arrived, if it is not to go on before there are more.
    passed: Option<u64>,
}

/// A storm that is under way.
pub(crate) struct Coordinator<'a> {
    storm: &'a Storm,
    random: fastrand::Rng,
    sizes: Sizes,
    name: String,
    // Dropped in this order: no child may see an end of file, or a broken pipe, while it is one.
    herd: Herd,
    journal: Journal,
    complaints: Complaints,
    judge: Judge,
    reader: Reader,
    writer: Option<Writer>,
    fates: Vec<Fate>,
    readers: u16,
    /// How many messages the killed readers can have taken along.
    most_taken_along: u64,
    tally: Tally,
    last_progress: Instant,
    is_anybody_stopped: bool,
}

impl<'a> Coordinator<'a> {
    /// Makes the pipe and starts everybody.
    pub(crate) fn start(storm: &'a Storm) -> Result<Self, Failure> {
        let mut random = fastrand::Rng::with_seed(storm.seed);
        let is_stream = storm.traffic == Traffic::Stream;
        let (slot, slots) = shape(&mut random, storm.is_silent);
        let crowd = |count: usize| (2 * count + 2).try_into().unwrap_or(u32::MAX);
        let builder = Builder::new()
            .slot_size(slot as u32)
            .slots(slots as u32)
            .nonblocking(true)
            .max_writers(crowd(storm.crowd.0))
            .max_readers(crowd(storm.crowd.1));
        let (reader, writer, name) = match storm.way {
            Way::Inherited => {
                let (reader, writer) = builder.pipe()?;
                (reader, writer, String::new())
            }
            Way::Named => {
                sweep()?;
                let name = format!("storm-{}-{:x}-{:x}", std::process::id(), storm.seed, random.u64(..));
                (builder.open_reader(&name)?, builder.open_writer(&name)?, name)
            }
        };
        // Children inherit these.
        writer.set_nonblocking(false);
        reader.set_nonblocking(false);
        let mut coordinator = Self {
            storm,
            random,
            sizes: Sizes { slot, capacity: (slot * slots).min(MOST), is_stream },
            name,
            herd: Herd::default(),
            journal: Journal::new()?,
            complaints: Complaints::new()?,
            judge: Judge::default(),
            reader,
            writer: Some(writer),
            fates: Vec::new(),
            readers: 0,
            most_taken_along: 0,
            tally: Tally::default(),
            last_progress: Instant::now(),
            is_anybody_stopped: false,
        };
        for _ in 0..storm.crowd.0 {
            coordinator.start_one(Role::Writer)?;
        }
        for _ in 0..storm.crowd.1 {
            coordinator.start_one(Role::Reader)?;
        }
        Ok(coordinator)
    }

    fn start_one(&mut self, role: Role) -> Result<(), Failure> {
        let incarnation = match role {
            Role::Writer => self.fates.len() as u16,
            Role::Reader => self.readers,
        };
        // Only the first one lies; the second writer tells the truth, so that something passes.
        let lie = self.storm.lie.filter(|&(liar, lie)| liar == role && (incarnation == 0 || lie.is_of_all()));
        let orders = Orders {
            coordinator: std::process::id() as i32,
            role,
            incarnation,
            journal: self.journal.numbers(),
            sizes: self.sizes,
            is_silent: self.storm.is_silent,
            is_restless: self.storm.way == Way::Named && self.storm.seed.is_multiple_of(2),
            // A liar may ring for nobody.
            sleeps_at_bells: self.storm.lie.is_none() && incarnation / SLEEPERS_CHANGE % 2 == 1,
            lie: lie.map(|(_, lie)| lie),
            name: self.name.clone(),
        };
        let mut command = Command::new(&self.storm.program);
        command.env(VARIABLE, orders.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(self.complaints.place()?);
        if self.storm.way == Way::Inherited {
            match role {
                Role::Writer => self.a_writer()?.hand_to(&mut command, END),
                Role::Reader => self.reader.try_clone()?.hand_to(&mut command, END),
            }
        }
        self.herd.start(role, incarnation, &mut command)?;
        match role {
            // Until it finishes, it is as good as killed.
            Role::Writer => self.fates.push(Fate::Killed),
            Role::Reader => self.readers += 1,
        }
        self.hear()
    }

    /// Who complains has failed, also if it was killed before it could end.
    fn hear(&self) -> Result<(), Failure> {
        let text = self.complaints.text()?;
        if text.is_empty() { Ok(()) } else { Err(Failure::Child(text)) }
    }

    fn a_writer(&self) -> Result<Writer, Failure> {
        let writer = self.writer.as_ref().ok_or_else(|| Failure::Remains("no writer is left to clone".to_owned()))?;
        Ok(writer.try_clone()?)
    }

    /// Kills or stops as often as it should.
    pub(crate) fn make_trouble(&mut self) -> Result<(), Failure> {
        let (count, most) = match self.storm.trouble {
            Trouble::None(messages) => return self.pass(messages),
            Trouble::Pause(count) => return self.make_pauses(count),
            Trouble::Kill(count) if self.storm.is_silent => (count, 4),
            Trouble::Kill(count) => (count, 300),
            Trouble::Stop(count) => (count, 30),
        };
        let start = Instant::now();
        let mut done = 0;
        while done < count && Instant::now() < self.storm.until {
            let messages = self.random.u64(0..most);
            self.pass(messages)?;
            self.pass_a_moment()?;
            if let Trouble::Stop(_) = self.storm.trouble {
                self.stop_one()?;
                done += 1;
                continue;
            }
            // Now and then several at once.
            for _ in 0..self.random.u32(1..=3).min(count - done) {
                let is_aimed = self.random.u32(0..if self.storm.is_silent { 4 } else { 8 }) == 0;
                let victim = if is_aimed { self.victim_in_exchange()? } else { self.victim() };
                let Some(victim) = victim else { break };
                self.kill(victim, is_aimed)?;
                done += 1;
            }
            while self.herd.count(Role::Writer) < self.storm.crowd.0 {
                self.start_one(Role::Writer)?;
            }
            while self.herd.count(Role::Reader) < self.storm.crowd.1 {
                self.start_one(Role::Reader)?;
            }
        }
        self.tally.time = start.elapsed();
        Ok(())
    }

    fn victim(&mut self) -> Option<usize> {
        let wanted = |role| match self.storm.victims {
            Victims::All => true,
            Victims::Writers => role == Role::Writer,
            Victims::Readers => role == Role::Reader,
        };
        let members = self.herd.members();
        let possible: Vec<usize> = (0..members.len()).filter(|&index| wanted(members[index].role)).collect();
        self.random.choice(&possible).copied()
    }

    /// Stops one after the other until one stands just between saying which exchange comes next and saying how it ended:
    /// a few instructions that a random instant seldom hits. After many vain tries anybody will do.
    fn victim_in_exchange(&mut self) -> Result<Option<usize>, Failure> {
        for _ in 0..MOST_TRIES {
            let Some(victim) = self.victim() else { return Ok(None) };
            self.stop(victim)?;
            let audit = self.reader.audit()?;
            let member = &self.herd.members()[victim];
            if audit.held().any(|entry| entry.is_pending && entry.pid == member.pid()) {
                self.tally.aimed += 1;
                return Ok(Some(victim));
            }
            member.go_on()?;
            self.note_arrivals()?;
        }
        Ok(self.victim())
    }

    /// Kills one, and if `looks`, or now and then, looks in what state it died.
    fn kill(&mut self, index: usize, looks: bool) -> Result<(), Failure> {
        let (role, incarnation, ended) = self.herd.kill(index)?;
        if let Some(status) = ended {
            return Err(Failure::Child(format!("{role:?} {incarnation} ended by itself: {status}")));
        }
        match role {
            Role::Writer => self.tally.killed_writers += 1,
            Role::Reader => {
                self.tally.killed_readers += 1;
                self.most_taken_along += most_received(incarnation, self.sizes.is_stream) as u64;
            }
        }
        // Mostly it is the next one to join who cleans up; now and then it is us.
        if looks || self.storm.is_silent || self.random.u32(0..4) == 0 {
            let audit = self.reader.audit()?;
            self.tally.looks += 1;
            self.tally.pending += audit.settled;
            self.tally.extents += audit.freed;
        }
        Ok(())
    }

    fn stop_one(&mut self) -> Result<(), Failure> {
        let victim = if self.storm.is_silent { self.victim_in_exchange()? } else { self.victim() };
        let Some(victim) = victim else { return Ok(()) };
        self.stop(victim)?;
        // What was said before it stood does not count.
        while self.note_arrivals()? > 0 {}
        self.is_anybody_stopped = true;
        self.pass(if self.storm.is_silent { SAMPLES_WHILE_STOPPED } else { PASSED_WHILE_STOPPED })?;
        self.is_anybody_stopped = false;
        self.tally.stops += 1;
        self.tally.passed += 1;
        let role = self.herd.members()[victim].role;
        if self.random.u32(0..4) == 0 {
            self.kill(victim, false)?;
            return self.start_one(role);
        }
        Ok(self.herd.members()[victim].go_on()?)
    }

    /// Stops as many, several at a time, and lets each go on after its time; not all of a side at once, so that the others can always go on.
    fn make_pauses(&mut self, count: u32) -> Result<(), Failure> {
        let start = Instant::now();
        let (mut begun, mut paused) = (0, Vec::<Paused>::new());
        while begun < count || !paused.is_empty() {
            let running = |role, paused: &[Paused]| {
                self.herd.count(role) - paused.iter().filter(|one| self.herd.members()[one.member].role == role).count()
            };
            let victim = self.random.usize(..self.herd.members().len());
            let is_free = paused.iter().all(|one| one.member != victim);
            if begun < count && is_free && running(self.herd.members()[victim].role, &paused) > 1 {
                self.stop(victim)?;
                begun += 1;
                let length = self.length_of_pause();
                let has_to_pass = length > LONG_PAUSE;
                // What was said before it stood does not count.
                while has_to_pass && self.note_arrivals()? > 0 {}
                let until = Instant::now() + length;
                paused.push(Paused { member: victim, until, passed: has_to_pass.then(|| self.judge.count()) });
                self.is_anybody_stopped = true;
            }
            self.end_pauses(&mut paused)?;
            self.is_anybody_stopped = !paused.is_empty();
            self.note_or_yield()?;
        }
        self.tally.time = start.elapsed();
        Ok(())
    }

    /// Ends those whose time is over.
    fn end_pauses(&mut self, paused: &mut Vec<Paused>) -> Result<(), Failure> {
        let Self { herd, judge, tally, .. } = self;
        let is_over =
            |one: &mut Paused| Instant::now() >= one.until && one.passed.is_none_or(|before| judge.count() > before);
        for one in paused.extract_if(.., is_over) {
            herd.members()[one.member].go_on()?;
            tally.stops += 1;
            tally.passed += u32::from(one.passed.is_some());
        }
        Ok(())
    }

    /// A microsecond to two seconds, each order of magnitude as likely as the other.
    fn length_of_pause(&mut self) -> Duration {
        let (shortest, longest) = (1e-6_f64.ln(), 2_f64.ln());
        Duration::from_secs_f64((shortest + (longest - shortest) * self.random.f64()).exp())
    }

    fn stop(&self, index: usize) -> Result<(), Failure> {
        let member = &self.herd.members()[index];
        if member.stop()? {
            return Ok(());
        }
        Err(Failure::Child(format!("{:?} {} ended by itself", member.role, member.incarnation)))
    }

    /// Lets so many messages arrive.
    fn pass(&mut self, messages: u64) -> Result<(), Failure> {
        let end = self.judge.count() + messages;
        while self.judge.count() < end {
            self.note_or_yield()?;
        }
        Ok(())
    }

    /// A random while of up to a fifth of a millisecond, so that the moment does not follow from what arrives.
    fn pass_a_moment(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + Duration::from_nanos(self.random.u64(0..200_000));
        while Instant::now() < end {
            self.note_arrivals()?;
        }
        Ok(())
    }

    fn note_or_yield(&mut self) -> Result<(), Failure> {
        if self.note_arrivals()? > 0 {
            return Ok(());
        }
        if self.last_progress.elapsed() > self.storm.patience {
            let audit = self.reader.audit()?;
            let members: Vec<_> =
                self.herd.members().iter().map(|m| format!("{:?} {}", m.role, m.incarnation)).collect();
            let held_up = format!("alive: {}\n{audit}", members.join(", "));
            return Err(if self.is_anybody_stopped { Failure::HeldUp(held_up) } else { Failure::Hang(held_up) });
        }
        self.bury(None)?;
        thread::yield_now();
        Ok(())
    }

    fn note_arrivals(&mut self) -> Result<u64, Failure> {
        let Self { journal, judge, .. } = self;
        let count = journal.drain(|arrival| judge.note(arrival).map_err(Failure::Law))?;
        if count > 0 {
            self.tally.silence = self.tally.silence.max(self.last_progress.elapsed());
            self.last_progress = Instant::now();
        }
        Ok(count)
    }

    /// Notes who has ended by itself, which only those of role `may_end` should have.
    fn bury(&mut self, may_end: Option<Role>) -> Result<(), Failure> {
        let Self { herd, fates, .. } = self;
        let mut wrong = None;
        herd.bury(|role, incarnation, status| {
            if may_end != Some(role) || !status.success() {
                wrong = Some(format!("{role:?} {incarnation} ended by itself: {status}"));
            }
            if role == Role::Writer {
                fates[usize::from(incarnation)] = Fate::Finished;
            }
        })?;
        let Some(wrong) = wrong else { return Ok(()) };
        Err(Failure::Child(format!("{wrong}; it says {:?}", self.complaints.text()?)))
    }

    /// Writers finish, then readers see the end of the file; then everything is counted.
    pub(crate) fn drain(mut self) -> Result<Tally, Failure> {
        self.journal.say_that_it_is_over()?;
        self.last_progress = Instant::now();
        self.wait_for_all(Role::Writer)?;
        // One that opens the name when nobody writes any more waits for ever, as it should.
        self.wait_until_all_readers_are_there()?;
        self.writer = None;
        self.tally.ends = self.herd.count(Role::Reader) as u32;
        self.wait_for_all(Role::Reader)?;
        while self.note_arrivals()? > 0 {}
        self.hear()?;

        let Err(end) = self.reader.try_recv(&mut [0; 1]) else {
            return Err(Failure::Remains("a message stands in the pipe after the end of file".to_owned()));
        };
        if end.kind() != io::ErrorKind::UnexpectedEof {
            return Err(Failure::Remains(format!("instead of the end of file: {end}")));
        }
        let sum = self.judge()?;
        let audit = self.reader.audit()?;
        if !is_in_order(&audit) {
            return Err(Failure::Accounts(audit.to_string()));
        }
        drop(self.reader);
        if let Some(remains) = remains_of(&self.name)? {
            return Err(Failure::Remains(format!("/dev/shm/{remains}")));
        }
        let (arrived, taken_along, unsaid) = (sum.arrived, sum.taken_along, sum.unsaid);
        Ok(Tally { arrived, taken_along, unsaid, ..self.tally })
    }

    fn judge(&self) -> Result<Sum, Failure> {
        if self.storm.is_silent {
            return Ok(Sum { arrived: self.judge.count(), ..Sum::default() });
        }
        let account = |(writer, &fate)| {
            let (said, at_once) = (self.journal.sent_by(writer)?, most_sent(writer, self.sizes.is_stream));
            Ok(Account { said, fate, at_once })
        };
        let writers: io::Result<Vec<_>> = (0..).zip(&self.fates).map(account).collect();
        self.judge.judge(&writers?, self.most_taken_along).map_err(Failure::Law)
    }

    fn wait_for_all(&mut self, role: Role) -> Result<(), Failure> {
        while self.herd.count(role) > 0 {
            let before = self.herd.members().len();
            self.bury(Some(role))?;
            if self.herd.members().len() < before {
                self.last_progress = Instant::now();
            } else if self.note_arrivals()? == 0 {
                self.check_progress_when_over()?;
            }
        }
        Ok(())
    }

    fn wait_until_all_readers_are_there(&mut self) -> Result<(), Failure> {
        loop {
            let audit = self.reader.audit()?;
            // Not those whose end is still being handed over; one that opens a second end is one; and us.
            let there = audit.held().filter(|entry| entry.side == Side::Reader && entry.pid != 0);
            if there.map(|entry| entry.pid).collect::<HashSet<_>>().len() == self.herd.count(Role::Reader) + 1 {
                return Ok(());
            }
            self.note_arrivals()?;
            self.check_progress_when_over()?;
        }
    }

    fn check_progress_when_over(&mut self) -> Result<(), Failure> {
        if self.last_progress.elapsed() > self.storm.patience {
            return Err(Failure::Hang(format!("when it was over\n{}", self.reader.audit()?)));
        }
        thread::yield_now();
        Ok(())
    }
}

/// Bytes in a slot, and slots. Who is to be caught in an exchange should not copy or wait much.
fn shape(random: &mut fastrand::Rng, is_silent: bool) -> (usize, usize) {
    let (sizes, counts): (&[usize], &[usize]) =
        if is_silent { (&[64, 256], &[4, 8, 16]) } else { (&[64, 256, 1024, 4096], &[1, 2, 4, 8, 16]) };
    (sizes[random.usize(..sizes.len())], counts[random.usize(..counts.len())])
}

/// Everybody but the coordinator's reader is gone.
fn is_in_order(audit: &Audit) -> bool {
    audit.is_sound()
        && audit.is_steady
        && audit.held().count() == 1
        && audit.full_slots() == 0
        && audit.extents.is_empty()
}
