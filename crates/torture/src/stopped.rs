//! What must hold when a victim is stopped, the others go on, and then the victim does.

use std::io;

use crate::act::{Act, SLOT, SLOTS};
use crate::content::{Content, bytes_of};
use crate::effect::{Effect, VICTIMS};
use crate::pipe::{Broken, SURVIVOR};
use crate::world::{World, show, with};

/// So many messages the others pass while the victim stands.
const PASSED: u32 = 1000;

impl World {
    /// The victim is stopped. The others go on without it, it goes on when they have done, and whatever it does then is what it would have done.
    /// `go_on` lets it, and returns what it has received.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn judge_stopped(mut self, go_on: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<(), Broken> {
        self.open_what_nobody_had()?;
        let has_arrived = self.find_what_was_passed()?;
        let effect = self.scenario.effect(VICTIMS[0], &self.pipes[0].content, self.first);
        let before = self.pipes[0].content.clone();
        let found = self.collect()?;
        let done = self.find_outcome(&found, &effect)?;
        self.pipes.iter_mut().for_each(|pipe| pipe.content = Content::default());
        self.pipes.iter_mut().try_for_each(|pipe| pipe.pass(PASSED))?;
        // Something to find for one that reads, and a page that it has no business with.
        if self.scenario.hands().reads {
            let (is_stream, len) = self.kind_of_element();
            (0..3).try_for_each(|_| self.pipes[0].put(is_stream, len))?;
        }
        let marked = bytes_of(SURVIVOR, u32::MAX, SLOT);
        let pipe = self.pipes.last_mut().expect("there is a pipe");
        let mut writer = pipe.writer.take().ok_or_else(|| io::Error::other("no survivor writes"))?;
        let loan = writer.reserve(SLOT).map_err(|error| Broken::Call { what: "reserve", error })?;
        loan.bytes().copy_from(0, &marked);
        let received = go_on()?;
        let mut own = vec![0; SLOT];
        loan.bytes().copy_to(0, &mut own);
        if own != marked {
            return Err(Broken::Accounts("the victim has written to a survivor's page".to_owned()));
        }
        drop(loan);
        self.pipes.last_mut().expect("there is a pipe").writer = Some(writer);
        if self.scenario.act == Act::Pass && self.find_what_was_passed()? == has_arrived {
            return Err(io::Error::other("the end that was passed has not arrived, or twice").into());
        }
        self.check_rest(&before, &effect, done, &received)?;
        for pipe in &mut self.pipes {
            pipe.content = Content::default();
            pipe.check_accounts()?;
            pipe.pass(SLOTS)?;
            pipe.end()?;
        }
        self.leave_no_name()
    }

    /// What was not there yet when the victim stood, and what it has received, by now.
    fn check_rest(
        &self,
        before: &Content,
        effect: &Effect,
        (removed, put): (usize, usize),
        received: &[u8],
    ) -> Result<(), Broken> {
        let found = self.drain()?;
        // Of what it is to take out, the rest comes from what the others have put in since.
        let mut early = Content::default();
        early.push_some(before, removed);
        let rest = effect.removed.saturating_sub(removed);
        // A read that has been overtaken after its first buffer may leave it at that.
        let is_short = removed > 0 && received.len() == removed;
        let late = if is_short { 0 } else { rest.min(self.pipes[0].content.len()) };
        let mut taken = early.bytes();
        taken.extend(&self.pipes[0].content.bytes()[..late]);
        let mut appended = effect.appended.clone();
        appended.drop_front(put);
        if self.scenario.hands().between_two && removed == 0 && put == 0 {
            // It moves or copies what stands first now.
            appended = Content::default();
            appended.push_some(&self.pipes[0].content, effect.appended.len());
        }
        let mut expected: Vec<Content> = self.pipes.iter().map(|pipe| pipe.content.clone()).collect();
        expected[0].drop_front(late);
        expected.last_mut().expect("there is a pipe").push_some(&appended, usize::MAX);
        if found != expected || (self.scenario.reports() && taken != received) {
            let tell = |contents: &[Content], len| format!("{} and {len} bytes received", show(contents));
            return Err(Broken::Content {
                found: tell(&found, received.len()),
                expected: tell(&expected, taken.len()),
            });
        }
        Ok(())
    }

    /// Which of the partial outcomes, bytes taken out and put in, explains what was found.
    fn find_outcome(&self, found: &[Content], effect: &Effect) -> Result<(usize, usize), Broken> {
        let contents: Vec<Content> = self.pipes.iter().map(|pipe| pipe.content.clone()).collect();
        let explains = |outcome: &&(usize, usize)| with(&contents, effect, **outcome) == found;
        effect.partly.iter().find(explains).copied().ok_or_else(|| Broken::Content {
            found: show(found),
            expected: effect
                .partly
                .iter()
                .map(|&outcome| show(&with(&contents, effect, outcome)))
                .collect::<Vec<_>>()
                .join(", or "),
        })
    }
}
