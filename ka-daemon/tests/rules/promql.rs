//! What an expression asks for: its selectors, and the labels that it groups and joins by.

use std::collections::BTreeSet;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, AggregateExpr, BinaryExpr, Expr, LabelModifier, VectorSelector};

/// A selector: a metric and what its labels must match.
#[derive(Debug, PartialEq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Match>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Match {
    pub(crate) label: String,
    /// The values that are named; of a regular expression its alternatives, unless they are patterns.
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) selectors: Vec<Selector>,
    /// Of `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`.
    pub(crate) labels: BTreeSet<String>,
    /// It asks whether something is missing, which has no labels.
    pub(crate) absent: bool,
}

/// Reads an expression.
pub(crate) fn asked(expression: &str) -> Result<Asked, String> {
    let mut asked = Asked::default();
    asked.expression(&parser::parse(expression)?);
    Ok(asked)
}

impl Asked {
    fn expression(&mut self, expression: &Expr) {
        match expression {
            Expr::Aggregate(AggregateExpr { expr, param, modifier, .. }) => {
                self.modifier(modifier.as_ref());
                self.expression(expr);
                if let Some(param) = param {
                    self.expression(param);
                }
            }
            Expr::Unary(unary) => self.expression(&unary.expr),
            Expr::Binary(BinaryExpr { lhs, rhs, modifier, .. }) => {
                if let Some(modifier) = modifier {
                    self.modifier(modifier.matching.as_ref());
                    let joined = modifier.card.labels().map(|labels| labels.labels.as_slice());
                    self.labels.extend(joined.unwrap_or_default().iter().cloned());
                }
                self.expression(lhs);
                self.expression(rhs);
            }
            Expr::Paren(paren) => self.expression(&paren.expr),
            Expr::Subquery(subquery) => self.expression(&subquery.expr),
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Call(call) => {
                self.absent |= call.func.name.starts_with("absent");
                call.args.args.iter().for_each(|argument| self.expression(argument));
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn modifier(&mut self, modifier: Option<&LabelModifier>) {
        self.labels
            .extend(modifier.into_iter().flat_map(|modifier| modifier.labels().labels.iter().cloned()));
    }

    fn selector(&mut self, selector: &VectorSelector) {
        let matchers =
            selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten());
        self.selectors.push(Selector {
            metric: selector.name.clone().unwrap_or_default(),
            matchers: matchers.map(Match::of).collect(),
        });
    }
}

impl Match {
    fn of(matcher: &Matcher) -> Self {
        let values = match matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.clone()],
            MatchOp::Re(_) | MatchOp::NotRe(_) => {
                let plain = |value: &&str| !value.contains(['.', '*', '+', '?', '(', '[', '\\']);
                matcher.value.split('|').filter(plain).map(str::to_owned).collect()
            }
        };
        Self { label: matcher.name.clone(), values }
    }
}

/// The queries in a template: literals of `printf` that hold one, each `%q` with a value in its place.
pub(crate) fn queries(template: &str) -> Vec<String> {
    template
        .split("printf \"")
        .skip(1)
        .map(|rest| {
            let mut literal = String::new();
            let mut characters = rest.chars();
            while let Some(character) = characters.next() {
                match character {
                    '"' => break,
                    '\\' => literal.extend(characters.next()),
                    other => literal.push(other),
                }
            }
            literal
        })
        .filter(|literal| literal.contains("ka_"))
        .map(|literal| literal.replace("%q", "\"x\""))
        .collect()
}

/// The labels that a template names as `$labels.NAME`.
pub(crate) fn template_labels(template: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    template.split("$labels.").skip(1).map(name).collect()
}

#[test]
fn everything_is_found_in_an_expression() {
    let asked = asked(
        r#"max_over_time(a{x="1",y=~"b|c.*"}[10m:1m] offset 5m) * on (j, k) group_left (s) (b > bool 0)
           unless sum by (z) (rate(c[5m])) < - d"#,
    )
    .unwrap();
    let metrics: Vec<_> = asked.selectors.iter().map(|selector| selector.metric.as_str()).collect();
    assert_eq!(metrics, ["a", "b", "c", "d"]);
    assert_eq!(asked.labels.iter().collect::<Vec<_>>(), ["j", "k", "s", "z"]);
    let matchers = &asked.selectors[0].matchers;
    assert_eq!(matchers[0], Match { label: "x".to_owned(), values: vec!["1".to_owned()] });
    assert_eq!(matchers[1], Match { label: "y".to_owned(), values: vec!["b".to_owned()] });
    assert!(!asked.absent && self::asked("absent(a)").unwrap().absent);
    assert!(self::asked("sum by (").is_err());
}

#[test]
fn queries_and_labels_are_found_in_a_template() {
    let template = r#"{{ with $labels.pod }}{{ . }}{{ end }}{{ printf "%.0f" $value }} {{ with printf "ka_a{x=%q}" $labels.x | query }}{{ . }}{{ end }}"#;
    assert_eq!(queries(template), [r#"ka_a{x="x"}"#]);
    assert_eq!(template_labels(template).iter().collect::<Vec<_>>(), ["pod", "x"]);
}
