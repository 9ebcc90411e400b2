//! Numbered places whose numbers are never valid for a later tenant.

/// Names one tenant of a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    /// The place.
    pub index: u32,
    /// Which tenant of the place.
    pub generation: u32,
}

/// Generations have 24 bits, so that a name and what kind of thing it names fit in 64.
const GENERATION_MASK: u32 = (1 << 24) - 1;

/// Values at small, reused indices, each named by index and generation, at most `limit` at a time.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    limit: usize,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// An empty slab for at most `limit` values.
    pub fn new(limit: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            limit,
        }
    }

    /// Values present.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether no value is present.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Puts `value` in, or gives it back when the limit is reached.
    pub fn insert(&mut self, value: T) -> Result<StreamId, T> {
        if self.is_full() {
            return Err(value);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let Ok(index) = u32::try_from(self.places.len()) else {
                    return Err(value);
                };
                self.places.push(Place {
                    generation: 0,
                    value: None,
                });
                index
            }
        };
        let Some(place) = self.places.get_mut(index as usize) else {
            return Err(value);
        };
        place.value = Some(value);
        Ok(StreamId {
            index,
            generation: place.generation,
        })
    }

    /// The value named `id`, if it is still there.
    pub fn at(&self, id: StreamId) -> Option<&T> {
        let place = self.places.get(id.index as usize)?;
        place
            .value
            .as_ref()
            .filter(|_| place.generation == id.generation)
    }

    /// The value named `id`, if it is still there.
    pub fn at_mut(&mut self, id: StreamId) -> Option<&mut T> {
        let place = self.places.get_mut(id.index as usize)?;
        place
            .value
            .as_mut()
            .filter(|_| place.generation == id.generation)
    }

    /// Takes the value named `id` out; the name never holds again (until 2²⁴ tenants later).
    pub fn remove(&mut self, id: StreamId) -> Option<T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1) & GENERATION_MASK;
        self.free.push(id.index);
        Some(value)
    }

    /// All values with their names.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &T)> {
        self.places.iter().zip(0u32..).filter_map(|(place, index)| {
            let id = StreamId {
                index,
                generation: place.generation,
            };
            place.value.as_ref().map(|value| (id, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_name_finds_nothing() {
        let mut slab = Slab::new(1);
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.insert('b'), Err('b'));
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('c').unwrap();
        assert_eq!(first.index, second.index);
        assert_eq!(slab.at(first), None);
        assert_eq!(slab.at_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(second, &'c')]);
    }
}
