//! Against the crate `cel`: what it computes, this computes too. The other direction does not hold;
//! the module's documentation lists what is more here. Expressions are drawn from a grammar with
//! types, so that most of them have a value.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cel::objects::{Key, Map};
use cel::{Context, Env, Value as Cel};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Data;
use crate::expression::{EvalError, Expression, time};

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cel::Int(number),
            None => Cel::Float(number.as_f64().expect("a float")),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, Cel> = fields
                .iter()
                .map(|(name, field)| (Key::String(Arc::new(name.clone())), to_cel(field)))
                .collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

fn from_cel(value: &Cel) -> Option<Value> {
    Some(match value {
        Cel::Null => Value::Null,
        Cel::Bool(value) => json!(value),
        Cel::Int(number) => json!(number),
        Cel::UInt(number) => json!(number),
        // Infinities have no JSON form, so they are no case.
        Cel::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        Cel::String(text) => json!(**text),
        // In their JSON form, as an expression here yields them.
        Cel::Bytes(bytes) => json!(STANDARD.encode(&**bytes)),
        Cel::Duration(duration) => json!(time::seconds(i128::from(duration.num_nanoseconds()?))),
        Cel::Timestamp(instant) => json!(time::rfc3339(i128::from(instant.timestamp_nanos_opt()?))),
        Cel::List(items) => Value::Array(items.iter().map(from_cel).collect::<Option<_>>()?),
        Cel::Map(map) => {
            let fields = map.map.iter().map(|(key, field)| {
                let Key::String(name) = key else { return None };
                Some((name.to_string(), from_cel(field)?))
            });
            Value::Object(fields.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

static DATA: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "i": 3, "j": -2, "z": 0, "d": 1.5, "w": 2.0, "s": "abc", "e": "", "u": "äß€", "b": true,
        "l": [1, 2, 3], "m": {"a": 1, "b": "x", "c": [1.5], "d": {"a": 2}}, "n": null,
        "k": ["abc", "b", ""], "o": [{"n": 1, "s": "x"}, {"n": 2}],
    })
});
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// What `cel` yields, if it is anything. Its parser takes more stack for a few brackets than a test
/// has in a build without optimization.
fn theirs(source: &str) -> Option<Value> {
    const STACK: usize = 16 * 1024 * 1024;
    let source = source.to_owned();
    let thread = std::thread::Builder::new().stack_size(STACK);
    let run = thread.spawn(move || {
        let program = ENV.compile(&source).ok()?;
        let mut context = Context::with_env(Arc::clone(&ENV));
        for (name, value) in DATA.as_object().expect("an object") {
            context.add_variable_from_value(name.as_str(), to_cel(value));
        }
        from_cel(&program.execute(&context).ok()?)
    });
    run.expect("a thread").join().expect("`cel` ends")
}

/// With what an expression may be refused that `cel` computes: each of these is on purpose, and no other
/// is. A function that takes less than there would be seen.
const REFUSED: [&str; 12] = [
    // Kinds that are never equal, or have no order.
    "`==` does not fit ",
    "`!=` does not fit ",
    "`<` does not fit ",
    "`<=` does not fit ",
    "`>` does not fit ",
    "`>=` does not fit ",
    // Constant parts that fail wherever they stand.
    "division by zero",
    "remainder of a division by zero",
    "the number is beyond 64 bits",
    "the number is not finite",
    "these bytes are not UTF-8",
    "this is always a number, which has no parts",
];

/// Both are equal as JSON; objects without regard to their order.
fn agree(source: &str) {
    let Some(theirs) = theirs(source) else {
        return;
    };
    let expression = match Expression::compile(source) {
        Ok(expression) => expression,
        // What compares what can never be equal is refused before there is data, and what cannot be
        // computed, though there it is never come to.
        Err(mistake) => {
            let refused = REFUSED
                .iter()
                .any(|reason| mistake.message.contains(reason));
            assert!(refused, "{source}: {mistake:?}");
            return;
        }
    };
    match expression.evaluate(&Data(DATA.clone())) {
        Ok(ours) => assert_eq!(ours, theirs, "{source}"),
        // On the way to their value there may be an infinity, which JSON does not have.
        Err(EvalError::Invalid { reason, .. })
            if reason.contains("by zero") || reason.contains("finite") => {}
        // The infinity may have decided what here both sides of an operator fail at, and then the
        // other one is told.
        Err(_)
            if source.contains('/')
                && ["||", "&&", ".all(", ".exists("]
                    .iter()
                    .any(|absorbs| source.contains(absorbs)) => {}
        Err(error) => panic!("{source}: {error}, but it is {theirs}"),
    }
}

#[test]
fn a_sample_of_everything_agrees() {
    for source in [
        "1 + 2 * 3 - 4 / 2 % 3",
        "-(1 + 2) * -3",
        "!b || i > 2 && j < 0",
        "i > 2 ? s : e",
        "b ? 1 : false ? 2 : 3",
        "1 < 2 == true",
        "2 in l && !(9 in l)",
        "'a' in m",
        "m.d.a + m['a']",
        "m.c[0]",
        "[1, 2,][1]",
        "{'a': [1, {'b': 2}]}.a[1].b",
        "l.map(x, x * 2).filter(x, x > 2)",
        "l.map(x, x > 1, x + 1)",
        "l.all(x, x > 0) && l.exists(x, x == 2) && l.exists_one(x, x == 3)",
        "o.exists(x, x.s == 'x')",
        "o.map(x, has(x.s))",
        "l.map(x, l.map(y, x * y))",
        "has(m.a) && !has(m.zz)",
        "size(s) + size(l) + size(m) + s.size()",
        "s.startsWith('a') && s.endsWith('c') && s.contains('b')",
        "s + 'd' == \"abcd\"",
        "u + 'x'",
        "'a\\n\\t\\x41\\u00e4\\U0001F600\\101\\\\'",
        "r'a\\n'",
        "'''it's'''",
        "\"\"\"a\"b\"\"\"",
        "string(12) + string(true)",
        "int('12') + int(1.9) + int(-1.9)",
        "double('1.5') + 1.0",
        "1.5e2 + .5 + 1e-1",
        "0x1F",
        "[1, 2] + [3]",
        "[1, 'a', null, [true]] == [1, 'a', null, [true]]",
        "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}",
        "1 == 1.0 && w == 2 && 2 == w",
        "n == null && i != null",
        "1 < 1.5 && 2.5 > 2",
        "dyn(1) == 1",
        "true || m.zz == 1",
        "m.zz == 1 || true",
        "false && m.zz == 1",
        "i == 'a'",
        "// a comment\n i + 1 // another",
        "9223372036854775807",
        "-9223372036854775808",
        "b'ab' + bytes('c') == b'abc'",
        "size(b'\\xff') + size(bytes('ä'))",
        "string(b'abc') + string('d') + string(1.5)",
        "bool('true') && !bool('false')",
        "s.matches('^a.c$') && !s.matches('x')",
        "double('1e3') + double(2)",
        "duration('1h') + duration('1.5s') - duration('250ms')",
        "duration('1.5s').getMilliseconds() + duration('90m').getHours()",
        "string(duration('1.5s')) + string(duration('90m'))",
        "timestamp('2026-02-03T04:05:06Z') - timestamp('2026-02-03T04:05:05.5Z')",
        "timestamp('2026-02-03T04:05:06Z') + duration('1h')",
        "timestamp('2026-02-03T04:05:06Z').getDayOfYear()",
        "timestamp('2026-02-03T04:05:06Z').getHours('+02:00')",
        "int(timestamp('2026-02-03T04:05:06Z'))",
        "a.b",
    ] {
        agree(source);
        // A sample that is no expression for them says nothing.
        assert!(source == "a.b" || theirs(source).is_some(), "{source}");
    }
}

/// Draws expressions from bytes, so that proptest can make them smaller.
struct Draw<'b> {
    bytes: std::slice::Iter<'b, u8>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Want {
    Int,
    Float,
    Bool,
    Text,
    Ints,
    Bytes,
    Duration,
    Instant,
    Any,
}

impl Draw<'_> {
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % n
    }

    fn one(&mut self, of: &[&str]) -> String {
        of[self.below(of.len())].to_owned()
    }

    fn expression(&mut self, want: Want) -> String {
        self.depth += 1;
        let leaf = self.depth > 5 || self.below(4) == 0;
        let text = match want {
            Want::Int => self.int(leaf),
            Want::Float => self.float(leaf),
            Want::Bool => self.boolean(leaf),
            Want::Text => self.text(leaf),
            Want::Ints => self.ints(leaf),
            Want::Bytes => self.bytes(leaf),
            Want::Duration => self.duration(leaf),
            Want::Instant => self.instant(leaf),
            Want::Any => self.any(leaf),
        };
        self.depth -= 1;
        text
    }

    fn int(&mut self, leaf: bool) -> String {
        if leaf {
            return self.one(&["i", "j", "z", "1", "-7", "42", "m.a", "l[1]", "m.d.a"]);
        }
        match self.below(12) {
            6 => format!("size({})", self.expression(Want::Bytes)),
            7 => {
                let part = self.one(&["getHours", "getMinutes", "getSeconds", "getMilliseconds"]);
                let want = [Want::Duration, Want::Instant][self.below(2)];
                format!("({}).{part}()", self.expression(want))
            }
            8 => {
                let part = self.one(&[
                    "getFullYear",
                    "getMonth",
                    "getDate",
                    "getDayOfMonth",
                    "getDayOfWeek",
                    "getDayOfYear",
                ]);
                format!("({}).{part}()", self.expression(Want::Instant))
            }
            9 => format!("int({})", self.expression(Want::Instant)),
            10 => format!("int({})", self.one(&["'12'", "'-3'", "string(i)"])),
            0 => format!("size({})", self.expression(Want::Text)),
            1 => format!("({}).size()", self.expression(Want::Ints)),
            2 => format!("-({})", self.expression(Want::Int)),
            3 => format!("int({})", self.expression(Want::Float)),
            4 => self.conditional(Want::Int),
            5 => format!(
                "({})[{}]",
                self.expression(Want::Ints),
                self.expression(Want::Int)
            ),
            _ => {
                let operator = self.one(&["+", "-", "*", "/", "%"]);
                self.binary(Want::Int, &operator, Want::Int)
            }
        }
    }

    fn float(&mut self, leaf: bool) -> String {
        if leaf {
            return self.one(&["d", "w", "1.5", "-0.25", "1e2", "m.c[0]"]);
        }
        match self.below(4) {
            2 => format!("double({})", self.one(&["'1.5'", "'-2e3'", "'7'"])),
            0 => format!("double({})", self.expression(Want::Int)),
            1 => self.conditional(Want::Float),
            _ => {
                let operator = self.one(&["+", "-", "*", "/"]);
                self.binary(Want::Float, &operator, Want::Float)
            }
        }
    }

    fn boolean(&mut self, leaf: bool) -> String {
        if leaf {
            return self.one(&[
                "b",
                "true",
                "false",
                "has(m.a)",
                "has(m.zz)",
                "m.zz",
                "n == null",
            ]);
        }
        match self.below(13) {
            8 => format!(
                "bool({})",
                self.one(&["'true'", "'false'", "string(b)", "b"])
            ),
            9 => {
                let pattern = self.one(&["'^a'", "'b+c?$'", "'[äß]'", "r'\\d'", "''"]);
                format!("({}).matches({pattern})", self.expression(Want::Text))
            }
            10 | 11 => {
                let operator = self.one(&["<", "<=", ">", ">=", "==", "!="]);
                let want = [Want::Bytes, Want::Duration, Want::Instant][self.below(3)];
                self.binary(want, &operator, want)
            }
            0 => format!("!({})", self.expression(Want::Bool)),
            1 => {
                let operator = self.one(&["&&", "||"]);
                self.binary(Want::Bool, &operator, Want::Bool)
            }
            2 => {
                let operator = self.one(&["<", "<=", ">", ">=", "==", "!="]);
                let kinds = [Want::Int, Want::Float, Want::Text];
                let (left, right) = (kinds[self.below(3)], kinds[self.below(3)]);
                self.binary(left, &operator, right)
            }
            3 => self.binary(Want::Any, "==", Want::Any),
            4 => self.binary(Want::Int, "in", Want::Ints),
            5 => {
                let function = self.one(&["startsWith", "endsWith", "contains"]);
                let text = self.expression(Want::Text);
                format!("({text}).{function}({})", self.expression(Want::Text))
            }
            6 => self.conditional(Want::Bool),
            _ => {
                let function = self.one(&["all", "exists", "exists_one"]);
                let list = self.expression(Want::Ints);
                format!("({list}).{function}(i, {})", self.expression(Want::Bool))
            }
        }
    }

    fn text(&mut self, leaf: bool) -> String {
        if leaf {
            return self.one(&["s", "e", "u", "'a'", "\"b\"", "''", "k[0]", "m.b", "'ä\\n'"]);
        }
        match self.below(8) {
            4 => format!(
                "string({})",
                self.one(&["d", "1.5", "-0.25", "m.c[0]", "0.1"])
            ),
            5 => format!("string({})", self.expression(Want::Text)),
            6 => format!("string({})", self.expression(Want::Bytes)),
            0 => format!("string({})", self.expression(Want::Int)),
            1 => format!("string({})", self.expression(Want::Bool)),
            2 => self.conditional(Want::Text),
            _ => self.binary(Want::Text, "+", Want::Text),
        }
    }

    fn ints(&mut self, leaf: bool) -> String {
        if leaf {
            return self.one(&["l", "[]", "[1, 2]", "[i, j]"]);
        }
        match self.below(6) {
            0 => self.binary(Want::Ints, "+", Want::Ints),
            1 => {
                let list = self.expression(Want::Ints);
                format!("({list}).map(i, {})", self.expression(Want::Int))
            }
            2 => {
                let list = self.expression(Want::Ints);
                format!("({list}).filter(j, {})", self.expression(Want::Bool))
            }
            3 => {
                let list = self.expression(Want::Ints);
                let (filter, body) = (self.expression(Want::Bool), self.expression(Want::Int));
                format!("({list}).map(i, {filter}, {body})")
            }
            4 => self.conditional(Want::Ints),
            _ => {
                let (a, b) = (self.expression(Want::Int), self.expression(Want::Int));
                format!("[{a}, {b}]")
            }
        }
    }

    fn bytes(&mut self, leaf: bool) -> String {
        if leaf {
            return self.one(&["b'abc'", "b''", "b'\\x00\\xff'", "bytes(u)"]);
        }
        match self.below(3) {
            0 => self.binary(Want::Bytes, "+", Want::Bytes),
            1 => self.conditional(Want::Bytes),
            _ => format!("bytes({})", self.expression(Want::Text)),
        }
    }

    fn duration(&mut self, leaf: bool) -> String {
        if leaf {
            let text = self.one(&["1h30m", "1.5s", "-250ms", "0", "36h", "90m10us"]);
            return format!("duration('{text}')");
        }
        match self.below(4) {
            0 => {
                let operator = self.one(&["+", "-"]);
                format!(
                    "({})",
                    self.binary(Want::Duration, &operator, Want::Duration)
                )
            }
            1 => format!("({})", self.binary(Want::Instant, "-", Want::Instant)),
            2 => self.conditional(Want::Duration),
            _ => self.duration(true),
        }
    }

    fn instant(&mut self, leaf: bool) -> String {
        if leaf {
            // Without offsets: there, the parts of a timestamp are those at its own, and not in UTC as
            // CEL's specification has it.
            let text = self.one(&[
                "2026-02-03T04:05:06Z",
                "2024-02-29T23:59:59.25Z",
                "1969-12-31T23:59:59.999Z",
            ]);
            return format!("timestamp('{text}')");
        }
        match self.below(4) {
            0 => format!("({})", self.binary(Want::Duration, "+", Want::Instant)),
            1 => {
                let operator = self.one(&["+", "-"]);
                format!(
                    "({})",
                    self.binary(Want::Instant, &operator, Want::Duration)
                )
            }
            2 => self.conditional(Want::Instant),
            _ => self.instant(true),
        }
    }

    fn any(&mut self, leaf: bool) -> String {
        if leaf {
            return self.one(&["m", "n", "o", "m.d", "null", "o[0]", "k", "m.zz", "{}"]);
        }
        match self.below(7) {
            0 => {
                let (key, value) = (self.expression(Want::Text), self.expression(Want::Any));
                format!("{{{key}: {value}}}")
            }
            1 => format!("[{}]", self.expression(Want::Any)),
            2 => format!("m[{}]", self.expression(Want::Text)),
            3 => self.expression(Want::Int),
            4 => self.expression(Want::Text),
            5 => self.expression(Want::Bool),
            _ => self.expression(Want::Ints),
        }
    }

    fn binary(&mut self, left: Want, operator: &str, right: Want) -> String {
        let left = self.expression(left);
        let right = self.expression(right);
        if self.below(3) == 0 {
            format!("({left} {operator} {right})")
        } else {
            format!("({left}) {operator} ({right})")
        }
    }

    fn conditional(&mut self, want: Want) -> String {
        let condition = self.expression(Want::Bool);
        let (yes, no) = (self.expression(want), self.expression(want));
        format!("({condition} ? {yes} : {no})")
    }
}

fn drawn(bytes: &[u8]) -> String {
    let mut draw = Draw {
        bytes: bytes.iter(),
        depth: 0,
    };
    let kinds = [
        Want::Int,
        Want::Float,
        Want::Bool,
        Want::Text,
        Want::Ints,
        Want::Bytes,
        Want::Duration,
        Want::Instant,
        Want::Any,
    ];
    let want = kinds[draw.below(kinds.len())];
    draw.expression(want)
}

/// How many are drawn; a long run: `AFU9_CEL_CASES=100000 cargo test -p afu9-engine what_cel`.
fn cases() -> u32 {
    option_env!("AFU9_CEL_CASES").map_or(200, |cases| cases.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn what_cel_computes_is_computed_here(bytes in prop::collection::vec(any::<u8>(), 1..120)) {
        agree(&drawn(&bytes));
    }
}

/// Whether the drawn ones are worth drawing.
#[test]
fn most_drawn_expressions_have_a_value() {
    let mut state = 7_u64;
    let mut with_value = 0;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..100)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                u8::try_from(state >> 56).expect("eight bits")
            })
            .collect();
        with_value += usize::from(theirs(&drawn(&bytes)).is_some());
    }
    assert!(with_value > 80, "{with_value} of 200");
}
