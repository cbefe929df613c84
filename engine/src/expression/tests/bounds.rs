//! Every way in which an expression can grow, and where it ends.

use serde_json::{Value, json};

use super::{Data, Scope};
use crate::expression::budget::Budget;
use crate::expression::{
    EvalError, Expression, MAX_COST, MAX_LIST_LENGTH, MAX_NESTING, MAX_PATTERN_BYTES,
    MAX_TEXT_BYTES, MAX_VALUE_DEPTH, Template,
};

fn large() -> Data {
    Data(json!({"input": {
        "list": (0..6000).collect::<Vec<_>>(),
        "text": "x".repeat(200_000),
        "words": (0..20_000).map(|i| format!("w{i}")).collect::<Vec<_>>(),
        "objects": (0..5000).map(|i| json!({"n": i, "name": format!("n{i}")})).collect::<Vec<_>>(),
        "fields": Value::Object((0..20_000).map(|i| (format!("k{i}"), json!(i))).collect()),
        "json": serde_json::to_string(&vec![1; 50_000]).expect("JSON"),
        "deep": "[".repeat(100) + &"]".repeat(100),
        "deepest": "[".repeat(100_000),
        "n": 7,
    }}))
}

fn within(source: &str, data: &dyn Scope, budget: u64) -> Result<Value, EvalError> {
    let expression = Expression::compile(source).unwrap_or_else(|m| panic!("{source}: {m:?}"));
    expression.evaluate_within(data, &mut Budget::of(budget))
}

/// Evaluating ends at a bound. A tenth of the budget is enough to see it, and takes a tenth of the
/// time.
fn ends(source: &str, data: &dyn Scope) {
    match within(source, data, MAX_COST / 10) {
        Err(EvalError::Cost { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("{source} comes to an end of its own"),
    }
}

/// Evaluating ends at another bound than the budget, of which a hundredth would do.
fn whole_budget_ends(source: &str, data: &dyn Scope) {
    let result = within(source, data, 100 * MAX_COST);
    assert!(matches!(result, Err(EvalError::Cost { .. })), "{source}");
}

/// Evaluating comes to its own end.
fn fits(source: &str, data: &dyn Scope) {
    within(source, data, MAX_COST).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn loops_in_loops_end() {
    let data = large();
    for source in [
        "input.list.filter(x, x in input.list)",
        "input.list.map(x, input.list.map(y, x * y))",
        "input.list.map(x, input.list.filter(y, y > x))",
        "input.list.all(x, input.list.exists(y, y == 2 || true) && x < 9000 && \
         input.list.all(z, z < 9000))",
        "range(1000).map(a, range(1000).map(b, range(1000).map(c, range(1000))))",
        "input.list.map(x, input.list.map(y, has(absent)))",
        "input.list.exists(x, input.list.exists(y, input.absent == 1))",
        "input.list.map(x, input.list.exists(y, y + 'a' == x) || true)",
    ] {
        ends(source, &data);
    }
    // Deep loops over little are no harm.
    let deep = "range(5).map(a, range(5).map(b, range(5).map(c, a * b * c)))";
    fits(deep, &data);
}

/// What nothing may absorb: else an expression could go on forever by failing.
#[test]
fn an_overrun_is_never_made_up_for() {
    let data = large();
    let endless = "input.list.all(x, x in input.list && input.list.all(y, y in input.list))";
    for source in [
        format!("default({endless}, true)"),
        format!("{endless} || true"),
        format!("true && {endless} || true"),
        format!("[1].exists(i, {endless} || true)"),
        format!("[1].all(i, !({endless}) && false)"),
        format!("has(input.list[{endless} ? 0 : 1])"),
    ] {
        ends(&source, &data);
    }
}

#[test]
fn strings_end() {
    let data = large();
    let doubled = "[input.text]".to_owned() + &".map(t, t + t)".repeat(20) + ".size()";
    for source in [
        doubled.as_str(),
        "range(1000).map(i, input.text + 'a')",
        "input.text.replace('x', input.text)",
        "input.text.replace('', 'xxxxxxxxxx')",
        "input.words.map(w, input.text).join('')",
        "['a', 'b'].map(x, input.text).join(input.text.replace('x', 'xxxxx'))",
        "'a'.padStart(99999999)",
        "'a'.padEnd(9007199254740993.0, 'ä')",
        "range(1000).map(i, input.text.upper())",
        "range(1000).map(i, json.encode(input.objects))",
        "range(1000).map(i, base64.encode(input.text))",
        "range(100000).map(i, sha256(input.text))",
        "range(1000).map(i, bytes(input.text))",
        "range(1000).map(i, input.text.slug(200000))",
        "range(1000).exists(i, input.text + 'a' < input.text)",
        "range(1000).map(i, input.text.split('x'))",
        "input.text.split('')",
        "range(100000).map(i, input.fields[input.text.substring(1)].default(1))",
        "range(100000).map(i, {input.text: 1})",
        "range(100000).map(i, formatTime(fromMillis(i), input.text))",
    ] {
        ends(source, &data);
    }
    let padded = |length: usize| format!("'a'.padStart({length}).size() + input.n");
    fits(&padded(MAX_TEXT_BYTES), &data);
    whole_budget_ends(&padded(MAX_TEXT_BYTES + 1), &data);
}

#[test]
fn lists_and_objects_end() {
    let data = large();
    for source in [
        "range(100000 + input.n)",
        "range(9007199254740993 * input.n)",
        "range(0, 18446744073709551615 - input.n)",
        "range(60000) + range(60000)",
        "[range(60000), range(60000)].flatten()",
        "zip(range(60000), range(60000))",
        "range(1000).map(i, range(1000))",
        "range(1000).map(i, input.words.sort())",
        "range(1000).map(i, input.words.distinct())",
        "range(1000).map(i, input.words.reverse())",
        "range(1000).map(i, input.words.slice(0))",
        "range(1000).map(i, input.objects.sortBy(o, o.name))",
        "range(1000).map(i, input.fields.keys())",
        "range(1000).map(i, input.fields.values())",
        "range(1000).map(i, merge(input.fields, {}))",
        "range(1000).map(i, input.fields.map(k, k))",
        "range(1000).map(i, sum(input.list))",
        "range(1000).map(i, max(input.list))",
        "range(1000).map(i, input.fields == input.fields)",
        "range(1000).map(i, input.objects == input.objects)",
        "input.list.map(x, input.list)",
        "range(1000).map(i, json.decode(input.json))",
        "range(100000).map(i, [[i, i, i], [i, i, i], {'a': i}, {'b': i}])",
    ] {
        ends(source, &data);
    }
    let doubled = "[1]".to_owned() + &".map(x, [x, x])".repeat(28);
    ends(&doubled, &data);
    let doubled = "[1]".to_owned() + &".map(x, [x, x])".repeat(28) + ".distinct().size()";
    fits(&doubled, &data);
    let compared = "[1]".to_owned() + &".map(x, [x, x])".repeat(28);
    ends(&format!("{compared} == {compared}"), &data);
    let ranged = |length: usize| format!("range({length}).size() + input.n");
    fits(&ranged(MAX_LIST_LENGTH), &data);
    whole_budget_ends(&ranged(MAX_LIST_LENGTH + 1), &data);
}

#[test]
fn depth_ends() {
    let data = large();
    ends("json.decode(input.deep)", &data);
    let hopeless = Expression::compile("json.decode(input.deepest)").expect("valid");
    let error = hopeless.evaluate(&data).expect_err("not JSON");
    assert_eq!(error.code(), "expression.invalid");
    let nested = |levels: usize| {
        let mut value = json!(1);
        for _ in 0..levels {
            value = json!([value]);
        }
        Data(json!({ "input": value }))
    };
    fits("input", &nested(MAX_VALUE_DEPTH));
    ends("input", &nested(MAX_VALUE_DEPTH + 1));
    ends("[input]", &nested(MAX_VALUE_DEPTH));
    fits("input.flatten(1000)", &nested(100));
    fits("input == input", &nested(100));
}

#[test]
fn regular_expressions_end() {
    let data = large();
    for source in [
        "range(100000).all(i, !input.text.matches('(x+x+)+y'))",
        "range(100000).all(i, !input.text.matches('[xy].{12}9'))",
        "range(100000).all(i, !'a'.matches('b' + string(i)))",
        "range(100000).all(i, extract(input.text, '(x+)(x+)y') == null)",
    ] {
        ends(source, &data);
    }
    let long = format!(
        "input.text.matches('{}')",
        "a".repeat(MAX_PATTERN_BYTES + 1)
    );
    assert!(Expression::compile(&long).is_err());
    let dynamic = format!(
        "'a'.matches('{}' + string(input.n))",
        "a".repeat(MAX_PATTERN_BYTES)
    );
    let dynamic = Expression::compile(&dynamic).expect("valid");
    let error = dynamic.evaluate(&data).expect_err("too long a pattern");
    assert_eq!(error.code(), "expression.invalid");
    let nested = format!(
        "input.text.matches('{}a{}')",
        "(".repeat(100),
        ")".repeat(100)
    );
    assert!(Expression::compile(&nested).is_err());
}

/// All expressions of one template share what they may cost.
#[test]
fn a_template_ends_as_a_whole() {
    let data = large();
    let once = json!("${input.words.filter(w, w.startsWith('w1')).size()}");
    let many = Value::Array(vec![once.clone(); 20]);
    let compile = |value: &Value| {
        Template::compile(value, "", &mut |at, m| panic!("{at}: {m:?}")).render(&data)
    };
    assert!(compile(&once).is_ok());
    let (at, error) = compile(&many).expect_err("twenty times too much");
    assert_eq!(error.code(), "expression.cost");
    assert!(at.starts_with('['), "{at}");
    let copies = Value::Array(vec![json!("${input}"); 100]);
    assert_eq!(
        compile(&copies).expect_err("too many copies").1.code(),
        "expression.cost"
    );
    let text = json!("${input.text}".repeat(100));
    assert_eq!(
        compile(&text).expect_err("20 MB of text").1.code(),
        "expression.cost"
    );
}

/// Expressions of the longest accepted length that are as unpleasant as they can be, on a stack that
/// is half of what a thread has.
#[test]
fn long_and_deep_expressions_need_little_stack() {
    let half_a_stack = std::thread::Builder::new().stack_size(1024 * 1024);
    let run = half_a_stack.spawn(|| {
        let data = large();
        let nest = |open: &str, close: &str| {
            let levels = MAX_NESTING - 2;
            format!("{}1{}", open.repeat(levels), close.repeat(levels))
        };
        let repeat = |piece: &str| piece.repeat(4000 / piece.len());
        for source in [
            nest("(", ")"),
            nest("[", "]"),
            nest("{'a':", "}"),
            nest("default(null, ", ")"),
            nest("string(", ")"),
            nest("-", ""),
            nest("[1].map(x, ", ")"),
            nest("(1 + ", ")"),
            nest("(true ? ", " : 2)"),
            nest("true ? 1 : ", ""),
            format!("1{}", repeat(" + 1")),
            format!("1{}", repeat("+1")),
            format!("true{}", repeat("&&true")),
            format!("false{}", repeat("||false")),
            format!("1{}", repeat("==1")),
            format!("input{}", repeat(".a")),
            format!("input{}", repeat("[0]")),
            format!("[{}]", repeat("1,")),
            format!("'{}'", "ä".repeat(2000)),
            format!("{}1", repeat("- ")),
            format!("{}true", repeat("!")),
            repeat("("),
            repeat("["),
            repeat("{"),
            repeat("a?"),
            repeat("1 + "),
            repeat("f("),
            repeat("'"),
            repeat("r'"),
            repeat("\"\\"),
            repeat(".1"),
            repeat("lowr(1)+"),
            repeat("range(99999).size()+") + "1",
            repeat("json.decode('[]')+"),
        ] {
            if let Ok(expression) = Expression::compile(&source) {
                // Whatever it yields or fails with.
                let _ = expression.evaluate(&data);
            }
        }
    });
    run.expect("a thread").join().expect("the stack suffices");
}

/// What things cost stays in proportion: the bound is meant for what is out of it.
#[test]
fn ordinary_expressions_cost_little() {
    let data = large();
    for (source, most) in [
        ("input.n + 1", 10),
        ("input.n > 1 && size(input.list) > 0", 20),
        ("'fix/' + string(input.n) + '-' + slug('Login fails')", 40),
        ("input.text.size()", 20_000),
        ("input.words.filter(w, w.startsWith('w1')).size()", 200_000),
        ("input.objects.map(o, o.name)", 60_000),
        ("input.text.matches('#([0-9]+)')", 100_000),
    ] {
        let expression = Expression::compile(source).expect(source);
        let mut budget = Budget::new();
        expression
            .evaluate_within(&data, &mut budget)
            .expect(source);
        assert!(budget.spent() <= most, "{source}: {}", budget.spent());
        const { assert!(MAX_COST >= 1_000_000) };
    }
}

/// A sort whose budget runs out is over budget, wherever in the sort that is: the standard library's sort
/// panics where the answers after that contradict those before.
#[test]
fn a_sort_that_runs_out_of_budget_is_an_error() {
    let data = large();
    for n in 0..40 {
        let source = format!(
            "range({}).sortBy(x, (x * 48271 + {n}) % 65521).size() + size(input)",
            50_000 + n * 37
        );
        let error = within(&source, &data, MAX_COST).expect_err("too much");
        assert!(matches!(error, EvalError::Cost { .. }), "{error}");
    }
}

#[test]
fn a_sort_is_stable_and_right() {
    let data = large();
    for length in [0_i64, 1, 2, 3, 7, 64, 1000] {
        let source = format!("range({length}).sortBy(x, (x * 7919) % 31)");
        let sorted = within(&source, &data, MAX_COST).expect("sorted");
        let mut expected: Vec<i64> = (0..length).collect();
        expected.sort_by_key(|x| (x * 7919) % 31);
        assert_eq!(sorted, json!(expected), "{length}");
    }
}
