//! What is known of things that are numbered as they come.

/// A thing for each number that has one. Numbers are small and come in order, so that
/// none need be searched for.
pub(crate) struct Table<T>(Vec<Option<T>>);

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table(Vec::new())
    }
}

impl<T> Table<T> {
    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        self.0.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.0.get_mut(number as usize)?.as_mut()
    }

    pub(crate) fn insert(&mut self, number: u64, thing: T) {
        *self.place(number) = Some(thing);
    }

    pub(crate) fn get_or_insert_with(&mut self, number: u64, thing: impl FnOnce() -> T) -> &mut T {
        self.place(number).get_or_insert_with(thing)
    }

    fn place(&mut self, number: u64) -> &mut Option<T> {
        let index = number as usize;
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        &mut self.0[index]
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        self.0.get_mut(number as usize)?.take()
    }

    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(u64, &mut T) -> bool) {
        for (thing, number) in self.0.iter_mut().zip(0..) {
            _ = thing.take_if(|thing| !wanted(number, thing));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those that are there, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let things = self.0.iter().enumerate();
        things.filter_map(|(number, thing)| Some((number as u64, thing.as_ref()?)))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_in_the_order_of_its_numbers(
            steps in prop::collection::vec((0..6u8, 0..20u64, any::<u8>()), 0..60),
        ) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for (step, number, thing) in steps {
                match step {
                    0 => {
                        table.insert(number, thing);
                        map.insert(number, thing);
                    }
                    1 => prop_assert_eq!(table.remove(number), map.remove(&number)),
                    2 => prop_assert_eq!(
                        table.get_or_insert_with(number, || thing),
                        map.entry(number).or_insert(thing)
                    ),
                    3 => {
                        table.retain(|number, it| (number + u64::from(*it)) % 3 > 0);
                        map.retain(|number, it| (number + u64::from(*it)) % 3 > 0);
                    }
                    4 => {
                        table.values_mut().for_each(|it| *it ^= thing);
                        map.values_mut().for_each(|it| *it ^= thing);
                    }
                    _ if number == 0 => {
                        table.clear();
                        map.clear();
                    }
                    _ => prop_assert_eq!(table.get_mut(number), map.get_mut(&number)),
                }
                prop_assert_eq!(table.get(number), map.get(&number));
                prop_assert!(table.iter().map(|(number, it)| (number, *it)).eq(map.clone()));
            }
        }
    }
}
