//! Bells: how those who sleep for long are woken, at whatever instruction the one who should wake them dies or is stopped.
//!
//! ```text
//!  31                           1     0
//! +------------------------------+-------+
//! | epoch                        | armed |      one such word for readers, one for writers
//! +------------------------------+-------+
//!
//!   sleeper:  how often has it rung? ──> nobody asleep ──> arm ──> fence ──> nobody announced, nothing to do
//!                                                                                ──> take those rings out ──> sleep
//!   actor:    announce ──> fence ──> armed, and we have not rung for it? ── no ──> exchange
//!                ^                              └── yes ──> ring, disarm ──┐
//!                └─────────────────────────────────────────────────────────┘
//! ```
//!
//! A sleep on a wait word (see `waiting`) has a bound, since who is stopped between its change of the ring and its wake wakes
//! nobody. A sleep at a bell has none. So there the order is the other way round: who is about to change the ring rings
//! *first*, and everybody who slept at the bell is awake, and sleeps with a bound for a while, when the change comes.
//! The bell itself is a thing of the kernel that rings on its own when the last one of the other side is gone.
//!
//! # Why nobody sleeps at a bell while there is something to do
//! An actor announces itself (its record says which exchange comes next), then looks at the word, then exchanges. A
//! sleeper gives the word a value that it has never had, then looks for announcements, then at the ring. Both have a full
//! fence between the two. So a sleeper that sees neither an announcement nor a change has been seen: the actor finds a word
//! that it has not rung for, and takes its announcement back, rings, and starts over. Whoever has armed the bell between
//! that ring and the exchange is found by the same look, because its value is another one.
//! A sleeper that does see an announcement sleeps with a bound instead; it does not matter whether that actor then dies, is
//! stopped, or has changed its mind.
//!
//! # Why no ring is taken away from a sleeper
//! What has been rung is taken out of the bell by those who go to sleep at it, and only where nobody else sleeps. Who sleeps says so
//! from before it counts until it is awake (by a shared lock of the kernel's, so that one who is killed says nothing any more,
//! and one who is stopped still does). Other sleepers are looked for, the rings are counted, and others are looked for again. By
//! the second look whoever was rung for by what was counted is awake when it is taken out, whatever it waits for; what is rung for
//! one who comes later comes on top. By the first one nobody else takes the same rings out: one who said before it that it sleeps was
//! seen, or was through with taking before the count; one who says so after it sees us.
//!
//! # Why one who watches is told though others take its rings out
//! Who watches (`observer`) waits for the next ring, with whatever is in the bell already, and does not say that it sleeps. So a ring that it has
//! not looked for yet may be taken out. By whom? By one who has armed the bell anew since that ring was counted, and has seen behind that
//! that there is nothing to read (no room), that somebody of the other side is there whose end would be heard, and that nobody is about to do
//! something. So what one who watches waits for is not there either: something to read, or room, or the end. What comes later finds the word
//! armed, and rings again. The one thing that others do not wait for is that somebody comes where nobody is: who shows that nobody is there
//! does say that it sleeps, and takes nothing out.
//!
//! # Why one who leaves leaves nobody asleep
//! It says in its entry that it is leaving, rings, and only then gives up its lock. So those who slept at the bell are awake when
//! it is gone, and those who go to sleep see that somebody is about to do something.

use crate::holding::Record;
use crate::sync::{AtomicU32, BellPipe, Ordering, fence_of_actors, fence_of_sleepers};

/// The bit that says that somebody may sleep at the bell.
pub const ARMED: u32 = 1;
const ONE_EPOCH: u32 = 2;
/// More than can arm or disarm while one does: who loses so often races with somebody who scribbles.
const MOST_LOST_RACES: usize = 100;

/// A view of one side's word.
#[derive(Clone, Copy, Debug)]
pub struct BellWord<'a>(pub &'a AtomicU32);

/// What an actor has heard of the word: a value for which there is nothing to ring any more. In its private memory.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    word: u32,
    /// Whether sleepers can make this process's announcements visible; else it has to do so itself.
    is_fenced_by_sleepers: bool,
}

impl Heard {
    /// Whether this process can be fenced by sleepers, and so can fence others when it sleeps itself.
    #[must_use]
    pub fn is_fenced_by_sleepers(self) -> bool {
        self.is_fenced_by_sleepers
    }

    /// Nothing but that a word that is not armed needs no ring.
    #[must_use]
    pub fn nothing(is_fenced_by_sleepers: bool) -> Self {
        Self { word: 0, is_fenced_by_sleepers }
    }
}

/// What a participant says before an exchange, and to whom: its own record, and the bell at which others sleep for what it is
/// about to do. (No bell: models in which nobody sleeps at one.)
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// The participant's record.
    pub record: Record<'a>,
    /// The other side's word, and what was heard of it.
    pub bell: Option<(BellWord<'a>, Heard)>,
}

impl Notice<'_> {
    /// Announces the exchange of `offered` for `expected`. Returns whether it may happen now; if not, somebody sleeps at the
    /// bell, nothing is announced any more, and the caller rings first: see [`BellWord::answer`].
    #[inline(always)]
    pub fn announce(self, offered: u32, expected: u32) -> bool {
        self.record.intend(offered, expected);
        let Some((bell, heard)) = self.bell else { return true };
        if bell.is_heard(heard) {
            return true;
        }
        self.record.settle(offered);
        false
    }
}

impl BellWord<'_> {
    #[inline(always)]
    fn is_heard(self, heard: Heard) -> bool {
        fence_of_actors(heard.is_fenced_by_sleepers);
        // Behind a full fence, Relaxed: see "Why nobody sleeps at a bell". [ledger: B1]
        self.0.load(Ordering::Relaxed) == heard.word
    }

    /// Rings if somebody may sleep at the bell, and hears what there is to hear.
    ///
    /// The ring comes before the disarming: who dies between the two leaves it to the next one.
    pub fn answer(self, heard: &mut Heard, bell: &BellPipe) {
        for _ in 0..MOST_LOST_RACES {
            // Relaxed: the exchange that follows the next announcement looks again. [ledger: B2]
            let seen = self.0.load(Ordering::Relaxed);
            if seen & ARMED == 0 {
                heard.word = seen;
                return;
            }
            bell.ring();
            let disarmed = disarmed_after(seen);
            // Relaxed: as above. [ledger: B2]
            if self.0.compare_exchange(seen, disarmed, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                heard.word = disarmed;
                return;
            }
        }
    }

    /// Rings if somebody may sleep at the bell: for an announcement that is not one of an exchange, or after a change that a stranger
    /// waits for.
    pub fn ring_for_all(self, bell: &BellPipe) {
        // A full fence, then Relaxed: whoever arms behind this look sees what the caller did before. [ledger: B4]
        crate::sync::fence(Ordering::SeqCst);
        if self.0.load(Ordering::Relaxed) & ARMED != 0 {
            self.answer(&mut Heard::nothing(false), bell);
        }
    }

    /// Says that the caller is about to sleep at the bell, by a value that the word has never had. Returns whether it could.
    fn arm(self) -> bool {
        // Relaxed: a full fence follows. [ledger: B3]
        let mut seen = self.0.load(Ordering::Relaxed);
        for _ in 0..MOST_LOST_RACES {
            let armed = armed_after(seen);
            // Relaxed: as above. [ledger: B3]
            match self.0.compare_exchange(seen, armed, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// How many rings are in the bell that nobody sleeps for. `None` if there may be somebody.
    fn rung_for_nobody(bell: &BellPipe, may_hush: impl Fn() -> bool) -> Option<usize> {
        // By the first look nobody else takes out what is counted, by the second nobody sleeps for it: see the top.
        let rung = may_hush().then(|| bell.rung())??;
        may_hush().then_some(rung)
    }

    /// Makes ready for a sleep at the bell. Returns whether there is to be one: if not, `is_needless` found something, or the
    /// bell cannot be made silent or heard.
    ///
    /// The caller has said that it sleeps. `may_hush`: whether nobody else says so; asked before the count that matters, and after it. `is_needless`
    /// first looks for announcements of the other side, with [`is_announced`], and then whether there is anything to do.
    pub fn prepare_to_sleep(
        self,
        bell: &BellPipe,
        may_hush: impl Fn() -> bool,
        is_needless: impl FnOnce() -> bool,
    ) -> bool {
        let Some(rung) =
            bell.rung().and_then(|rung| if rung == 0 { Some(0) } else { Self::rung_for_nobody(bell, may_hush) })
        else {
            return false;
        };
        if rung > BellPipe::MOST_TAKEN {
            // It has been full, and more than one ring may have found it so. There are fewer after this, but some: it rings on.
            bell.hush(BellPipe::MOST_TAKEN);
            return false;
        }
        self.arm() && fence_of_sleepers() && !is_needless() && bell.hush(rung)
    }

    /// Makes ready for being told by the next ring, not by a silence that ends; for one who watches, see the top. Returns whether it will
    /// be: if not, `is_needless` found something, or the bell cannot be heard. `may_hush` and `is_needless` as for
    /// [`BellWord::prepare_to_sleep`]; but the caller says that it sleeps only until this has returned.
    pub fn prepare_to_watch(
        self,
        bell: &BellPipe,
        may_hush: impl Fn() -> bool,
        is_needless: impl FnOnce() -> bool,
    ) -> bool {
        let Some(rung) = bell.rung() else { return false };
        if rung > BellPipe::MOST_TAKEN {
            // A full one would not ring: as for those who sleep.
            bell.hush(BellPipe::MOST_TAKEN);
            return false;
        }
        let for_nobody = if rung == 0 { None } else { Self::rung_for_nobody(bell, may_hush) };
        let is_told = self.arm() && fence_of_sleepers() && !is_needless();
        if is_told && let Some(rung) = for_nobody {
            // Who watches does not need the silence, those do who want to sleep.
            bell.hush(rung);
        }
        is_told
    }
}

/// What others see of somebody who is about to do something.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// Which exchange of a slot comes next.
    pub record: Record<'a>,
    /// Bits that say what else it is about to do.
    pub stirs: &'a AtomicU32,
}

/// It is leaving. Stays until somebody else has the entry.
const LEAVES: u32 = 1;
/// It changes the size of the pipe.
const RESIZES: u32 = 2;

impl Announcement<'_> {
    /// Says that the caller is leaving; it rings next, with [`BellWord::ring_for_all`].
    pub fn leave(self) {
        // Relaxed: a full fence follows. [ledger: B4]
        self.stirs.fetch_or(LEAVES, Ordering::Relaxed);
    }

    /// Says that the caller is about to change the size of the pipe; it rings next, with [`BellWord::ring_for_all`].
    pub fn resize(self) {
        // Relaxed: a full fence follows. [ledger: B4]
        self.stirs.fetch_or(RESIZES, Ordering::Relaxed);
    }

    /// Says that it has changed it, or has not.
    pub fn end_resizing(self) {
        // Release: pairs with the Acquire in has, so that who sees that it is over sees what it has changed. [ledger: B5]
        self.stirs.fetch_and(!RESIZES, Ordering::Release);
    }

    /// Whether it has said that it is leaving.
    #[must_use]
    pub fn is_leaving(self) -> bool {
        self.has(LEAVES)
    }

    /// Whether it has said that it is about to change the size.
    #[must_use]
    pub fn is_resizing(self) -> bool {
        self.has(RESIZES)
    }

    fn has(self, bits: u32) -> bool {
        // Acquire: pairs with the Release in end_resizing. That nothing was said is known behind the full fence of B3, in front of
        // the question who lives. [ledger: B4] [ledger: B5]
        self.stirs.load(Ordering::Acquire) & bits != 0
    }

    fn is_there(self) -> bool {
        self.record.is_pending() || self.has(LEAVES | RESIZES)
    }
}

/// Whether somebody who `lives` is about to do something. For one who is about to sleep at a bell.
pub fn is_announced<'a>(others: impl Iterator<Item = (u32, Announcement<'a>)>, lives: impl Fn(u32) -> bool) -> bool {
    let mut others = others;
    others.any(|(entry, announcement)| announcement.is_there() && lives(entry))
}

fn armed_after(word: u32) -> u32 {
    if word & ARMED == 0 { word | ARMED } else { word.wrapping_add(ONE_EPOCH) }
}

fn disarmed_after(word: u32) -> u32 {
    (word & !ARMED).wrapping_add(ONE_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arming_is_a_value_that_the_word_has_not_had() {
        let mut seen = std::collections::BTreeSet::new();
        let mut word = 0;
        for round in 0..100 {
            word = armed_after(word);
            assert!(word & ARMED != 0 && seen.insert(word), "{word}");
            if round % 3 == 0 {
                word = disarmed_after(word);
                assert!(word & ARMED == 0 && seen.insert(word), "{word}");
            }
        }
        assert_eq!(armed_after(u32::MAX), ARMED, "the epoch comes round");
    }
}
