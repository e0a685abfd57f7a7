use aims_json::parse;

use crate::{Authority, Widening, Wider, allows, narrower};

/// What is expected of an argument of a child against that of its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    Within,
    /// Wider, and a call shows it.
    Shown,
    /// Not proven.
    Unproven,
}
use Expect::{Shown, Unproven, Within};

fn authority(text: &str) -> Authority {
    let value = parse(text.as_bytes(), &aims_json::Limits::MESSAGE).expect(text);
    Authority::from_value(&value).expect(text)
}

/// An authority over these details with these limits.
fn of(details: &str, limits: &str) -> Authority {
    authority(&format!(
        r#"{{"authorization_details":[{details}],"limits":{{{limits}}}}}"#
    ))
}

/// A detail of one tool with these arguments.
fn tool(name: &str, arguments: &str) -> String {
    format!(
        r#"{{"type":"mcp_tool","server":"git","actions":["{name}"],"arguments":{{{arguments}}}}}"#
    )
}

fn ask(child: &Authority, parent: &Authority) -> (Expect, Option<Wider>) {
    match narrower(child, parent) {
        Ok(()) => (Within, None),
        Err(wider) => {
            let Some(example) = wider.example() else {
                return (Unproven, Some(wider));
            };
            let call = example.call().as_call();
            assert!(allows(child, &call, example.at()).is_ok(), "{wider}");
            assert!(allows(parent, &call, example.at()).is_err(), "{wider}");
            (Shown, Some(wider))
        }
    }
}

/// The argument `x` of a child against that of its parent.
fn pair(child: &str, parent: &str) -> Expect {
    let x = |argument: &str| tool("t", &format!(r#""x":{argument}"#));
    ask(&of(&x(child), ""), &of(&x(parent), r#""depth":1"#)).0
}

fn check(cases: &[(&str, &str, Expect)]) {
    for (child, parent, expect) in cases {
        assert_eq!(pair(child, parent), *expect, "{child} in {parent}");
    }
}

#[test]
fn values_that_are_listed_are_tried_against_every_constraint() {
    check(&[
        (r#"{"equals":5}"#, r#"{"equals":5}"#, Within),
        (r#"{"equals":5}"#, r#"{"equals":6}"#, Shown),
        (r#"{"equals":5}"#, r#"{"equals":"5"}"#, Shown),
        (r#"{"equals":5}"#, r#"{"one_of":[4,5]}"#, Within),
        (r#"{"equals":5}"#, r#"{"one_of":[4,6]}"#, Shown),
        (r#"{"equals":5}"#, r#"{"range":{"max":"5"}}"#, Within),
        (r#"{"equals":5}"#, r#"{"range":{"max":"4.9"}}"#, Shown),
        (r#"{"equals":"/a/b"}"#, r#"{"path_prefix":"/a"}"#, Within),
        (r#"{"equals":"/a/.."}"#, r#"{"path_prefix":"/a"}"#, Shown),
        (r#"{"equals":"ab"}"#, r#"{"glob":"a*"}"#, Within),
        (r#"{"equals":"ab"}"#, r#"{"glob":"b*"}"#, Shown),
        (r#"{"equals":"ab"}"#, r#"{"max_length":2}"#, Within),
        (r#"{"equals":"ab"}"#, r#"{"max_length":1}"#, Shown),
        (r#"{"equals":"a"}"#, r#"{"subset_of":["a"]}"#, Shown),
        (r#"{"one_of":[1,2]}"#, r#"{"one_of":[1,2,3]}"#, Within),
        (r#"{"one_of":[1,4]}"#, r#"{"one_of":[1,2,3]}"#, Shown),
        (r#"{"one_of":[1,2]}"#, r#"{"equals":1}"#, Shown),
        (r#"{"one_of":[1]}"#, r#"{"equals":1}"#, Within),
        (r#"{"one_of":[1,"a"]}"#, r#"{"range":{"min":"1"}}"#, Shown),
        (
            r#"{"one_of":["/a","/a/b"]}"#,
            r#"{"path_prefix":"/a"}"#,
            Within,
        ),
        (
            r#"{"one_of":["/a","/ab"]}"#,
            r#"{"path_prefix":"/a"}"#,
            Shown,
        ),
        (r#"{"one_of":["a","b"]}"#, r#"{"glob":"*"}"#, Within),
        (r#"{"one_of":["a",""]}"#, r#"{"glob":"*"}"#, Shown),
        (r#"{"one_of":["a","abc"]}"#, r#"{"max_length":2}"#, Shown),
        // The child's other constraints count as well.
        (
            r#"{"one_of":["a","abc"],"max_length":2}"#,
            r#"{"max_length":1}"#,
            Within,
        ),
        (
            r#"{"one_of":[1,20],"range":{"max":"9"}}"#,
            r#"{"equals":1}"#,
            Within,
        ),
        (
            r#"{"equals":5}"#,
            r#"{"equals":5,"range":{"max":"4"}}"#,
            Shown,
        ),
    ]);
}

#[test]
fn a_path_lies_in_a_path_above_it_and_in_nothing_else() {
    let shorter = r#"{"max_length":4095}"#;
    check(&[
        (r#"{"path_prefix":"/a"}"#, r#"{"path_prefix":"/a"}"#, Within),
        (
            r#"{"path_prefix":"/a/b"}"#,
            r#"{"path_prefix":"/a"}"#,
            Within,
        ),
        (
            r#"{"path_prefix":"/a/b"}"#,
            r#"{"path_prefix":"/"}"#,
            Within,
        ),
        (
            r#"{"path_prefix":"/a"}"#,
            r#"{"path_prefix":"/a/b"}"#,
            Shown,
        ),
        (r#"{"path_prefix":"/ab"}"#, r#"{"path_prefix":"/a"}"#, Shown),
        (r#"{"path_prefix":"/"}"#, r#"{"path_prefix":"/a"}"#, Shown),
        (r#"{"path_prefix":"/a"}"#, r#"{"glob":"/a"}"#, Shown),
        (r#"{"path_prefix":"/a"}"#, r#"{"glob":"/a/*"}"#, Shown),
        (r#"{"path_prefix":"/a"}"#, r#"{"equals":"/a"}"#, Shown),
        (
            r#"{"path_prefix":"/a"}"#,
            r#"{"one_of":["/a","/a/x"]}"#,
            Shown,
        ),
        (r#"{"path_prefix":"/a"}"#, r#"{"range":{"min":"0"}}"#, Shown),
        (r#"{"path_prefix":"/a"}"#, r#"{"subset_of":["/a"]}"#, Shown),
        (r#"{"path_prefix":"/a"}"#, r#"{"max_length":9}"#, Shown),
        // Longer texts are in no prefix and match no pattern.
        (r#"{"path_prefix":"/a"}"#, r#"{"max_length":4096}"#, Within),
        (r#"{"path_prefix":"/a"}"#, shorter, Unproven),
        (r#"{"glob":"*"}"#, r#"{"max_length":4096}"#, Within),
        (r#"{"glob":"*"}"#, shorter, Unproven),
    ]);
}

#[test]
fn a_pattern_lies_in_a_wider_one_segment_by_segment() {
    check(&[
        (r#"{"glob":"a*"}"#, r#"{"glob":"*"}"#, Within),
        (r#"{"glob":"*"}"#, r#"{"glob":"a*"}"#, Shown),
        (r#"{"glob":"ab*"}"#, r#"{"glob":"a*"}"#, Within),
        (r#"{"glob":"a*"}"#, r#"{"glob":"ab*"}"#, Shown),
        (r#"{"glob":"a*c"}"#, r#"{"glob":"a*"}"#, Within),
        (r#"{"glob":"*b*"}"#, r#"{"glob":"*a*b*"}"#, Shown),
        (r#"{"glob":"*a*b*"}"#, r#"{"glob":"*b*"}"#, Within),
        (r#"{"glob":"*a*a*"}"#, r#"{"glob":"*aa*"}"#, Shown),
        (r#"{"glob":"*aa*"}"#, r#"{"glob":"*a*a*"}"#, Within),
        (r#"{"glob":"a/*"}"#, r#"{"glob":"*/*"}"#, Within),
        (r#"{"glob":"a/*"}"#, r#"{"glob":"*"}"#, Shown),
        (r#"{"glob":"*"}"#, r#"{"glob":"*/*"}"#, Shown),
        (r#"{"glob":"a"}"#, r#"{"glob":"*"}"#, Within),
        (r#"{"glob":"a/"}"#, r#"{"glob":"a/*"}"#, Shown),
        (r#"{"glob":"a/"}"#, r#"{"glob":"*/"}"#, Within),
        (r#"{"glob":"*"}"#, r#"{"glob":"x"}"#, Shown),
        (r#"{"glob":"a"}"#, r#"{"equals":"a"}"#, Within),
        (r#"{"glob":"a*"}"#, r#"{"equals":"a"}"#, Shown),
        (r#"{"glob":"a"}"#, r#"{"one_of":["a","b"]}"#, Within),
        (r#"{"glob":"ab"}"#, r#"{"max_length":2}"#, Within),
        (r#"{"glob":"ab"}"#, r#"{"max_length":1}"#, Shown),
        (r#"{"glob":"a*"}"#, r#"{"max_length":3}"#, Shown),
        (r#"{"glob":"/a/*"}"#, r#"{"path_prefix":"/a"}"#, Within),
        (r#"{"glob":"/a/*"}"#, r#"{"path_prefix":"/"}"#, Within),
        (r#"{"glob":"/a/*/c"}"#, r#"{"path_prefix":"/a"}"#, Within),
        (r#"{"glob":"/a*"}"#, r#"{"path_prefix":"/a"}"#, Shown),
        (r#"{"glob":"a/*"}"#, r#"{"path_prefix":"/"}"#, Shown),
        (r#"{"glob":"/a/*/"}"#, r#"{"path_prefix":"/a"}"#, Shown),
        // In a prefix `*` is a character like any other.
        (r#"{"glob":"/a*/b"}"#, r#"{"path_prefix":"/a*"}"#, Shown),
        (
            r#"{"path_prefix":"/a*/b"}"#,
            r#"{"path_prefix":"/a*"}"#,
            Within,
        ),
        (r#"{"glob":"1*"}"#, r#"{"range":{"min":"1"}}"#, Shown),
        (r#"{"glob":"a*"}"#, r#"{"subset_of":["a"]}"#, Shown),
    ]);
}

#[test]
fn a_range_lies_between_the_ends_of_a_wider_one() {
    let inner = r#"{"range":{"min":"1","max":"5"}}"#;
    check(&[
        (inner, inner, Within),
        (inner, r#"{"range":{"min":"1"}}"#, Within),
        (inner, r#"{"range":{"max":"5"}}"#, Within),
        (inner, r#"{"range":{"min":"0.5","max":"5.5"}}"#, Within),
        (inner, r#"{"range":{"min":"1.1"}}"#, Shown),
        (inner, r#"{"range":{"max":"4.9"}}"#, Shown),
        (r#"{"range":{"min":"1"}}"#, inner, Shown),
        (r#"{"range":{"max":"5"}}"#, inner, Shown),
        (
            r#"{"range":{"min":"1"}}"#,
            r#"{"range":{"max":"5"}}"#,
            Shown,
        ),
        (
            r#"{"range":{"min":"3","max":"3"}}"#,
            r#"{"equals":3}"#,
            Within,
        ),
        (
            r#"{"range":{"min":"3","max":"3"}}"#,
            r#"{"one_of":[2,3]}"#,
            Within,
        ),
        (
            r#"{"range":{"min":"3","max":"4"}}"#,
            r#"{"one_of":[3,4]}"#,
            Shown,
        ),
        (inner, r#"{"max_length":9}"#, Shown),
        (inner, r#"{"glob":"*"}"#, Shown),
        (inner, r#"{"path_prefix":"/"}"#, Shown),
        (inner, r#"{"subset_of":[1]}"#, Shown),
    ]);
}

#[test]
fn lists_and_lengths_are_compared_by_inclusion_and_order() {
    check(&[
        (r#"{"subset_of":[1]}"#, r#"{"subset_of":[1,2]}"#, Within),
        (r#"{"subset_of":[1,2]}"#, r#"{"subset_of":[1,2]}"#, Within),
        (r#"{"subset_of":[1,3]}"#, r#"{"subset_of":[1,2]}"#, Shown),
        // A list may name the same item again and again.
        (r#"{"subset_of":[1]}"#, r#"{"max_length":2}"#, Shown),
        (r#"{"subset_of":[1]}"#, r#"{"equals":1}"#, Shown),
        (r#"{"subset_of":[1]}"#, r#"{"one_of":[1]}"#, Shown),
        (r#"{"subset_of":["a"]}"#, r#"{"glob":"*"}"#, Shown),
        (r#"{"subset_of":["/a"]}"#, r#"{"path_prefix":"/a"}"#, Shown),
        (r#"{"subset_of":[1]}"#, r#"{"range":{"min":"1"}}"#, Shown),
        (r#"{"max_length":2}"#, r#"{"max_length":2}"#, Within),
        (r#"{"max_length":3}"#, r#"{"max_length":2}"#, Shown),
        (r#"{"max_length":2}"#, r#"{"subset_of":[1]}"#, Shown),
        (r#"{"max_length":2}"#, r#"{"glob":"*"}"#, Shown),
        (r#"{"max_length":2}"#, r#"{"path_prefix":"/"}"#, Shown),
        (r#"{"max_length":2}"#, r#"{"equals":""}"#, Shown),
        (r#"{"max_length":2}"#, r#"{"one_of":["",1]}"#, Shown),
        (r#"{"max_length":2}"#, r#"{"range":{"min":"1"}}"#, Shown),
        (r#"{"max_length":0}"#, r#"{"equals":""}"#, Shown),
        (
            r#"{"subset_of":[1,2],"max_length":0}"#,
            r#"{"subset_of":[3]}"#,
            Within,
        ),
        (
            r#"{"subset_of":[1],"max_length":2}"#,
            r#"{"subset_of":[1,2],"max_length":3}"#,
            Within,
        ),
        (
            r#"{"path_prefix":"/a/b","max_length":20}"#,
            r#"{"path_prefix":"/a","max_length":30}"#,
            Within,
        ),
        (
            r#"{"path_prefix":"/a/b"}"#,
            r#"{"path_prefix":"/a","max_length":30}"#,
            Shown,
        ),
        (
            r#"{"path_prefix":"/a","max_length":2}"#,
            r#"{"equals":"/a"}"#,
            Unproven,
        ),
    ]);
}

#[test]
fn anything_lies_only_in_anything() {
    for constraint in [
        r#"{"equals":1}"#,
        r#"{"one_of":[null,"x","",0,true,false]}"#,
        r#"{"path_prefix":"/"}"#,
        r#"{"glob":"*"}"#,
        r#"{"range":{"min":"0"}}"#,
        r#"{"subset_of":[1]}"#,
        r#"{"max_length":4000000000}"#,
    ] {
        assert_eq!(pair(constraint, r#""any""#), Within, "{constraint}");
        let optional = constraint.replace('}', r#","optional":true}"#);
        let optional = optional.replace(r#""0","optional":true},"#, r#""0"},"#);
        assert_eq!(pair(r#""any""#, &optional), Shown, "{constraint}");
    }
    assert_eq!(pair(r#""any""#, r#""any""#), Within);
}

#[test]
fn an_argument_may_be_left_out_only_where_the_parent_lets_it_be() {
    let (need, may) = (r#"{"equals":1}"#, r#"{"equals":1,"optional":true}"#);
    check(&[
        (need, need, Within),
        (need, may, Within),
        (may, may, Within),
        (may, need, Shown),
        (r#""any""#, may, Shown),
        (may, r#""any""#, Within),
    ]);
    let without = |parent: &str| {
        let parent = tool("t", &format!(r#""x":{parent}"#));
        ask(&of(&tool("t", ""), ""), &of(&parent, r#""depth":1"#))
    };
    assert_eq!(without(may).0, Within);
    assert_eq!(without(r#""any""#).0, Within);
    let (expect, wider) = without(need);
    assert_eq!(expect, Shown);
    assert_eq!(wider.unwrap().rule(), Widening::ArgumentOptional);
    let more = of(&tool("t", r#""x":{"equals":1},"y":"any""#), "");
    let parent = of(&tool("t", r#""x":{"equals":1}"#), r#""depth":1"#);
    let (expect, wider) = ask(&more, &parent);
    let wider = wider.unwrap();
    assert_eq!((expect, wider.rule()), (Shown, Widening::ArgumentNamed));
    assert_eq!(wider.argument(), Some("y"));
}

/// What is wider in these limits.
fn limits(child: &str, parent: &str) -> Option<Widening> {
    let details = tool("t", r#""n":{"range":{"min":"0"}},"m":"any""#);
    let parent = of(&details, parent);
    ask(&of(&details, child), &parent).1.map(|w| w.rule())
}

#[test]
fn a_limit_of_the_parent_is_stated_and_not_passed() {
    let end = |n: u8| format!(r#""not_after":"2026-11-22T00:00:0{n}.000Z""#);
    let rate = |count, secs| format!(r#""rate":{{"count":{count},"per_secs":{secs}}}"#);
    let sum = |max| format!(r#""sums":[{{"argument":"n","max":"{max}"}}]"#);
    let uses = |n| format!(r#""uses":{n}"#);
    for (child, parent, expect) in [
        (end(1), end(1), None),
        (end(1), end(2), None),
        (end(2), end(1), Some(Widening::End)),
        (String::new(), end(1), Some(Widening::End)),
        (end(1), String::new(), None),
        (uses(0), uses(0), None),
        (uses(3), uses(4), None),
        (uses(4), uses(3), Some(Widening::Uses)),
        (String::new(), uses(3), Some(Widening::Uses)),
        (uses(3), String::new(), None),
        (rate(5, 10), rate(5, 10), None),
        (rate(4, 10), rate(5, 10), None),
        (rate(5, 11), rate(5, 10), None),
        (rate(6, 10), rate(5, 10), Some(Widening::Rate)),
        // Slower on average, but its whole count may come at once.
        (rate(6, 100), rate(5, 10), Some(Widening::Rate)),
        // Two of the shorter periods fit into the longer one, and touch a third.
        (rate(5, 10), rate(10, 20), None),
        (rate(5, 10), rate(10, 21), Some(Widening::Rate)),
        (rate(5, 10), rate(15, 21), None),
        (String::new(), rate(5, 10), Some(Widening::Rate)),
        (rate(5, 10), String::new(), None),
        (sum("1"), sum("1"), None),
        (sum("0.99"), sum("1"), None),
        (sum("1.01"), sum("1"), Some(Widening::Sum)),
        (String::new(), sum("1"), Some(Widening::Sum)),
        (sum("1"), String::new(), None),
    ] {
        let parent = format!(
            r#"{}{}"depth":1"#,
            parent,
            if parent.is_empty() { "" } else { "," }
        );
        let got = limits(&child, &parent);
        assert_eq!(got, expect, "{child} in {parent}");
    }
}

#[test]
fn a_summed_argument_is_given_wherever_the_parent_sums_it() {
    let details = tool("t", r#""n":"any""#);
    let sums = r#""sums":[{"argument":"n","max":"1"}]"#;
    let parent = of(&details, &format!(r#"{sums},"depth":1"#));
    assert_eq!(ask(&of(&details, sums), &parent).0, Within);
    let free = ask(&of(&details, ""), &parent);
    assert_eq!(free.1.unwrap().rule(), Widening::ArgumentOptional);
    let silent = ask(&of(&tool("t", ""), ""), &parent);
    assert_eq!(silent.1.unwrap().rule(), Widening::ArgumentOptional);
    // Another tool that has no such argument needs no sum.
    let both = format!("{details},{}", tool("u", ""));
    let parent = of(&both, &format!(r#"{sums},"depth":1"#));
    assert_eq!(ask(&of(&tool("u", ""), ""), &parent).0, Within);
}

#[test]
fn each_hop_goes_one_further_down() {
    for (child, parent, expect) in [
        (0, 0, Some(Widening::Depth)),
        (0, 1, None),
        (1, 1, Some(Widening::Depth)),
        (7, 8, None),
        (2, 1, Some(Widening::Depth)),
    ] {
        let depth = |n| format!(r#""depth":{n}"#);
        assert_eq!(limits(&depth(child), &depth(parent)), expect);
    }
}

#[test]
fn tools_and_hosts_are_those_of_the_parent() {
    let a = tool("a", "");
    let both = format!("{a},{}", tool("b", r#""x":"any""#));
    let parent = of(&both, r#""depth":1"#);
    let merged = r#"{"type":"mcp_tool","server":"git","actions":["a","b"],"arguments":{}}"#;
    assert_eq!(ask(&of(merged, ""), &parent).0, Within);
    let wider = ask(&of(&format!("{a},{}", tool("c", "")), ""), &parent)
        .1
        .unwrap();
    assert_eq!((wider.rule(), wider.detail()), (Widening::Tool, Some(1)));
    assert_eq!(wider.resource(), Some("git/c"));
    assert_eq!(
        wider.to_string(),
        "the authority above does not name this tool: `git/c`; asked for: `git/c`; \
         allowed: tools `a`, `b` of `git`; it would let through `git/c`"
    );
    let elsewhere = a.replace("git", "hub");
    assert_eq!(
        ask(&of(&elsewhere, ""), &parent).1.unwrap().rule(),
        Widening::Tool
    );
    let host = |host: &str, port: u16| {
        format!(r#"{{"type":"https_connect","host":"{host}","port":{port}}}"#)
    };
    let parent = of(&format!("{a},{}", host("a.org", 443)), r#""depth":1"#);
    assert_eq!(ask(&of(&host("a.org", 443), ""), &parent).0, Within);
    for other in [host("b.org", 443), host("a.org", 444), host("x.a.org", 443)] {
        let (expect, wider) = ask(&of(&other, ""), &parent);
        assert_eq!((expect, wider.unwrap().rule()), (Shown, Widening::Host));
    }
    assert_eq!(ask(&of("", ""), &parent).0, Within);
}

#[test]
fn a_detail_is_never_put_together_from_two() {
    let one = |x: &str, y: &str| {
        tool(
            "t",
            &format!(r#""x":{{"equals":{x}}},"y":{{"equals":{y}}}"#),
        )
    };
    let parent = of(
        &format!("{},{}", one("1", "1"), one("2", "2")),
        r#""depth":1"#,
    );
    let crossed = tool("t", r#""x":{"one_of":[1,2]},"y":{"one_of":[1,2]}"#);
    assert_eq!(ask(&of(&crossed, ""), &parent).0, Shown);
    assert_eq!(ask(&of(&one("1", "2"), ""), &parent).0, Shown);
    let same = format!("{},{}", one("2", "2"), one("1", "1"));
    assert_eq!(ask(&of(&same, ""), &parent).0, Within);
    // Both values are the parent's, each by another detail: true, but not proven.
    let single = |x: &str| tool("t", &format!(r#""x":{x}"#));
    let two = format!(
        "{},{}",
        single(r#"{"equals":1}"#),
        single(r#"{"equals":2}"#)
    );
    let either = of(&single(r#"{"one_of":[1,2]}"#), "");
    assert_eq!(ask(&either, &of(&two, r#""depth":1"#)).0, Unproven);
}

#[test]
fn the_gap_that_is_named_is_that_of_the_detail_that_comes_closest() {
    let far = tool("t", r#""x":{"equals":7},"y":{"equals":7}"#);
    let near = tool("t", r#""x":{"path_prefix":"/srv"},"y":"any""#);
    let parent = of(&format!("{far},{near}"), r#""depth":1"#);
    let child = of(
        &tool("t", r#""x":{"path_prefix":"/"},"y":{"equals":3}"#),
        "",
    );
    let wider = ask(&child, &parent).1.unwrap();
    assert_eq!(wider.argument(), Some("x"));
    assert_eq!(wider.asked(), "`/` or a normalised path below it");
    assert_eq!(wider.allowed(), "`/srv` or a normalised path below it");
    assert_eq!(
        wider.to_string(),
        "not all values asked for are allowed by the authority above: `git/t`, argument `x`; \
         asked for: `/` or a normalised path below it; allowed: `/srv` or a normalised path below \
         it; it would let through `git/t` with `y` = `3`, `x` = `/`"
    );
    let expect = concat!(
        r#"{"code":"wider_argument_values","asked":"`/` or a normalised path below it","#,
        r#""allowed":"`/srv` or a normalised path below it","detail":0,"resource":"git/t","#,
        r#""argument":"x","example":"`git/t` with `y` = `3`, `x` = `/`"}"#,
    );
    assert_eq!(wider.to_value().to_string(), expect);
}

#[test]
fn codes_are_stable_and_distinct() {
    let codes = Widening::ALL.map(Widening::code);
    let distinct: std::collections::BTreeSet<_> = codes.into_iter().collect();
    assert_eq!(distinct.len(), codes.len());
    assert!(codes.iter().all(|code| code.starts_with("wider_")));
}
