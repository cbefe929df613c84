//! Lists and objects.

use super::{FunctionDoc, doc};

const GROUP: &str = "Lists and objects";

pub(super) const FUNCTIONS: &[FunctionDoc] = &[
    doc(
        GROUP,
        ["map", "list.map(x, value) → list"],
        "A value for each item. With three arguments, `list.map(x, condition, value)`, only for \
         those that fulfil the condition.",
        ["issue.labels.map(x, x.name)", r#"["bug","urgent"]"#],
    ),
    doc(
        GROUP,
        ["filter", "list.filter(x, condition) → list"],
        "The items that fulfil a condition.",
        ["[1, 2, 3].filter(x, x > 1)", "[2,3]"],
    ),
    doc(
        GROUP,
        ["all", "list.all(x, condition) → boolean"],
        "Whether all items fulfil a condition.",
        ["[1, 2].all(x, x > 0)", "true"],
    ),
    doc(
        GROUP,
        ["exists", "list.exists(x, condition) → boolean"],
        "Whether an item fulfils a condition.",
        ["issue.labels.exists(x, x.name == 'bug')", "true"],
    ),
    doc(
        GROUP,
        ["exists_one", "list.exists_one(x, condition) → boolean"],
        "Whether exactly one item fulfils a condition; also written `existsOne`.",
        ["[1, 2, 2].exists_one(x, x == 2)", "false"],
    ),
    doc(
        GROUP,
        ["sortBy", "list.sortBy(x, key) → list"],
        "Sorted by a key; items of equal keys stay in their order.",
        ["['bb', 'a'].sortBy(x, size(x))", r#"["a","bb"]"#],
    ),
    doc(
        GROUP,
        ["sort", "sort(list) → list"],
        "Sorted numbers, strings, timestamps or durations.",
        ["sort([3, 1, 2.5])", "[1,2.5,3]"],
    ),
    doc(
        GROUP,
        ["reverse", "reverse(list) → list"],
        "The other way round.",
        ["reverse([1, 2, 3])", "[3,2,1]"],
    ),
    doc(
        GROUP,
        ["distinct", "distinct(list) → list"],
        "Without items that stood there before.",
        ["distinct([1, 2, 1.0])", "[1,2]"],
    ),
    doc(
        GROUP,
        ["flatten", "flatten(list[, levels]) → list"],
        "With the items of the lists in a list in place of these lists; one level deep if nothing \
         else is named.",
        ["flatten([[1], [2, 3]])", "[1,2,3]"],
    ),
    doc(
        GROUP,
        ["slice", "slice(list, start[, end]) → list"],
        "The items from position start up to, but without, position end; positions behind the end \
         mean the end.",
        ["slice(['a', 'b', 'c'], 1)", r#"["b","c"]"#],
    ),
    doc(
        GROUP,
        ["range", "range(end) or range(start, end) → list"],
        "The whole numbers from start, or 0, up to, but without, end.",
        ["range(3)", "[0,1,2]"],
    ),
    doc(
        GROUP,
        ["zip", "zip(list, list) → list"],
        "Pairs of the items at equal positions, as many as the shorter list has.",
        ["zip(['a', 'b'], [1, 2])", r#"[["a",1],["b",2]]"#],
    ),
    doc(
        GROUP,
        ["keys", "keys(object) → list"],
        "The names of an object's fields, sorted.",
        ["keys({'b': 1, 'a': 2})", r#"["a","b"]"#],
    ),
    doc(
        GROUP,
        ["values", "values(object) → list"],
        "The values of an object's fields, in the order of their names.",
        ["values({'b': 1, 'a': 2})", "[2,1]"],
    ),
    doc(
        GROUP,
        ["merge", "merge(object, object, …) → object"],
        "The fields of all; of equal names the last one counts.",
        ["merge({'a': 1}, {'a': 2, 'b': 3})", r#"{"a":2,"b":3}"#],
    ),
];
