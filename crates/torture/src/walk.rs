//! Every place of an operation: a survey finds them, then a victim is led to each of them and killed there.

use std::io;
use std::path::Path;

use fastrand::Rng;

use crate::act::Scenario;
use crate::pipe::Broken;
use crate::stepping::{At, Place, Victim};
use crate::world::World;

/// Instructions behind a system call are chosen from 0 to a power of two up to this.
const MOST_STEPS: u32 = 1 << 13;

/// Where a law was broken.
#[derive(Debug, thiserror::Error)]
#[error("{scenario}, {place:?}: {broken}")]
pub struct Failure {
    /// In which scenario.
    pub scenario: Scenario,
    /// Where the victim stood; `None` if it was not under way.
    pub place: Option<Place>,
    /// What was found.
    pub broken: Broken,
}

/// The places of a scenario.
#[derive(Clone, Debug)]
pub struct Survey {
    /// For each system call, and for what comes after the last one: how many instructions lead there, and whether it is slept in.
    pub calls: Vec<(u32, bool)>,
}

/// What became of a victim that was led to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Led {
    /// It stands there.
    There,
    /// It was done before.
    Done,
}

/// What a kill has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    /// Where the victim stood.
    pub led: Led,
    /// Whether an audit has found that it died between saying which exchange comes next and saying how that ended.
    pub was_in_the_midst: bool,
}

impl Survey {
    /// Leads a victim through the whole operation, instruction by instruction.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn new(scenario: Scenario, program: &Path) -> Result<Self, Failure> {
        let failed = |broken| Failure { scenario, place: None, broken };
        let mut world = World::new(scenario, program).map_err(failed)?;
        let mut victim = world.start().map_err(failed)?;
        let calls = survey(&mut world, &mut victim).map_err(failed)?;
        drop(victim);
        world.judge(&[true], false).map_err(failed)?;
        Ok(Self { calls })
    }

    /// At which of its places the victim has said which exchange comes next, and not yet how that ended.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn pending(&self, scenario: Scenario, program: &Path) -> Result<Vec<Place>, Failure> {
        let failed = |broken| Failure { scenario, place: None, broken };
        let mut world = World::new(scenario, program).map_err(failed)?;
        let mut victim = world.start().map_err(failed)?;
        let before = world.pending().map_err(failed)?;
        let (mut pending, mut from) = (Vec::new(), Place { calls: 0, steps: 0, is_asleep: false });
        for place in self.places().filter(|place| !place.is_asleep) {
            let steps = if place.calls == from.calls { place.steps - from.steps } else { 1 };
            let next = Place { calls: 0, steps, is_asleep: false };
            if steps > 0 && lead(&mut world, &mut victim, next).map_err(failed)? == Led::Done {
                break;
            }
            if world.pending().map_err(failed)? > before {
                pending.push(place);
            }
            from = place;
        }
        Ok(pending)
    }

    /// All places, in order.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.calls.iter().enumerate().flat_map(|(calls, &(steps, sleeps))| {
            let calls = calls as u32;
            let places = (0..steps).map(move |steps| Place { calls, steps, is_asleep: false });
            places.chain(sleeps.then_some(Place { calls, steps, is_asleep: true }))
        })
    }
}

fn survey(world: &mut World, victim: &mut Victim) -> Result<Vec<(u32, bool)>, Broken> {
    let mut calls = vec![(0, false)];
    loop {
        let last = calls.last_mut().expect("there is one");
        last.0 += 1;
        let is_call = victim.is_before_call()?;
        let mut at = victim.step()?;
        if at == At::Asleep {
            last.1 = true;
            world.rouse()?;
            at = victim.wake_up()?;
        }
        match at {
            At::Stands if is_call => calls.push((0, false)),
            At::Stands => {}
            At::Mark => return Ok(calls),
            at => return Err(io::Error::other(format!("the victim does not come to its second mark: {at:?}")).into()),
        }
    }
}

/// How many system calls the operation makes: a survey that leads from call to call, at full speed between them.
///
/// # Errors
/// [`Failure`].
pub fn count_calls(scenario: Scenario, program: &Path) -> Result<u32, Failure> {
    let failed = |broken| Failure { scenario, place: None, broken };
    let mut world = World::new(scenario, program).map_err(failed)?;
    let mut victim = world.start().map_err(failed)?;
    let mut calls = 0;
    let led = loop {
        let place = Place { calls: 1, steps: 0, is_asleep: false };
        match lead(&mut world, &mut victim, place).map_err(failed)? {
            Led::There => calls += 1,
            led @ Led::Done => break led,
        }
    };
    drop(victim);
    world.judge(&[led == Led::Done], false).map_err(failed)?;
    Ok(calls)
}

/// A place of an operation that makes so many calls, without a survey.
pub fn some_place(rng: &mut Rng, calls: u32) -> Place {
    let most = 1 << rng.u32(0..=MOST_STEPS.trailing_zeros());
    Place { calls: rng.u32(0..=calls), steps: rng.u32(0..most), is_asleep: false }
}

/// Leads `victim`, which stands at its first mark, to `place`. What it sleeps for on the way the survivors of `world` do.
///
/// # Errors
/// [`Broken`].
pub fn lead(world: &mut World, victim: &mut Victim, place: Place) -> Result<Led, Broken> {
    lead_and(victim, place, || world.rouse().map(|()| true))
}

/// The same, but if it falls asleep it is left there.
pub(crate) fn lead_or_leave_asleep(victim: &mut Victim, place: Place) -> Result<Led, Broken> {
    lead_and(victim, place, || Ok(false))
}

fn lead_and(victim: &mut Victim, place: Place, mut rouse: impl FnMut() -> Result<bool, Broken>) -> Result<Led, Broken> {
    for _ in 0..place.calls {
        let mut at = victim.finish_call()?;
        if at == At::Asleep {
            if !rouse()? {
                return Ok(Led::There);
            }
            at = victim.wake_up()?;
        }
        if at != At::Stands {
            return done(at);
        }
    }
    for _ in 0..place.steps {
        match victim.step()? {
            At::Stands => {}
            At::Asleep if place.is_asleep => return Ok(Led::There),
            At::Asleep => {
                if !rouse()? {
                    return Ok(Led::There);
                }
                let at = victim.wake_up()?;
                if at != At::Stands {
                    return done(at);
                }
            }
            at => return done(at),
        }
    }
    Ok(Led::There)
}

fn done(at: At) -> Result<Led, Broken> {
    match at {
        At::Mark => Ok(Led::Done),
        at => Err(io::Error::other(format!("the victim does not come to its second mark: {at:?}")).into()),
    }
}

/// Kills a victim at `place`, and lets the others find what they find.
///
/// # Errors
/// [`Failure`].
pub fn kill_at(scenario: Scenario, place: Place, program: &Path) -> Result<Killed, Failure> {
    let failed = |broken| Failure { scenario, place: Some(place), broken };
    let mut world = World::new(scenario, program).map_err(failed)?;
    let mut victim = world.start().map_err(failed)?;
    let led = lead(&mut world, &mut victim, place).map_err(failed)?;
    victim.kill();
    drop(victim);
    let settled = world.judge(&[led == Led::Done], place.steps.is_multiple_of(2)).map_err(failed)?;
    Ok(Killed { led, was_in_the_midst: settled > 0 })
}

/// Stops a victim at `place`, lets the others go on, and then the victim.
///
/// # Errors
/// [`Failure`].
pub fn stop_at(scenario: Scenario, place: Place, program: &Path) -> Result<Led, Failure> {
    let failed = |broken| Failure { scenario, place: Some(place), broken };
    let mut world = World::new(scenario, program).map_err(failed)?;
    let mut victim = world.start().map_err(failed)?;
    let led = lead(&mut world, &mut victim, place).map_err(failed)?;
    if led == Led::Done || place.is_asleep {
        return Ok(led);
    }
    victim.stop().map_err(|error| failed(error.into()))?;
    world.judge_stopped(|| end(&mut victim)).map_err(failed)?;
    Ok(led)
}

/// Lets a victim that is stopped go on to its end, and returns what it has received.
///
/// # Errors
/// If it does not end well.
pub fn end(victim: &mut Victim) -> io::Result<Vec<u8>> {
    // Behind the second mark's own system call its signal and ours are one.
    let mut is_marked = false;
    loop {
        match victim.continue_stopped()? {
            At::Mark if !is_marked => is_marked = true,
            At::Ended(0) => break,
            at => return Err(io::Error::other(format!("the victim went on to {at:?}"))),
        }
    }
    let mut received = Vec::new();
    if let Some(mut output) = victim.output() {
        io::Read::read_to_end(&mut output, &mut received)?;
    }
    Ok(received)
}
