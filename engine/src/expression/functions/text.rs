//! Functions of strings. Positions and lengths count characters, as CEL does.

use super::{Call, Function};
use crate::expression::budget::within_text;
use crate::expression::failure::Failure;
use crate::expression::limits::DEFAULT_SLUG_LENGTH;
use crate::expression::value::{Kinds, Text, Val};

const TEXT: Kinds = Kinds::TEXT;
const NUMBER: Kinds = Kinds::NUMBER;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("lower", &[TEXT], TEXT, lower),
    Function::new("upper", &[TEXT], TEXT, upper),
    Function::new("trim", &[TEXT], TEXT, trim),
    Function::new("contains", &[TEXT, TEXT], Kinds::BOOL, contains),
    Function::new("startsWith", &[TEXT, TEXT], Kinds::BOOL, starts_with),
    Function::new("endsWith", &[TEXT, TEXT], Kinds::BOOL, ends_with),
    Function::new("indexOf", &[TEXT, TEXT], NUMBER, index_of),
    Function::new("lastIndexOf", &[TEXT, TEXT], NUMBER, last_index_of),
    Function::new("substring", &[TEXT, NUMBER, NUMBER], TEXT, substring)
        .required(2)
        .counts(),
    Function::new("truncate", &[TEXT, NUMBER, TEXT], TEXT, truncate)
        .required(2)
        .counts(),
    Function::new("replace", &[TEXT, TEXT, TEXT, NUMBER], TEXT, replace)
        .required(3)
        .counts(),
    Function::new("split", &[TEXT, TEXT, NUMBER], Kinds::LIST, split)
        .required(2)
        .counts(),
    Function::new("join", &[Kinds::LIST, TEXT], TEXT, join).required(1),
    Function::new("padStart", &[TEXT, NUMBER, TEXT], TEXT, pad_start)
        .required(2)
        .counts(),
    Function::new("padEnd", &[TEXT, NUMBER, TEXT], TEXT, pad_end)
        .required(2)
        .counts(),
    Function::new("slug", &[TEXT, NUMBER], TEXT, slug)
        .required(1)
        .counts(),
];

type Outcome<'a> = Result<Val<'a>, Failure<'a>>;

fn lower<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    call.budget.text(text.len())?;
    Ok(Val::text(text.to_lowercase()))
}

fn upper<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    call.budget.text(text.len())?;
    Ok(Val::text(text.to_uppercase()))
}

fn trim<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    call.budget.text(text.len())?;
    Ok(part(&text, |text| text.trim()))
}

/// A part of a text: of data it is not copied.
fn part<'a>(text: &Text<'a>, cut: impl Fn(&str) -> &str) -> Val<'a> {
    match text {
        Text::Data(data) => Val::Text(Text::Data(cut(data))),
        Text::Built(built) => Val::text(cut(built)),
    }
}

fn contains<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let (text, part) = (call.text(0), call.text(1));
    call.budget.bytes(text.len() + part.len())?;
    Ok(Val::Bool(text.contains(&*part)))
}

fn starts_with<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let (text, part) = (call.text(0), call.text(1));
    call.budget.bytes(part.len())?;
    Ok(Val::Bool(text.starts_with(&*part)))
}

fn ends_with<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let (text, part) = (call.text(0), call.text(1));
    call.budget.bytes(part.len())?;
    Ok(Val::Bool(text.ends_with(&*part)))
}

fn index_of<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    position(call, |text, part| text.find(part))
}

fn last_index_of<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    position(call, |text, part| text.rfind(part))
}

fn position<'a>(
    call: &mut Call<'_, 'a>,
    find: impl Fn(&str, &str) -> Option<usize>,
) -> Outcome<'a> {
    let (text, part) = (call.text(0), call.text(1));
    call.budget.bytes(2 * text.len() + part.len())?;
    Ok(match find(&text, &part) {
        Some(at) => Val::int(text[..at].chars().count()),
        None => Val::Int(-1),
    })
}

/// The byte at which character `index` begins, or the end.
fn byte_of(text: &str, index: usize) -> usize {
    text.char_indices()
        .nth(index)
        .map_or(text.len(), |(at, _)| at)
}

fn substring<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    let start = call.count(1)?.unwrap_or(0);
    let end = call.count(2)?.unwrap_or(usize::MAX);
    if start > end {
        return Err(Failure::invalid(format!(
            "a part cannot begin at {start} and end at {end}"
        )));
    }
    call.budget.text(text.len())?;
    Ok(part(&text, |text| {
        &text[byte_of(text, start)..byte_of(text, end)]
    }))
}

fn truncate<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    let longest = call.count(1)?.unwrap_or(0);
    let ending = call.text(2);
    call.budget.text(text.len() + ending.len())?;
    if text.chars().nth(longest).is_none() {
        return Ok(Val::Text(text));
    }
    let ending = &ending[..byte_of(&ending, longest)];
    let kept = longest - ending.chars().count();
    let mut short = text[..byte_of(&text, kept)].to_owned();
    short.push_str(ending);
    Ok(Val::text(short))
}

fn replace<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let (text, from, to) = (call.text(0), call.text(1), call.text(2));
    let most = call.count(3)?.unwrap_or(usize::MAX);
    call.budget.text(text.len() + from.len())?;
    let found = text.matches(&*from).take(most).count();
    let kept = text.len() - found * from.len();
    let length = found.saturating_mul(to.len()).saturating_add(kept);
    call.budget.text(length)?;
    call.budget.values(found / 2)?;
    Ok(Val::text(text.replacen(&*from, &to, most)))
}

fn split<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let (text, separator) = (call.text(0), call.text(1));
    let most = call.count(2)?.unwrap_or(usize::MAX);
    call.budget.text(text.len() + separator.len())?;
    let count = if separator.is_empty() {
        text.chars().count()
    } else {
        text.matches(&*separator).count() + 1
    };
    call.budget.list(count.min(most))?;
    let parts = match &text {
        Text::Data(data) => pieces(data, &separator, most)
            .into_iter()
            .map(|piece| Val::Text(Text::Data(piece)))
            .collect(),
        Text::Built(built) => pieces(built, &separator, most)
            .into_iter()
            .map(Val::text)
            .collect(),
    };
    Ok(Val::list(parts))
}

/// At most `most` pieces, the last of which holds all that is left.
fn pieces<'t>(text: &'t str, separator: &str, most: usize) -> Vec<&'t str> {
    if !separator.is_empty() {
        return text.splitn(most, separator).collect();
    }
    // Into characters, as CEL's `split` has it.
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let mut start = 0;
    let mut pieces = Vec::new();
    for end in ends.take(most) {
        let is_last = pieces.len() + 1 == most;
        let end = if is_last { text.len() } else { end };
        pieces.push(&text[start..end]);
        start = end;
    }
    pieces
}

fn join<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let (list, separator) = (call.list(0), call.text(1));
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let Val::Text(text) = &item else {
            let message = format!(
                "`join` takes a list of strings, and element {index} is {}; \
                 `.map(x, string(x))` makes strings of them",
                item.describe()
            );
            return Err(Failure::Type(message));
        };
        let separator: &str = if index == 0 { "" } else { &separator };
        let grown = joined.len() + separator.len() + text.len();
        call.budget.bytes(separator.len() + text.len())?;
        within_text(grown)?;
        joined.push_str(separator);
        joined.push_str(text);
    }
    Ok(Val::text(joined))
}

fn pad_start<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    let padding = padding(call, &text)?;
    Ok(Val::text(format!("{padding}{}", &*text)))
}

fn pad_end<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    let padding = padding(call, &text)?;
    Ok(Val::text(format!("{}{padding}", &*text)))
}

fn padding<'a>(call: &mut Call<'_, 'a>, text: &str) -> Result<String, Failure<'a>> {
    let wanted = call.count(1)?.unwrap_or(0);
    let with = if call.args.len() > 2 {
        call.text(2)
    } else {
        Text::Data(" ")
    };
    let Some(widest) = with.chars().map(char::len_utf8).max() else {
        return Err(Failure::invalid("what is padded with cannot be empty"));
    };
    call.budget.text(text.len() + with.len())?;
    let missing = wanted.saturating_sub(text.chars().count());
    call.budget
        .text(text.len().saturating_add(missing.saturating_mul(widest)))?;
    Ok(with.chars().cycle().take(missing).collect())
}

fn slug<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    let longest = call.count(1)?.unwrap_or(DEFAULT_SLUG_LENGTH);
    call.budget.text(text.len())?;
    // Character by character it takes longer than copying.
    call.budget.bytes(text.len().saturating_mul(2))?;
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if slug.len() > longest {
            break;
        }
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            // It stands inside of words and separates none.
            '\'' | '’' => {}
            _ => match plain(c) {
                "" if slug.is_empty() || slug.ends_with('-') => {}
                "" => slug.push('-'),
                plain => slug.push_str(plain),
            },
        }
    }
    slug.truncate(longest);
    let length = slug.trim_end_matches('-').len();
    slug.truncate(length);
    Ok(Val::text(slug))
}

/// A lower-case letter of Western Europe in the letters of a slug.
fn plain(c: char) -> &'static str {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' => "e",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'ł' => "l",
        'ñ' | 'ń' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' => "o",
        'ö' | 'œ' => "oe",
        'š' | 'ś' => "s",
        'ß' => "ss",
        'ù' | 'ú' | 'û' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        'ž' | 'ź' | 'ż' => "z",
        _ => "",
    }
}
