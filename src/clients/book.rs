//! The clients there are, by their keys' hashes and by their numbers.

use std::collections::BTreeMap;

use foldhash::HashMap;

use crate::money::ClientId;

use super::KeyHash;

/// An immutable register: a change makes another one, so that readers never wait. `T` is what is known of a client, cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Book<T> {
    by_hash: HashMap<KeyHash, ClientId>,
    by_id: BTreeMap<ClientId, (KeyHash, T)>,
}

impl<T> Default for Book<T> {
    fn default() -> Self {
        Self { by_hash: HashMap::default(), by_id: BTreeMap::new() }
    }
}

impl<T: Clone> Book<T> {
    /// The client whose key has this hash.
    pub fn find(&self, hash: &KeyHash) -> Option<&T> {
        self.get(*self.by_hash.get(hash)?)
    }

    /// The client of this number.
    pub fn get(&self, id: ClientId) -> Option<&T> {
        self.by_id.get(&id).map(|(_, client)| client)
    }

    /// All clients, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.by_id.values().map(|(_, client)| client)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Enter a client.
    pub fn insert(&mut self, id: ClientId, hash: KeyHash, client: T) {
        self.remove(id);
        self.by_hash.insert(hash, id);
        self.by_id.insert(id, (hash, client));
        self.invariants();
    }

    /// Enter something else about a client that is there.
    pub fn replace(&mut self, id: ClientId, client: T) {
        if let Some((_, known)) = self.by_id.get_mut(&id) {
            *known = client;
        }
    }

    /// Strike a client out.
    pub fn remove(&mut self, id: ClientId) -> Option<T> {
        let (hash, client) = self.by_id.remove(&id)?;
        self.by_hash.remove(&hash);
        self.invariants();
        Some(client)
    }

    fn invariants(&self) {
        debug_assert_eq!(self.by_hash.len(), self.by_id.len(), "each client has one hash of its own");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_client_is_found_by_hash_and_number_until_it_is_struck_out() {
        let hash = |n| KeyHash([n; 32]);
        let mut book = Book::default();
        book.insert(ClientId(1), hash(1), "one");
        book.insert(ClientId(2), hash(2), "two");
        assert_eq!(
            (book.find(&hash(1)), book.get(ClientId(2)), book.find(&hash(3))),
            (Some(&"one"), Some(&"two"), None)
        );
        book.replace(ClientId(1), "another one");
        book.replace(ClientId(7), "nobody");
        assert_eq!(book.find(&hash(1)), Some(&"another one"));
        assert_eq!(book.remove(ClientId(1)), Some("another one"));
        assert_eq!(book.remove(ClientId(1)), None);
        assert_eq!((book.find(&hash(1)), book.get(ClientId(1))), (None, None));
        assert_eq!((book.len(), book.is_empty(), book.iter().count()), (1, false, 1));
    }

    proptest! {
        /// Against a plain list, over any history.
        #[test]
        fn it_is_what_a_list_would_be(steps in prop::collection::vec((any::<bool>(), 0_u32..20), 0..100)) {
            let (mut book, mut list) = (Book::default(), Vec::new());
            let hash = |id: u32| KeyHash([id as u8; 32]);
            for (enters, id) in steps {
                list.retain(|known| *known != id);
                if enters {
                    book.insert(ClientId(id), hash(id), id);
                    list.push(id);
                } else {
                    book.remove(ClientId(id));
                }
                list.sort_unstable();
                prop_assert!(book.iter().copied().eq(list.iter().copied()));
                for id in 0..20 {
                    let there = list.contains(&id).then_some(id);
                    prop_assert_eq!((book.find(&hash(id)).copied(), book.get(ClientId(id)).copied()), (there, there));
                }
            }
        }
    }
}
