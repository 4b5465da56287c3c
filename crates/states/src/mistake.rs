//! What is done wrong on purpose, to see that it is noticed.

/// A protocol that is wrong in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// None: the protocol as it is.
    None,
    /// The record says settled before the exchange.
    SettlesBeforeExchange,
    /// The exchange is announced when it is over.
    AnnouncesAfterExchange,
    /// The exchange is not announced.
    AnnouncesNothing,
    /// Who cleans up takes it that a pending exchange has not happened.
    BelievesNotExchanged,
    /// Who cleans up takes it that a pending exchange has happened.
    BelievesExchanged,
    /// A page that is named in a pending record counts as sighted there.
    SightsInPendingRecords,
    /// Who cleans up keeps the lock where it has seen neither page.
    KeepsTheLockInVain,
    /// Who cleans up uses both pages.
    KeepsBothPages,
    /// Two clean up behind one.
    CleansUpWithoutLock,
    /// Who cleans up forgets the extents.
    ForgetsExtents,
    /// Bytes are appended where they are, and the slot's word is changed behind that.
    AppendsInPlace,
    /// Who appends for the second time believes its spare page to hold what is there.
    BelievesInPrefix,
    /// A slot is filled after it was published.
    FillsAfterPublishing,
    /// A slot is reserved before it is filled.
    ReservesFirst,
    /// Which lap a slot is in is not compared.
    ComparesNoLap,
    /// A part that was read counts although the exchange was lost.
    KeepsWhatWasLost,
    /// An extent is given back before it is read.
    FreesBeforeReading,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::SettlesBeforeExchange,
        Self::AnnouncesAfterExchange,
        Self::AnnouncesNothing,
        Self::BelievesNotExchanged,
        Self::BelievesExchanged,
        Self::SightsInPendingRecords,
        Self::KeepsTheLockInVain,
        Self::KeepsBothPages,
        Self::CleansUpWithoutLock,
        Self::ForgetsExtents,
        Self::AppendsInPlace,
        Self::BelievesInPrefix,
        Self::FillsAfterPublishing,
        Self::ReservesFirst,
        Self::ComparesNoLap,
        Self::KeepsWhatWasLost,
        Self::FreesBeforeReading,
    ];
}
