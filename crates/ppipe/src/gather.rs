//! Many buffers as one: where written bytes come from, where read bytes go to.

use std::io::{IoSlice, IoSliceMut};

/// Bytes to write, from one buffer or several.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    slices: &'a [IoSlice<'a>],
    /// How much of the first slice is used up.
    used: usize,
    left: usize,
    /// So many of the last ones are nowhere, as behind a null pointer of C.
    missing: usize,
}

impl<'a> Source<'a> {
    #[inline(always)]
    pub(crate) fn new(slices: &'a [IoSlice<'a>]) -> Self {
        Self { slices, used: 0, left: total(slices.iter().map(|slice| slice.len())), missing: 0 }
    }

    /// The same with so many bytes more, which are nowhere.
    #[inline(always)]
    pub(crate) fn with_missing(mut self, missing: usize) -> Self {
        (self.left, self.missing) = (self.left.saturating_add(missing), missing);
        self
    }

    /// Whether the next `len` bytes are there.
    #[inline(always)]
    pub(crate) fn has(&self, len: usize) -> bool {
        self.missing == 0 || len <= self.left - self.missing
    }

    /// How many bytes are left.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Leaves no more than `most` of them.
    #[inline]
    pub(crate) fn limit(&mut self, most: usize) {
        self.missing = self.missing.saturating_sub(self.left.saturating_sub(most));
        self.left = self.left.min(most);
    }

    /// The next bytes that lie together, at most `most` of them; empty only if none are left or wanted.
    #[inline(always)]
    pub(crate) fn next(&mut self, most: usize) -> &'a [u8] {
        while self.left > 0
            && let Some((first, others)) = self.slices.split_first()
        {
            let rest: &'a [u8] = &first[self.used..];
            if rest.is_empty() {
                (self.slices, self.used) = (others, 0);
                continue;
            }
            let piece = &rest[..rest.len().min(most).min(self.left)];
            self.used += piece.len();
            self.left -= piece.len();
            return piece;
        }
        &[]
    }
}

/// Room for bytes that are read, in one buffer or several.
pub(crate) struct Target<'a, 'b> {
    slices: &'a mut [IoSliceMut<'b>],
    place: Place,
    /// There is no memory for so many of the last ones, as behind a null pointer of C.
    missing: usize,
}

/// How far a [`Target`] is filled; going back to an earlier place forgets what was read since.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    slice: usize,
    used: usize,
    left: usize,
}

impl<'a, 'b> Target<'a, 'b> {
    #[inline(always)]
    pub(crate) fn new(slices: &'a mut [IoSliceMut<'b>]) -> Self {
        let left = total(slices.iter().map(|slice| slice.len()));
        Self { slices, place: Place { slice: 0, used: 0, left }, missing: 0 }
    }

    /// The same with so many bytes more, for which there is no memory.
    #[inline(always)]
    pub(crate) fn with_missing(mut self, missing: usize) -> Self {
        (self.place.left, self.missing) = (self.place.left.saturating_add(missing), missing);
        self
    }

    /// Whether there is memory for `len` bytes, as far as there is room for them.
    #[inline(always)]
    pub(crate) fn has(&self, len: usize) -> bool {
        self.missing == 0 || len.min(self.place.left) <= self.place.left - self.missing
    }

    /// Whether there is no memory for some of them.
    #[inline(always)]
    pub(crate) fn is_short(&self) -> bool {
        self.missing > 0
    }

    /// How many bytes there is room for.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.place.left
    }

    /// Leaves room for no more than `most`.
    #[inline]
    pub(crate) fn limit(&mut self, most: usize) {
        self.missing = self.missing.saturating_sub(self.place.left.saturating_sub(most));
        self.place.left = self.place.left.min(most);
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn go_back(&mut self, place: Place) {
        self.place = place;
    }

    /// Room for the next bytes that lie together, at most `most` of them; empty only if there is none or none is wanted.
    #[inline]
    pub(crate) fn next(&mut self, most: usize) -> &mut [u8] {
        let place = &mut self.place;
        while place.slice < self.slices.len() && place.used == self.slices[place.slice].len() {
            (place.slice, place.used) = (place.slice + 1, 0);
        }
        let Some(slice) = self.slices.get_mut(place.slice) else { return &mut [] };
        let start = place.used;
        let end = slice.len().min(start.saturating_add(most.min(place.left)));
        place.used = end;
        place.left -= end - start;
        &mut slice[start..end]
    }
}

/// Several buffers may be the same bytes again and again, and more of them than there are addresses.
#[inline(always)]
fn total(mut lens: impl Iterator<Item = usize>) -> usize {
    let first = lens.next().unwrap_or(0);
    lens.fold(first, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gives_every_byte_once_and_skips_what_is_empty() {
        let slices = [b"".as_slice(), b"abc", b"", b"defg", b""].map(IoSlice::new);
        let mut source = Source::new(&slices);
        let mut all = Vec::new();
        assert_eq!(source.left(), 7);
        while source.left() > 0 {
            let piece = source.next(2);
            assert!(!piece.is_empty() && piece.len() <= 2);
            all.extend_from_slice(piece);
        }
        assert_eq!(all, b"abcdefg");
        assert_eq!(source.next(2), b"");
    }

    #[test]
    fn a_target_fills_every_byte_once_and_can_go_back() {
        let (mut a, mut b, mut none) = ([0; 3], [0; 4], [0; 0]);
        let mut slices = [IoSliceMut::new(&mut none), IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        let mut target = Target::new(&mut slices);
        target.next(2).copy_from_slice(b"ab");
        let place = target.place();
        assert_eq!(target.next(9).len(), 1);
        assert_eq!(target.next(9).len(), 4);
        assert_eq!(target.left(), 0);
        target.go_back(place);
        assert_eq!(target.left(), 5);
        target.next(1).copy_from_slice(b"c");
        target.next(9).copy_from_slice(b"defg");
        assert!(target.next(1).is_empty());
        assert_eq!((&a, &b), (b"abc", b"defg"));
    }
}
