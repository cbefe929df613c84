//! What may not be there.

use super::{FunctionDoc, doc};

const GROUP: &str = "Paths";

pub(super) const FUNCTIONS: &[FunctionDoc] = &[
    doc(
        GROUP,
        ["has", "has(path) → boolean"],
        "Whether something is at a path, be it null; false if a part on the way is not there either.",
        ["has(issue.milestone.title)", "false"],
    ),
    doc(
        GROUP,
        ["default", "default(value, fallback, …) → any"],
        "The first argument that is there and not null; the last one as it is. Only what is not \
         there is made up for, not other errors.",
        ["default(issue.milestone.title, 'none')", r#""none""#],
    ),
];
