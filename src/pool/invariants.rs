//! What always holds about the pool, as code that checks it.

use crate::money::ModelGlobs;

use super::slot::{Slot, Trial};
use super::{GAPS_MIN, Health, KeyState, Pool};

impl Pool {
    /// Panics when any index differs from what the keys themselves say, or a key is in an impossible state. Reads
    /// everything: for tests.
    pub fn invariants(&self) {
        let slots = || self.slots.iter().enumerate().filter_map(|(place, slot)| Some((place, slot.as_ref()?)));
        for (place, slot) in slots() {
            assert_eq!(slot.indexed, slot.entry(), "{} is indexed as it is", slot.id);
            assert_eq!(self.places.get(&slot.id), Some(&place));
            assert_eq!(self.find(&slot.credential.fingerprint()), Some(slot.id));
            possible(slot);
            assert_eq!(slot.counted, slot.outlay(), "what {} takes is counted", slot.id);
        }
        if let Some(models) = &self.models {
            let lists = slots().map(|(_, slot)| &slot.limits.models);
            assert_eq!(**models, ModelGlobs::any_of(lists), "what donors allow is up to date");
        }
        self.accounts.invariants(slots().filter_map(|(_, slot)| Some((slot.account?, slot.id, slot.counted))));
        assert_eq!((self.places.len(), self.fingerprints.len()), (self.len(), self.len()));
        assert!(self.slots.len() <= 2 * self.len() + GAPS_MIN + 1, "gaps are bounded");
        assert!(self.changed.iter().all(|id| self.places.contains_key(id)), "only keys change");
        self.index.invariants(&slots().map(|(place, slot)| (place, slot.entry())).collect::<Vec<_>>());
        self.affinity.invariants();
        self.exclusions.invariants();
        self.crowd.invariants();
    }
}

/// Panics when a key is in a state that no event may lead to.
fn possible(slot: &Slot) {
    let KeyState { health, until, strikes, probe_at, .. } = &slot.state;
    let (id, unproven) = (slot.id, *health == Health::Healthy && *strikes > 0);
    assert_eq!(slot.trial != Trial::None, unproven, "{id} is on trial exactly while it has to prove itself");
    if let Trial::Running { undecided, .. } = slot.trial {
        assert!(undecided > 0, "{id} is on a trial that somebody runs");
    }
    match health {
        Health::Healthy => assert_eq!(*until, None, "{id} is well and waits for nothing"),
        Health::Degraded | Health::RateLimited => assert!(until.is_some(), "{id} rests, but not for ever"),
        Health::Depleted => {}
        Health::Failed => assert_eq!((*until, *probe_at), (None, None), "{id} is back by hand only"),
    }
    assert!(*health == Health::Failed || probe_at.is_some(), "{id} is asked about some day");
    assert!(*health == Health::Healthy || *strikes > 0, "{id} is out and has a strike");
}
