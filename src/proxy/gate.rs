//! How many connections may be open: in all, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts open connections and turns the surplus away.
#[derive(Debug)]
pub struct Gate {
    max: usize,
    max_per_address: usize,
    /// One short lock per connection (not per chunk); the map holds only addresses with open connections.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Gate {
    /// A gate for at most `max` connections, `max_per_address` from each address.
    pub fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, open: Mutex::default() })
    }

    /// Let a connection in, or `None` when there are too many. A connection whose address is not known (a Unix socket,
    /// a test) counts only towards the whole.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Entered> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.max {
            return None;
        }
        if let Some(address) = address {
            let count = open.by_address.entry(address).or_default();
            if *count >= self.max_per_address {
                return None;
            }
            *count += 1;
        }
        open.all += 1;
        Some(Entered { gate: Arc::clone(self), address })
    }

    /// Connections now inside.
    #[cfg(test)]
    pub fn inside(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// A connection that was let in; leaving is dropping it.
#[derive(Debug)]
pub struct Entered {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surplus_is_turned_away_and_leaving_makes_room() {
        let gate = Gate::new(3, 2);
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let there = Some(IpAddr::from([127, 0, 0, 2]));
        let first = gate.enter(here);
        let second = gate.enter(here);
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter(here).is_none(), "two from one address are enough");
        let third = gate.enter(there);
        assert!(third.is_some());
        assert!(gate.enter(None).is_none(), "three in all are enough");
        drop(first);
        assert!(gate.enter(here).is_some());
        drop((second, third));
        assert_eq!(gate.inside(), 0);
        assert!(gate.open.lock().expect("not poisoned").by_address.is_empty());
    }
}
