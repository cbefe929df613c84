//! `inputSchema`.

use serde_json::json;

use super::*;

#[test]
fn schemas_are_kept_as_they_are() {
    let schema = right_top(concat!(
        "inputSchema:\n",
        "  $schema: https://json-schema.org/draft/2020-12/schema\n",
        "  type: object\n",
        "  required: [n]\n",
        "  properties:\n",
        "    n: {type: integer, default: 3}\n",
        "    files: {type: array, items: {$ref: '#/$defs/file'}}\n",
        "    $ref: {type: string, enum: ['$ref']}\n",
        "  $defs:\n",
        "    file: {type: string, pattern: '^[a-z]+$', examples: [{$ref: 'http://data'}]}\n",
    ))
    .input_schema
    .expect("given");
    assert_eq!(
        schema["properties"]["n"],
        json!({"type": "integer", "default": 3})
    );
    right_top("inputSchema: {}");
    right_top("inputSchema: {properties: {tree: {$ref: '#'}}}");
    right_top("inputSchema: {type: object, const: {$ref: 'http://data'}}");
}

#[test]
fn what_is_no_schema_is_a_mistake() {
    for bad in [
        "«1",
        "«true",
        "«[]",
        "«~",
        "{type: «string}",
        "{type: «[object, 'null']}",
        "{type: ««objekt}",
        "{required: «n}",
        "{properties: {n: {type: «int}}}",
        "{properties: {n: {minimum: «low}, m: {pattern: «1}}}",
        "{$defs: {a: {items: {maxLength: «-1}}}}",
        "{$schema: «'http://json-schema.org/draft-07/schema#'}",
    ] {
        wrong_top(&format!("inputSchema: {bad}"));
    }
}

#[test]
fn nothing_is_fetched_to_check_an_input() {
    for bad in [
        "{properties: {n: {$ref: «'https://example.com/n.json'}}}",
        "{allOf: [{$ref: «n.json}]}",
        "{$defs: {a: {not: {$dynamicRef: «'other#x'}}}}",
        "{$defs: {a: {$dynamicAnchor: x}, b: {$dynamicRef: «'#x'}}}",
        "{$defs: {a: {$id: «'https://example.com/a', $ref: '#/$defs/a/not', not: {}}}}",
        "{$ref: «'#/$defs/nowhere'}",
        "{$ref: «'#/properties/n/enum', properties: {n: {enum: [1]}}}",
        "{properties: {n: {$ref: «'#missing'}}}",
        "{properties: {default: {$ref: «n.json}}}",
        "{$ref: «'https://json-schema.org/draft/2020-12/schema'}",
    ] {
        wrong_to_the_reader(&with_top(&format!("inputSchema: {bad}")));
    }
}

#[test]
fn what_only_shows_when_it_is_built_is_a_mistake_too() {
    let mistakes = wrong_to_the_reader(&with_top(
        "inputSchema: {properties: {n: {type: string, pattern: «'['}}}",
    ));
    assert_eq!(mistakes[0].path, "/inputSchema/properties/n/pattern");
}

#[test]
fn patterns_take_linear_time() {
    right_top("inputSchema: {properties: {n: {pattern: '^(a+)+$'}}}");
    wrong_to_the_reader(&with_top(
        "inputSchema: {properties: {n: {pattern: «'^(?=a)(a+)\\1$'}}}",
    ));
}

#[test]
fn a_schema_that_never_ends_is_a_mistake() {
    for bad in [
        "«{$ref: '#'}",
        "«{anyOf: [{type: object}, {$ref: '#/$defs/a'}], $defs: {a: {not: {$ref: '#'}}}}",
    ] {
        wrong_to_the_reader(&with_top(&format!("inputSchema: {bad}")));
    }
}
