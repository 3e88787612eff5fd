//! What faults do to a disk.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Fault, Faults};

/// What is wrong with one disk, as the processes that use it see it.
pub(crate) struct DiskFaults {
    faults: Rc<Faults>,
    rng: RefCell<ChaCha8Rng>,
    /// Those that hold for this disk, each with the bytes that it leaves room for.
    active: RefCell<Vec<(usize, u64)>>,
    /// How long the operations took since somebody asked.
    took: RefCell<Duration>,
}

/// What a write comes to.
pub(crate) enum Written {
    /// All of it reached the disk.
    Whole,
    /// Only so many bytes did, and this is what the disk says.
    Part(usize, io::Error),
}

impl DiskFaults {
    pub(crate) fn new(faults: Rc<Faults>, rng: ChaCha8Rng) -> DiskFaults {
        DiskFaults {
            faults,
            rng: RefCell::new(rng),
            active: RefCell::default(),
            took: RefCell::default(),
        }
    }

    pub(crate) fn begin(&self, fault: usize) {
        let room = match self.faults.plan(fault).fault {
            Fault::DiskFull { room } => room,
            _ => 0,
        };
        self.active.borrow_mut().push((fault, room));
    }

    pub(crate) fn end(&self, fault: usize) {
        self.active.borrow_mut().retain(|(other, _)| *other != fault);
    }

    /// How long the operations took since this was last asked.
    pub(crate) fn take_time(&self) -> Duration {
        self.took.take()
    }

    /// Something is read.
    pub(crate) fn read(&self) -> io::Result<()> {
        for (fault, _) in self.active.borrow().iter() {
            match self.faults.plan(*fault).fault {
                Fault::ReadError { share } if self.happens(share) => {
                    self.faults.fire(*fault);
                    return Err(io::Error::other("the disk cannot read it"));
                }
                Fault::SlowDisk { op_us } => self.takes(*fault, op_us),
                _ => {}
            }
        }
        Ok(())
    }

    /// `length` bytes are written, of which `new` need room that was free.
    pub(crate) fn write(&self, length: usize, new: u64) -> Written {
        for (fault, room) in self.active.borrow_mut().iter_mut() {
            let fired = match self.faults.plan(*fault).fault {
                Fault::DiskFull { .. } if new > *room => {
                    let full = io::Error::new(io::ErrorKind::StorageFull, "the disk is full");
                    Written::Part(0, full)
                }
                Fault::DiskFull { .. } => {
                    *room -= new;
                    continue;
                }
                Fault::WriteError { share } if self.happens(share) => {
                    Written::Part(0, io::Error::other("the disk cannot write it"))
                }
                Fault::TornWrite { share } if length > 0 && self.happens(share) => {
                    let part = self.rng.borrow_mut().random_range(0..length);
                    Written::Part(part, io::Error::other("the disk wrote only a part of it"))
                }
                Fault::SlowDisk { op_us } => {
                    self.takes(*fault, op_us);
                    continue;
                }
                _ => continue,
            };
            self.faults.fire(*fault);
            return fired;
        }
        Written::Whole
    }

    fn happens(&self, share: f64) -> bool {
        self.rng.borrow_mut().random_bool(share)
    }

    fn takes(&self, fault: usize, op_us: u64) {
        self.faults.fire(fault);
        *self.took.borrow_mut() += Duration::from_micros(op_us);
    }
}
