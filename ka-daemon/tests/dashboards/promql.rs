//! Queries, parsed: what they select, and what is done with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, BinaryExpr, Expr, LabelModifier, VectorSelector};

/// Stands for `$__rate_interval`: a duration that nobody writes by hand.
pub(crate) const RATE_INTERVAL_MS: u128 = 1_234_567;

/// A query with Grafana's own variables replaced by what has the same form. Those of the dashboard stand in
/// strings, where any text will do.
pub(crate) fn parse(expr: &str) -> Result<Arc<Expr>, String> {
    // Each matcher of each query is a regular expression to be compiled, and many tests look at all of them.
    static PARSED: Mutex<BTreeMap<String, Result<Arc<Expr>, String>>> = Mutex::new(BTreeMap::new());
    if let Some(known) = PARSED.lock().unwrap().get(expr) {
        return known.clone();
    }
    let plain = expr
        .replace("$__rate_interval", &format!("{RATE_INTERVAL_MS}ms"))
        .replace("$__interval", "1m")
        .replace("$__range", "6h");
    let parsed = parser::parse(&plain).map(Arc::new);
    PARSED.lock().unwrap().insert(expr.to_owned(), parsed.clone());
    parsed
}

/// A selector of a query, and what stands around it, the outermost first.
pub(crate) struct Selector<'a> {
    pub(crate) vector: &'a VectorSelector,
    /// Of a range selector, in milliseconds.
    pub(crate) range_ms: Option<u128>,
    /// The function whose argument it is, as it stands.
    pub(crate) function: Option<&'static str>,
    /// Whether it is one of [`events`].
    pub(crate) of_events: bool,
}

impl Selector<'_> {
    pub(crate) fn name(&self) -> &str {
        self.vector.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.vector.matchers.matchers
    }

    /// Whether it asks `label=~"value"`.
    pub(crate) fn asks(&self, label: &str, value: &str) -> bool {
        self.matchers().iter().any(|matcher| {
            matcher.name == label && matcher.value == value && matches!(matcher.op, MatchOp::Re(_))
        })
    }
}

/// All selectors of a query.
pub(crate) fn selectors(expr: &Expr) -> Vec<Selector<'_>> {
    let mut found = Vec::new();
    walk(expr, None, false, &mut found);
    found
}

fn walk<'a>(expr: &'a Expr, function: Option<&'static str>, of_events: bool, found: &mut Vec<Selector<'a>>) {
    match expr {
        Expr::VectorSelector(vector) => found.push(Selector { vector, range_ms: None, function, of_events }),
        Expr::MatrixSelector(matrix) => {
            let range_ms = Some(matrix.range.as_millis());
            found.push(Selector { vector: &matrix.vs, range_ms, function, of_events });
        }
        Expr::Call(call) => {
            for argument in &call.args.args {
                walk(argument, Some(call.func.name), of_events, found);
            }
        }
        Expr::Paren(paren) => walk(&paren.expr, None, of_events, found),
        Expr::Unary(unary) => walk(&unary.expr, None, of_events, found),
        Expr::Subquery(subquery) => walk(&subquery.expr, None, of_events, found),
        Expr::Aggregate(aggregate) => {
            walk(&aggregate.expr, None, of_events, found);
            if let Some(parameter) = &aggregate.param {
                walk(parameter, None, of_events, found);
            }
        }
        Expr::Binary(binary) => {
            let of_events = of_events || events(binary);
            walk(&binary.lhs, None, of_events, found);
            walk(&binary.rhs, None, of_events, found);
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// Whether it counts the events of a counter in each step, exactly (docs/decisions/0005), where `c` is throughout
/// the same `last_over_time(COUNTER[RANGE])`: `(c - c offset … >= 0) or (c and on (…) …)`.
fn events(or: &BinaryExpr) -> bool {
    let counter = || {
        let (Expr::Binary(or_more), Expr::Binary(and)) = (strip(&or.lhs), strip(&or.rhs)) else {
            return None;
        };
        let Expr::Binary(minus) = strip(&or_more.lhs) else { return None };
        let operators = [or, or_more, minus, and].map(|binary| binary.op.to_string());
        let (now, before, new) = (last(&minus.lhs)?, last(&minus.rhs)?, last(&and.lhs)?);
        let same = now.series == before.series && now.series == new.series;
        let offsets = [now.offset, before.offset, new.offset];
        (operators == ["or", ">=", "-", "and"] && same && offsets == [false, true, false]).then_some(())
    };
    counter().is_some()
}

/// `last_over_time` of a counter.
struct Last {
    series: (String, u128),
    offset: bool,
}

fn last(expr: &Expr) -> Option<Last> {
    let Expr::Call(call) = strip(expr) else { return None };
    let Expr::MatrixSelector(matrix) = strip(call.args.args.first()?) else { return None };
    let plain = VectorSelector { offset: None, ..matrix.vs.clone() }.to_string();
    let last = Last { series: (plain, matrix.range.as_millis()), offset: matrix.vs.offset.is_some() };
    (call.func.name == "last_over_time").then_some(last)
}

/// Without parentheses.
fn strip(expr: &Expr) -> &Expr {
    if let Expr::Paren(paren) = expr { strip(&paren.expr) } else { expr }
}

/// Labels that the query itself names, in groupings and matchings.
pub(crate) fn named_labels(expr: &Expr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |modifier: &LabelModifier| names.extend(modifier.labels().labels.iter().cloned());
    match expr {
        Expr::Aggregate(aggregate) => {
            aggregate.modifier.iter().for_each(&mut add);
            names.extend(named_labels(&aggregate.expr));
        }
        Expr::Binary(binary) => {
            if let Some(modifier) = &binary.modifier {
                modifier.matching.iter().for_each(&mut add);
                names.extend(modifier.card.labels().into_iter().flat_map(|labels| labels.labels.clone()));
            }
            names.extend(named_labels(&binary.lhs));
            names.extend(named_labels(&binary.rhs));
        }
        Expr::Call(call) => names.extend(call.args.args.iter().flat_map(|argument| named_labels(argument))),
        Expr::Paren(paren) => names.extend(named_labels(&paren.expr)),
        Expr::Unary(unary) => names.extend(named_labels(&unary.expr)),
        Expr::Subquery(subquery) => names.extend(named_labels(&subquery.expr)),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => {}
    }
    names
}

/// The labels of what comes out; none: those of what is selected.
pub(crate) fn labels_out(expr: &Expr) -> Option<BTreeSet<String>> {
    match expr {
        Expr::Aggregate(aggregate) => match &aggregate.modifier {
            Some(LabelModifier::Include(labels)) => {
                let mut out: BTreeSet<String> = labels.labels.iter().cloned().collect();
                // `count_values` makes a label of what it counts.
                if let Some(Expr::StringLiteral(label)) = aggregate.param.as_deref() {
                    out.insert(label.val.clone());
                }
                Some(out)
            }
            Some(LabelModifier::Exclude(_)) => None,
            // `topk` keeps what it chooses from, the others leave nothing.
            None if aggregate.param.is_some() => labels_out(&aggregate.expr),
            None => Some(BTreeSet::new()),
        },
        Expr::Binary(binary) => labels_out(&binary.lhs).or_else(|| labels_out(&binary.rhs)),
        Expr::Call(call) if call.func.name == "vector" => Some(BTreeSet::new()),
        Expr::Call(call) => {
            let out = call.args.args.iter().rev().find_map(|argument| labels_out(argument))?;
            let bounds = call.func.name == "histogram_quantile";
            Some(out.into_iter().filter(|label| !bounds || label != "le").collect())
        }
        Expr::Paren(paren) => labels_out(&paren.expr),
        Expr::Unary(unary) => labels_out(&unary.expr),
        Expr::Subquery(subquery) => labels_out(&subquery.expr),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_counts_events() {
        let now = "last_over_time(c{x=\"1\"}[30m])";
        let before = "last_over_time(c{x=\"1\"}[30m] offset 1m)";
        let right = format!("({now} - {before} >= 0) or ({now} and on (job) d)");
        let all = |query: &str| selectors(&parse(query).unwrap()).iter().all(|one| one.of_events);
        assert!(all(&right));
        for wrong in [
            right.replacen("x=\"1\"", "x=\"2\"", 1),
            right.replacen("30m", "20m", 1),
            right.replace(">= 0", "> 0"),
            right.replacen("last_over_time", "max_over_time", 1),
            right.replace(" offset 1m", ""),
            right.replace(") or (", ") and ("),
            right.replace(" and on", " unless on"),
            "c".to_owned(),
        ] {
            assert!(!all(&wrong), "{wrong}");
        }
    }

    #[test]
    fn labels_that_come_out_are_known() {
        let out = |query: &str| {
            labels_out(&parse(query).unwrap()).map(|labels| labels.into_iter().collect::<Vec<_>>())
        };
        let some = |labels: &[&str]| Some(labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>());
        assert_eq!(out("topk(3, sum by (a, b) (x) > 0)"), some(&["a", "b"]));
        assert_eq!(out("sum(x) or vector(0)"), some(&[]));
        assert_eq!(out("count_values by (a) (\"b\", x)"), some(&["a", "b"]));
        assert_eq!(out("label_replace(sum by (a, b) (x), \"a\", \"-\", \"a\", \"\")"), some(&["a", "b"]));
        assert_eq!(out("histogram_quantile(0.5, sum by (le) (rate(x[1m])))"), some(&[]));
        assert_eq!(out("x{a=\"1\"}"), None);
    }
}
