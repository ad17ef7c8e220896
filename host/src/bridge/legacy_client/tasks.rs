//! Tasks: those of a modern server, which decides alone what becomes one, for clients that know other
//! ones or none.

mod driven;
mod kept;
mod task;

pub(super) use driven::drive;
pub(super) use kept::Kept;
