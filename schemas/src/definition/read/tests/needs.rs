//! `needs`.

use super::*;

fn steps(needs: &[(&str, &str)]) -> String {
    let mut source = "name: w\nsteps:\n".to_owned();
    for (name, needs) in needs {
        source += &format!("  - {{name: {name}, tool: test.noop{needs}}}\n");
    }
    source
}

#[test]
fn needs_are_the_names_of_other_steps() {
    let definition = right(&steps(&[
        ("a", ", needs: []"),
        ("b", ", needs: c"),
        ("c", ", needs: [a]"),
        ("d", ", needs: [b, c, a]"),
        ("e", ""),
    ]));
    let needs: Vec<Option<Vec<String>>> = definition.steps.into_iter().map(|s| s.needs).collect();
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(
        needs,
        [
            names(&[]),
            names(&["c"]),
            names(&["a"]),
            names(&["b", "c", "a"]),
            None
        ]
    );
}

#[test]
fn needs_that_no_step_meets_are_mistakes() {
    let mistakes = wrong_to_the_reader(&steps(&[
        ("build", ""),
        ("b", ", needs: [build, «buid]"),
        ("c", ", needs: «nothing"),
    ]));
    assert_eq!(mistakes[0].path, "/steps/1/needs/1");
    assert_eq!(mistakes[1].path, "/steps/2/needs");
    says(&mistakes[..1], "`build`");
    wrong(&steps(&[("a", ""), ("b", ", needs: [a, «a]")]));
    wrong(&steps(&[("a", ""), ("b", ", needs: [«1, a]")]));
    wrong(&steps(&[("a", ""), ("b", ", needs: «{a: b}")]));
    wrong(&steps(&[("a", ""), ("b", ", needs: «~")]));
    // What runs on failure is nothing that the work can wait for.
    wrong_to_the_reader(
        "name: w\nsteps: [{name: a, tool: test.noop, needs: [«b]}]\n\
         onFailure: [{name: b, tool: test.noop}]\n",
    );
}

#[test]
fn steps_that_need_each_other_are_a_mistake() {
    says(
        &wrong_to_the_reader(&steps(&[("a", ", needs: [b]"), ("b", ", needs: [«a]")])),
        "a -> b -> a",
    );
    says(
        &wrong_to_the_reader(&steps(&[("a", ", needs: «a")])),
        "a -> a",
    );
    let mistakes = wrong_to_the_reader(&steps(&[
        ("x", ""),
        ("a", ", needs: [x, b]"),
        ("b", ", needs: [c]"),
        ("c", ", needs: [x, «a]"),
        ("d", ", needs: [a, e]"),
        ("e", ", needs: [«d]"),
    ]));
    assert!(mistakes[0].message.contains("a -> b -> c -> a"));
    assert!(mistakes[1].message.contains("d -> e -> d"));
}

#[test]
fn of_a_knot_one_cycle_is_told() {
    let all = ", needs: [a, b, c, d]";
    let marked = ", needs: [«a, b, c, d]";
    wrong_to_the_reader(
        &steps(&[("a", marked), ("b", all), ("c", all), ("d", all)])
            .replace(
                "name: b, tool: test.noop, needs: [a, b, c, d]",
                "name: b, tool: test.noop, needs: [a, «b, c, d]",
            )
            .replace(
                "name: c, tool: test.noop, needs: [a, b, c, d]",
                "name: c, tool: test.noop, needs: [a, b, «c, d]",
            )
            .replace(
                "name: d, tool: test.noop, needs: [a, b, c, d]",
                "name: d, tool: test.noop, needs: [a, b, c, «d]",
            ),
    );
}

#[test]
fn needs_are_checked_although_something_else_is_wrong() {
    wrong(&steps(&[
        ("a", ", needs: [b], timeoutMs: «1"),
        ("b", ", needs: [«a, «c], nonsense: «1"),
    ]));
}

#[test]
fn a_long_chain_is_no_cycle() {
    let mut source = "name: w\nsteps:\n  - {name: s0, tool: test.noop, needs: []}\n".to_owned();
    for n in 1..1000 {
        source += &format!("  - {{name: s{n}, tool: test.noop, needs: [s{}]}}\n", n - 1);
    }
    right(&source);
    let closed = source.replacen("needs: []", "needs: [s999]", 1);
    let mistakes = read(&closed, ReadOptions::default()).expect_err("a cycle");
    assert_eq!(mistakes.len(), 1);
}
