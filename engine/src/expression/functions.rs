//! The functions: what each takes, what it yields, what it does. One module per subject.

mod catalog;
mod convert;
mod encode;
mod list;
mod number;
mod pattern;
mod text;
mod times;

use super::budget::Budget;
use super::failure::Failure;
use super::node::Constant;
use super::value::{Kinds, List, Object, Text, Val};

pub use catalog::{EXAMPLE_DATA, FUNCTIONS, FunctionDoc, reference};
pub(super) use list::{keys, sorted_by};
pub(super) use pattern::{Pattern, compile as compile_pattern};

/// One function. It can be called as `f(a, b)` and as `a.f(b)`.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// What each argument may be.
    pub(super) params: &'static [Kinds],
    /// How many of them must be given.
    pub(super) required: usize,
    /// Whether the last one may be given any number of times.
    pub(super) repeats: bool,
    pub(super) returns: Kinds,
    pub(super) run: Run,
    check: Check,
}

/// Whether the argument at a position can be right. The other arguments of the call are not known.
type Check = for<'c, 'a> fn(&mut Call<'c, 'a>, usize) -> Result<(), Failure<'a>>;

type Run = for<'c, 'a> fn(&mut Call<'c, 'a>) -> Result<Val<'a>, Failure<'a>>;

/// One call: arguments whose kinds are those that the function takes.
pub(super) struct Call<'c, 'a> {
    pub(super) args: Vec<Val<'a>>,
    pub(super) budget: &'c mut Budget,
    /// The regular expression, if it could be compiled with the expression.
    pub(super) pattern: Option<&'c Pattern>,
}

const GROUPS: [&[Function]; 7] = [
    convert::FUNCTIONS,
    encode::FUNCTIONS,
    list::FUNCTIONS,
    number::FUNCTIONS,
    pattern::FUNCTIONS,
    text::FUNCTIONS,
    times::FUNCTIONS,
];

/// Forms that look like functions and decide themselves what of them is evaluated.
pub(super) const FORMS: [&str; 8] = [
    "has",
    "default",
    "map",
    "filter",
    "all",
    "exists",
    "exists_one",
    "sortBy",
];

pub(super) fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

fn all() -> impl Iterator<Item = &'static Function> {
    GROUPS.into_iter().flatten()
}

/// Whether there are functions named `namespace.…`.
pub(super) fn is_namespace(name: &str) -> bool {
    all().any(|function| {
        let namespace = function.name.split_once('.');
        namespace.is_some_and(|(namespace, _)| namespace == name)
    })
}

/// The names of everything that can be called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|function| function.name).chain(FORMS)
}

/// What people write who come from other languages, and what it is called here.
const ELSEWHERE: [(&str, &str); 24] = [
    ("length", "size"),
    ("len", "size"),
    ("count", "size"),
    ("toLowerCase", "lower"),
    ("lowerAscii", "lower"),
    ("downcase", "lower"),
    ("toUpperCase", "upper"),
    ("upperAscii", "upper"),
    ("includes", "contains"),
    ("some", "exists"),
    ("any", "exists"),
    ("every", "all"),
    ("toString", "string"),
    ("str", "string"),
    ("toJson", "json.encode"),
    ("stringify", "json.encode"),
    ("fromJson", "json.decode"),
    ("parse", "json.decode"),
    ("replaceAll", "replace"),
    ("unique", "distinct"),
    ("match", "matches"),
    ("parseInt", "int"),
    ("coalesce", "default"),
    ("date", "timestamp"),
];

/// The function that somebody probably meant who wrote `name`, as the end of a message.
pub(super) fn suggestion(name: &str) -> String {
    if matches!(name, "now" | "today" | "random" | "uuid") {
        return "; expressions have no clock and no chance, so that a replay gives the same: \
                `execution.startedAt` is when it began"
            .to_owned();
    }
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == name);
    match elsewhere.map(|(_, here)| *here).or(nearest(name, names())) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None => String::new(),
    }
}

/// The one of `names` that `name` differs least from, if it is little enough to be a slip.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let slips = |distance: &usize| *distance <= 1 + name.len() / 4;
    names
        .filter(|known| known.len().abs_diff(name.len()) <= 3 && known.len() <= MAX_COMPARED)
        .map(|known| (distance(name, known), known))
        .filter(|(distance, known)| slips(distance) && *distance < known.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Longest name that is compared letter by letter.
const MAX_COMPARED: usize = 40;

/// Levenshtein's distance, in bytes, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl Function {
    /// A function all of whose parameters must be given.
    const fn new(name: &'static str, params: &'static [Kinds], returns: Kinds, run: Run) -> Self {
        Self {
            name,
            params,
            required: params.len(),
            repeats: false,
            returns,
            run,
            check: |_, _| Ok(()),
        }
    }

    /// What is known of an argument that stands there as it is.
    const fn checks(self, check: Check) -> Self {
        Self { check, ..self }
    }

    /// Numbers behind the first argument count something.
    const fn counts(self) -> Self {
        self.checks(|call, index| match call.args.get(index) {
            Some(Val::Int(_) | Val::Float(_)) if index > 0 => call.count(index).map(drop),
            _ => Ok(()),
        })
    }

    /// Why argument `index` is always wrong, whatever the others are.
    pub(super) fn check_constant(&self, index: usize, constant: &Constant) -> Result<(), String> {
        let value = match constant {
            Constant::Int(number) => Val::Int(*number),
            Constant::Float(number) => Val::Float(*number),
            Constant::Text(text) => Val::text(&**text),
            Constant::Null | Constant::Bool(_) | Constant::Bytes(_) => return Ok(()),
        };
        let mut args = vec![Val::Null; index];
        args.push(value);
        let mut call = Call {
            args,
            budget: &mut Budget::new(),
            pattern: None,
        };
        match (self.check)(&mut call, index) {
            Err(Failure::Type(message) | Failure::Invalid(message)) => Err(message),
            Err(Failure::Missing(_) | Failure::Cost(_)) | Ok(()) => Ok(()),
        }
    }

    /// The last parameters may be left out.
    const fn required(self, required: usize) -> Self {
        Self { required, ..self }
    }

    /// The last parameter may be repeated.
    const fn repeats(self) -> Self {
        Self {
            repeats: true,
            ..self
        }
    }

    /// What argument `index` may be; `None` if there is none.
    pub(super) fn param(&self, index: usize) -> Option<Kinds> {
        let last = self.params.last().filter(|_| self.repeats);
        self.params.get(index).or(last).copied()
    }

    /// Whether its second argument is a regular expression.
    pub(super) fn takes_pattern(&self) -> bool {
        pattern::FUNCTIONS
            .iter()
            .any(|known| known.name == self.name)
    }

    /// How many arguments it takes, for a message.
    pub(super) fn arity(&self) -> String {
        let most = self.params.len();
        let plural = if most == 1 { "" } else { "s" };
        if self.repeats {
            format!("at least {} arguments", self.required)
        } else if self.required == most {
            format!("{most} argument{plural}")
        } else {
            format!("{} to {most} arguments", self.required)
        }
    }

    pub(super) fn apply<'a>(&self, mut call: Call<'_, 'a>) -> Result<Val<'a>, Failure<'a>> {
        for (index, value) in call.args.iter().enumerate() {
            match self.param(index) {
                Some(wanted) if !wanted.meets(value.kind()) => {
                    return Err(Failure::kind(&self.argument(index), wanted, value));
                }
                _ => {}
            }
        }
        (self.run)(&mut call)
    }

    /// Its argument `index` as a message speaks of it.
    pub(super) fn argument(&self, index: usize) -> String {
        match index {
            0 => format!("`{}`", self.name),
            _ => format!("`{}`, as argument {},", self.name, index + 1),
        }
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Reading arguments. `apply` has checked their kinds, so the fallbacks are never taken.
impl<'a> Call<'_, 'a> {
    fn text(&self, index: usize) -> Text<'a> {
        match self.args.get(index) {
            Some(Val::Text(text)) => text.clone(),
            _ => Text::Data(""),
        }
    }

    fn list(&self, index: usize) -> List<'a> {
        match self.args.get(index) {
            Some(Val::List(list)) => list.clone(),
            _ => List::Data(&[]),
        }
    }

    fn object(&self, index: usize) -> Option<Object<'a>> {
        match self.args.get(index) {
            Some(Val::Object(object)) => Some(object.clone()),
            _ => None,
        }
    }

    /// A number that counts something, for instance characters; `None` if it was not given.
    ///
    /// # Errors
    /// When it is below zero or has a fraction.
    fn count(&self, index: usize) -> Result<Option<usize>, Failure<'a>> {
        let number = match self.args.get(index) {
            None => return Ok(None),
            Some(Val::Int(number)) => *number,
            #[expect(
                clippy::cast_possible_truncation,
                reason = "what is beyond is larger than anything that is counted"
            )]
            Some(Val::Float(number)) if number.fract() == 0.0 => *number as i128,
            Some(other) => {
                let message = format!("a count is a whole number, not {}", other.describe());
                return Err(Failure::Invalid(message));
            }
        };
        if number < 0 {
            let message = format!("a count cannot be below zero: {number}");
            return Err(Failure::Invalid(message));
        }
        Ok(Some(usize::try_from(number).unwrap_or(usize::MAX)))
    }
}
