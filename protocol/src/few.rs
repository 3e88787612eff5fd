//! A queue of what is mostly one.

use std::collections::{VecDeque, vec_deque};

/// First in, first out. The first lies in the queue itself, and only for those behind it is
/// room made, which is given back as soon as they are gone: there are many such queues, most
/// are empty most of the time, and few ever hold a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Few<T> {
    /// `None` if it is empty.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Few<T> {
    /// Those behind the first that room is made for at once (count): so many as a block has
    /// segments, of what is as small as those.
    const ROOM: usize = 384 / size_of::<T>() + 1;

    pub(crate) fn push_back(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
            return;
        }
        if self.rest.capacity() == 0 {
            self.rest.reserve_exact(Self::ROOM);
        }
        self.rest.push_back(item);
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let next = self.rest.pop_front();
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
        std::mem::replace(&mut self.first, next)
    }

    /// Puts `more` behind the others, and leaves nothing in it.
    pub(crate) fn append(&mut self, more: &mut Few<T>) {
        if self.first.is_none() {
            return std::mem::swap(self, more);
        }
        self.rest.extend(more.first.take());
        self.rest.append(&mut more.rest);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.first.iter().chain(&self.rest)
    }
}

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few { first: None, rest: VecDeque::new() }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, vec_deque::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec(prop::option::of(any::<u8>()), 0..60)) {
            let (mut few, mut queue) = (Few::default(), VecDeque::new());
            for step in steps {
                match step {
                    Some(item) if item < 40 => {
                        let more = 0..item % 4;
                        let mut others = Few::default();
                        more.clone().for_each(|item| others.push_back(item));
                        few.append(&mut others);
                        queue.extend(more);
                        prop_assert_eq!(others.iter().count(), 0);
                    }
                    Some(item) => {
                        few.push_back(item);
                        queue.push_back(item);
                    }
                    None => prop_assert_eq!(few.pop_front(), queue.pop_front()),
                }
                prop_assert_eq!(few.front_mut(), queue.front_mut());
                prop_assert!(few.iter().eq(&queue));
                prop_assert!(queue.len() > 1 || few.rest.capacity() == 0, "room is kept");
            }
            prop_assert!(few.into_iter().eq(queue));
        }
    }
}
